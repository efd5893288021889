"""The value behind a reference: `env:NAME`, `file:PATH`, `credential:NAME`.

Hides: where each of them points.
Never: repeats a value, in a message or anywhere else.
"""

from __future__ import annotations

import os
from pathlib import Path

from rollback.model.errors import UsageError

_BYTES_MAX = 64 * 2**10
KEY_BYTES = 32


def value(written: str, *, base: str) -> str:
    """The text that the reference names, without space around it; files relative to `base`.

    Raises: UsageError when there is none.
    """
    kind, _, name = written.partition(":")
    if kind == "env":
        found = os.environ.get(name, "").strip()
    else:
        folder = base if kind == "file" else os.environ.get("CREDENTIALS_DIRECTORY", "")
        found = _text(Path(folder, name)) if folder else ""
    if not found:
        raise UsageError(f"nothing stands behind the reference {written}", where="checkpoints.stores",
                         hint=_hint(kind, name))  # fmt: skip
    return found


def key(written: str, *, base: str) -> bytes:
    """The 32 bytes of a key, written as 64 hex digits. Raises: UsageError."""
    try:
        found = bytes.fromhex(value(written, base=base))
    except ValueError:
        found = b""
    if len(found) != KEY_BYTES:
        raise UsageError(f"what {written} names is no key of {KEY_BYTES} bytes",
                         where="checkpoints.stores", hint="make one: openssl rand -hex 32")  # fmt: skip
    return found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES_MAX).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _hint(kind: str, name: str) -> str:
    if kind == "env":
        return f"set it where rollback runs: export {name}=…"
    if kind == "file":
        return f"put it there, readable by this user: {name}"
    return f"start rollback with that credential: LoadCredential={name}:…"
