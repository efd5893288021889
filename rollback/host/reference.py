"""What a reference of a declaration points at: `env:NAME`, `file:PATH`, `credential:NAME`.

Hides: where secrets lie.
Never: puts a value into an error.
"""

from __future__ import annotations

import os
import re

from rollback.model.errors import HostError

_REFERENCE = re.compile(r"(env|file|credential):(\S+)\Z")
_BYTES_MAX = 64 * 2**10


def value(written: str, *, folder: str) -> str:
    """The text behind a reference; any other text is its own value.

    `folder` is what a relative `file:` is relative to. Raises: HostError when nothing is there.
    """
    match = _REFERENCE.match(written)
    if match is None:
        return written
    kind, name = match.groups()
    if kind == "env":
        found = os.environ.get(name)
        if found is None:
            raise HostError(f"the variable {name} is not set", where=written,
                            hint=f"set it where rollback is started: {name}=…")  # fmt: skip
        return found
    place = folder
    if kind == "credential":
        place = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not place:
            raise HostError("no credentials were given to this process", where=written,
                            hint="start it with LoadCredential=, or use env: or file:")  # fmt: skip
    try:
        with open(os.path.join(place, name), "rb") as file:
            return file.read(_BYTES_MAX).decode().strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise HostError(f"the reference cannot be read: {why}", where=written) from error
