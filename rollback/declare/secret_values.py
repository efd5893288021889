"""The values behind the references of a declaration, so that they can be kept out of everything.

Hides: where an `env:`, `file:` or `credential:` reference points.
Never: puts a value into the model, a message or an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rollback.declare import env, walk
from rollback.model.system import System

_REFERENCE = re.compile(r"(env|file|credential):(\S+)\Z")
TELLING = re.compile(r"pass|secret|token|credential|key\Z|_key", re.IGNORECASE)
_VALUE_BYTES_MAX = 64 * 2**10


# Who we are on a database server, and where it is, are ordinary words (`postgres`): hiding them would
# refuse every plan that says them. Only the password is a secret.
_KNOWN_TO_ALL = ("name", "host", "port", "user", "programs", "maintenance")


def secret_values(system: System, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Every value that a reference of the declaration names, and those of secret variables.

    What is not there now has no value to hide.
    """
    known = os.environ if environ is None else environ
    found = [*system.secrets, *_referenced(system, known), *_variables(system, known)]
    return tuple(dict.fromkeys(value for value in found if value))


def _referenced(system: System, environ: Mapping[str, str]) -> Iterator[str]:
    for path, written in walk.leaves(system.source):
        match = _REFERENCE.match(written) if isinstance(written, str) else None
        if match is None or (path[-2:-1] == ("database",) and path[-1] in _KNOWN_TO_ALL):
            continue
        kind, name = match.groups()
        if kind == "env":
            yield environ.get(name, "")
        elif kind == "file":
            yield _text(system.declaration.parent / name)
        elif folder := environ.get("CREDENTIALS_DIRECTORY"):
            yield _text(Path(folder, name))


def _variables(system: System, environ: Mapping[str, str]) -> Iterator[str]:
    telling = [name for name in system.environment.variables if TELLING.search(name)]
    file: dict[str, str] = {}
    if telling and system.environment.file:
        text = _text(system.declaration.parent / system.environment.file)
        file, _ = env.assignments(text)
    for name in telling:
        yield environ.get(name, "")
        yield file.get(name, "")


def _text(path: Path) -> str:
    """The text of a small regular file; "" where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        return os.read(fd, _VALUE_BYTES_MAX).decode("utf-8", "replace").strip()
    except OSError:  # a folder, or a disk that fails: there is no value to hide
        return ""
    finally:
        os.close(fd)
