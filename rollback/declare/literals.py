"""Values that may not stand in a declaration: secrets, shells, texts with logic.

Hides: the patterns of known tokens.
Never: repeats a secret in a message.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from typing import Any

from rollback.declare import walk
from rollback.declare.text import Document, Path
from rollback.model.errors import Problem

_SECRET_KEY = re.compile(r"pass(word|wd|phrase)?$|token$|secret$|api_?key$|private_?key$|credentials?$",
                         re.IGNORECASE)  # fmt: skip
_KNOWN = re.compile(
    r"AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,}|xox[abpr]-[A-Za-z0-9-]{10,}|sk_live_[A-Za-z0-9]{16,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."
    r"|glpat-[A-Za-z0-9_-]{20}|[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@{$]{3,}@"
)
_REFERENCE = re.compile(r"(env|file|credential):\S+\Z")
_RANDOM = re.compile(r"[A-Za-z0-9+/=_-]{32,}\Z")
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish", "csh", "busybox"})
_HINT = "use a reference: env:NAME, file:/path or credential:name"


def check(document: Document, data: dict[str, Any]) -> None:
    """Secrets, shells and texts with logic are among the document's problems."""
    for path, value in walk.leaves(document.data):
        if isinstance(value, str):
            _secret(document, path, value)
        if path and path[-1] == "shell":
            document.problems.append(Problem(document.where(path),
                f"{_dots(path)}: a shell is never used",
                "write the program and its arguments: argv: [program, argument]"))  # fmt: skip
    for path, value in _argvs(data, ()):
        if isinstance(value, str):
            document.problems.append(Problem(document.where(path),
                f"{_dots(path)}: a command is a list of words, never one text",
                "write it as [program, argument, …]; no shell is used"))  # fmt: skip
        elif _is_shell(value):
            document.problems.append(Problem(document.where(path),
                f"{_dots(path)}: a shell with -c runs text as a program",
                "write the program itself and its arguments, or a script file"))  # fmt: skip
    for path, value in walk.find(data, "notify.messages.*.text"):
        _text(document, path, value)


def _secret(document: Document, path: Path, value: str) -> None:
    key = str(next((part for part in reversed(path) if isinstance(part, str)), ""))
    if key == "default" and len(path) >= 2:
        key = str(path[-2])
    shown = _dots(path)
    if _KNOWN.search(value):
        document.problems.append(Problem(document.where(path), f"{shown}: holds a secret", _HINT))
        return
    if "${" in value or not _SECRET_KEY.search(key) or _REFERENCE.match(value):
        return
    named_by_us = path[:1] in (("records",), ("events",), ("reports",), ("memory",))
    if value and not named_by_us and "contains" not in path and "lacks" not in path:
        sure = " (it looks random)" if _RANDOM.match(value) and _bits(value) > 3.5 else ""
        document.problems.append(
            Problem(document.where(path), f"{shown}: a secret may not stand here{sure}", _HINT)
        )


def _bits(value: str) -> float:
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


def _argvs(value: Any, path: Path) -> list[tuple[Path, Any]]:
    found: list[tuple[Path, Any]] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "argv":
                found.append(((*path, key), inner))
            else:
                found += _argvs(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _argvs(inner, (*path, index))
    return found


def _is_shell(argv: Any) -> bool:
    if not isinstance(argv, list) or len(argv) < 2 or not all(isinstance(a, str) for a in argv):
        return False
    program = argv[0].rsplit("/", 1)[-1]
    return program in _SHELLS and any(re.match(r"-[a-z]*c\Z", a) for a in argv[1:3])


def _text(document: Document, path: Path, value: Any) -> None:
    if not isinstance(value, str):
        return
    try:
        for _, name, form, conversion in string.Formatter().parse(value):
            if name is not None and (
                form or conversion or not re.match(r"[a-z][a-z0-9_]*\Z", name)
            ):
                raise ValueError(f"{{{name}}} is more than a plain field")
    except ValueError as error:
        document.problems.append(Problem(document.where(path), f"{_dots(path)}: {error}",
            "write plain fields like {title}; a brace itself is written twice: {{"))  # fmt: skip


def _dots(path: Path) -> str:
    return ".".join(str(part) for part in path)
