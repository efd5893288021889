"""What stands in the file system: paths there or gone, equal, holding a text, or counted.

Hides: globs and digests.
Never: follows a link; a folder that cannot be read is not an empty one.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat as stat_
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from rollback.host.below import show
from rollback.model.errors import HostError
from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.difference import COMPARED_BYTES_MAX, difference
from rollback.observe.expect import Expected, combined, says_none, shown, why_not
from rollback.observe.place import Place, matches, opened, opened_glob
from rollback.observe.view import View

_CHUNK_BYTES = 1 << 20
_SHOWN_MAX = 5
_EMPTY = hashlib.sha256().hexdigest()


def _same_as(written: str) -> str:
    if written.startswith("sha256:") and not re.fullmatch(r"sha256:[0-9a-f]{64}", written):
        raise ValueError(f"{written!r} is no digest; write sha256: and 64 hex digits")
    return written


Texts = Text | tuple[Text, ...]


@register("check", "files")
class Files(Check):
    """Each path may be a pattern (`steps/*.md`, `**/*.py`); then all that it names are meant.

    A pattern under `exists`, `contains` or `lacks` that names nothing fails; a folder holds no text, and
    of empty files alone nothing is lacking. A count of 0 is one only where the folder is there.
    """

    exists: tuple[Place, ...] = ()
    absent: tuple[Place, ...] = ()
    equal: dict[Place, Annotated[Place, AfterValidator(_same_as)]] = Field(default_factory=dict)
    contains: dict[Place, Texts] = Field(default_factory=dict)
    lacks: dict[Place, Texts] = Field(default_factory=dict)
    count: dict[Place, Expected] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _asks_something(self) -> Files:
        if not any((self.exists, self.absent, self.equal, self.contains, self.lacks, self.count)):
            raise ValueError(
                "nothing is asked; write exists, absent, equal, contains, lacks or count"
            )
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """How many there are, where one pattern is counted."""
        return {"count": "count"} if len(self.count) == 1 else {}

    def ask(self, view: View) -> Finding:
        """PASS when everything that is declared holds."""
        findings = []
        for question in self._questions(view):
            findings.append(question)
        return combined(findings)

    def _questions(self, view: View) -> Iterator[Finding]:
        for path in self.exists:
            found = _named(view, path)
            yield passed(f"{path}: {_list(found)}") if found else failed(f"{path} is missing")
        for path in self.absent:
            found = _named(view, path)
            yield failed(f"{path} is there: {_list(found)}") if found else passed(f"{path} is gone")
        for path, expected in self.count.items():
            count = len(_named(view, path))
            reason = why_not(count, expected)
            if not count and not says_none(expected) and not _folder_of(view, path):
                reason = "there is no such folder to count in"
            told = f"{path}: {reason or count}"
            yield failed(told, count=count) if reason else passed(told, count=count)
        for path, other in self.equal.items():
            yield _equal(view, path, other)
        for path, texts in self.contains.items():
            yield _texts(view, path, texts, wanted=True)
        for path, texts in self.lacks.items():
            yield _texts(view, path, texts, wanted=False)


def _named(view: View, pattern: str) -> list[bytes]:
    try:
        with opened_glob(view, pattern) as (tree, rest):
            return matches(tree, rest)
    except HostError:
        if view.root.is_dir():
            return []  # the folder of an absolute pattern is not there
        raise


def _list(found: list[bytes]) -> str:
    more = f" and {len(found) - _SHOWN_MAX} more" if len(found) > _SHOWN_MAX else ""
    return ", ".join(show(path) for path in found[:_SHOWN_MAX]) + more


def _equal(view: View, path: str, other: str) -> Finding:
    one = _digest(view, path)
    if one is None:
        return failed(f"{path} is missing")
    if other.startswith("sha256:"):
        wanted: str | None = other.removeprefix("sha256:")
    else:
        wanted = _digest(view, other)
        if wanted is None:
            return failed(f"{other} is missing")
    if one == wanted and one == _EMPTY and not other.startswith("sha256:"):
        return unknown(f"{path} and {other} are both empty: they have nothing in common")
    if one == wanted:
        return passed(f"{path} equals {other}")
    finding = failed(f"{path} (sha256:{one[:12]}…) differs from {other}")
    if other.startswith("sha256:"):
        return finding
    return finding.showing(difference(_content(view, other), _content(view, path), other, path))


def _content(view: View, path: str) -> bytes:
    """The beginning of a file, for a report; nothing where it cannot be read."""
    try:
        with opened(view, path) as (tree, name):
            return tree.read_at(name, 0, COMPARED_BYTES_MAX)
    except (OSError, HostError):
        return b""


def _digest(view: View, path: str) -> str | None:
    try:
        with opened(view, path) as (tree, name):
            fd = tree.open_read(name)
            try:
                state = hashlib.sha256()
                while chunk := os.read(fd, _CHUNK_BYTES):
                    state.update(chunk)
                return state.hexdigest()
            finally:
                os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _texts(view: View, pattern: str, texts: Texts, *, wanted: bool) -> Finding:
    wanted_texts = (texts,) if isinstance(texts, str) else texts
    wrong, read, empty = [], 0, 0
    with opened_glob(view, pattern) as (tree, rest):
        found = matches(tree, rest)
        if not found:
            return failed(f"{pattern} is missing")
        for path in found:
            at = tree.stat(path)
            if at is not None and stat_.S_ISDIR(at.st_mode):
                continue  # `**` names folders too
            content = tree.read(path)
            read, empty = read + 1, empty + (not content)
            wrong += _wrong(show(path), content, wanted_texts, wanted)
    if not read:
        return failed(f"{pattern} is a folder, and holds no text: write {pattern}/*")
    if read == empty:
        return failed(f"{pattern} is empty: there is nothing to look at")
    if wrong:
        return failed("; ".join(wrong[:_SHOWN_MAX]))
    return passed(f"{pattern}: {read} looked at")


def _wrong(name: str, content: bytes, texts: tuple[str, ...], wanted: bool) -> list[str]:
    said = content.decode("utf-8", "surrogateescape")
    word = "does not contain" if wanted else "contains"
    return [f"{name} {word} {shown(text)!r}" for text in texts if (text in said) is not wanted]


def _folder_of(view: View, pattern: str) -> bool:
    """True when the folder is there in which the pattern begins."""
    parts = pattern.split("/")
    fixed = next(
        (n for n, part in enumerate(parts) if any(mark in part for mark in "*?[")), len(parts) - 1
    )
    folder = "/".join(parts[:fixed])
    return not folder or bool(_named(view, folder))
