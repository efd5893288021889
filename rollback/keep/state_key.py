"""The key of a state directory: under it a secret is known again that is not written down.

A digest without a key tells whoever reads it which of a few values it is of, since all can be tried.

Hides: the file.
Never: leaves the state directory; is there where nothing needs it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from rollback.host import Tree

NAME = "key"
SIZE_BYTES = 32
_WRITTEN = re.compile(rf"[0-9a-f]{{{2 * SIZE_BYTES}}}\n\Z")
_TOLD_CHARS = 32


def read(folder: Path) -> str:
    """The key that lies there; "" where there is none that is ours alone."""
    with suppress(OSError, ValueError):
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as stream:
            return _key(os.fstat(fd), stream.read(4 * SIZE_BYTES))
    return ""


def keep(tree: Tree, key: str) -> None:
    """The state directory has a key: the one that it had, else this one."""
    found = tree.stat(NAME)
    if found is None or not stat.S_ISREG(found.st_mode) or not _key(found, tree.read(NAME)):
        tree.write(NAME, f"{key}\n".encode())


def told(key: str, value: bytes) -> str:
    """What may be written in the place of a value: the same for the same; nobody else can try values."""
    return hmac.new(key.encode(), value, hashlib.sha256).hexdigest()[:_TOLD_CHARS]


def _key(found: os.stat_result, data: bytes) -> str:
    ours = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
    text = data.decode("ascii", "replace")
    return text.strip() if ours and stat.S_ISREG(found.st_mode) and _WRITTEN.match(text) else ""
