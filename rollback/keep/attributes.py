"""Extended attributes that a component declares, access lists among them: which, and how they differ.

An attribute that is declared but was not when the checkpoint was made is unknown there, not
absent: it is left as it is.

Hides: the globs, and what an attribute that nobody captured means.
Never: touches an attribute that is neither declared nor captured.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping

from rollback.host.below import show
from rollback.keep.entry import Entry

Wanted = tuple[tuple[bytes, bytes | None], ...]  # None: it must not be there
_CAPABILITY = b"security.capability"


def declared(name: bytes, globs: tuple[str, ...]) -> bool:
    """True when a component with these globs captures the attribute."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return False  # a manifest could not name it
    return any(fnmatch.fnmatchcase(text, glob) for glob in globs)


def concerned(entry: Entry, globs: tuple[str, ...]) -> bool:
    """True when the attributes of this entry matter at all."""
    return entry.kind in ("file", "folder") and entry.mode is not None and bool(
        globs or entry.attributes
    )  # fmt: skip


def missing(entry: Entry, live: Mapping[bytes, bytes], globs: tuple[str, ...]) -> Wanted:
    """What has to be set or taken away so that the live file has the attributes of the entry."""
    held = dict(entry.attributes)
    found: dict[bytes, bytes | None] = {
        name: value for name, value in held.items() if live.get(name) != value
    }
    for name in live:
        if name not in held and name not in entry.xattrs and declared(name, globs):
            found[name] = None
    return tuple(sorted(found.items()))


def told(wanted: Wanted) -> str:
    """The difference, for people."""
    return "attributes " + ", ".join(show(name) for name, _ in wanted)


def gives_rights(entry: Entry) -> bool:
    """True when a program with this attribute does what its user may not."""
    return any(name == _CAPABILITY for name, _ in entry.attributes)
