"""One name in a component: what it is, what it looks like, where its bytes are.

Paths are bytes relative to the component; `.` is the component itself, be it a folder or a file.
None for a mode, an owner or a time means: not known, leave it as it is.

Hides: which entries could be a tree at all.
Never: reads a file.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rollback.host.below import checked, show
from rollback.model.errors import Confined
from rollback.model.finding import Json

KINDS = ("file", "folder", "symlink", "hardlink")
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
SIZE_BYTES_MAX = 2**60
_TIME_NS_MAX = 2**63
_LINK_BYTES_MAX = 4096
_NAME_BYTES_MAX = 255  # XATTR_NAME_MAX
_VALUE_BYTES_MAX = 65536  # XATTR_SIZE_MAX
_OWNER_MAX = 2**32 - 1
_ID = re.compile("[0-9a-f]{64}")

Type = Literal["file", "folder", "symlink", "hardlink"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a component; `target` of a hard link is the path of the entry that it names too.

    Units: `size` in bytes, `mtime_ns` since 1970. Shape: `sha256` is over the whole file (empty:
    whoever needs it reads the file); `blocks` is the id of the list of its blocks (empty: the file
    is one object, or none when it is empty); `tree` is the id of what is in a folder (empty: not
    known); `attributes` are extended attributes with their values, sorted; `xattrs` are the names of
    those that were not captured; `allocated` are the bytes on disk of a file with holes.
    """

    path: bytes
    kind: Type
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    size: int = 0
    sha256: str = ""
    blocks: str = ""
    target: bytes = b""
    xattrs: tuple[bytes, ...] = ()
    allocated: int | None = None
    tree: str = ""
    attributes: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def digest(self) -> str:
        """What tells its bytes from others: the SHA-256, or where it has none the id of its blocks."""
        return self.sha256 or self.blocks

    @property
    def sparse(self) -> bool:
        """True when the file had holes."""
        return self.allocated is not None

    @property
    def owner(self) -> tuple[int, int] | None:
        """Numeric user and group, when both are known."""
        return None if self.uid is None or self.gid is None else (self.uid, self.gid)


class Source(Protocol):
    """Something that a tree can be put back from: a checkpoint's manifest, a git tree."""

    def entries(self) -> Iterable[Entry]:
        """Every entry, in any order; folders may be left out where only their contents matter."""
        ...

    def read(self, entry: Entry) -> Iterable[bytes]:
        """The bytes of a file entry, in chunks. Raises: StoreError when they are not whole."""
        ...


def order(path: bytes) -> bytes:
    """The key by which paths are sorted: the root first, parents before what is in them."""
    return b"" if path == b"." else path


def path_json(path: bytes) -> Json:
    """A path as JSON: text where it is UTF-8, else `{"base64": …}`."""
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(path).decode("ascii")}


def path_bytes(written: Any) -> bytes:
    """What `path_json` wrote. Raises: ValueError."""
    if isinstance(written, str):
        return written.encode("utf-8")
    if isinstance(written, dict) and set(written) == {"base64"}:
        raw = base64.b64decode(written["base64"], validate=True)
        if path_json(raw) == written:
            return raw
    raise ValueError("not a path")


def check(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries, sorted by path, each plain, unique, and below folders only.

    Raises: Confined naming the first one that could not be a tree, or would leave its root.
    """
    ordered = tuple(sorted(entries, key=lambda entry: order(entry.path)))
    known: dict[bytes, Entry] = {}
    for entry in ordered:
        wrong = problem(entry) or _place_problem(entry, known)
        if wrong:
            raise Confined(wrong, where=show(entry.path))
        known[entry.path] = entry
    _links(ordered, known)
    return ordered


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries of trees, each of which was checked when it was read, sorted by path.

    Raises: Confined at a hard link to no file among them.
    """
    ordered = tuple(sorted(entries, key=lambda entry: order(entry.path)))
    if any(entry.kind == "hardlink" for entry in ordered):
        _links(ordered, {entry.path: entry for entry in ordered})
    return ordered


def _links(entries: Iterable[Entry], known: Mapping[bytes, Entry]) -> None:
    for entry in entries:
        if entry.kind == "hardlink":
            first = known.get(entry.target)
            if first is None or first.kind != "file":
                raise Confined("a hard link to no file of this tree", where=show(entry.path))


def problem(entry: Entry) -> str:
    """Why no file system could hold this entry; empty when one could."""
    if checked(entry.path) != entry.path:
        return "the path is not plain"
    if entry.kind not in KINDS:
        return f"{str(entry.kind)[:40]!r} is no kind of entry"
    if not _within(entry.mode, 0, 0o10000):
        return "the mode is not possible"
    if not (_within(entry.uid, 0, _OWNER_MAX) and _within(entry.gid, 0, _OWNER_MAX)):
        return "the owner is not possible"
    if not _within(entry.mtime_ns, -_TIME_NS_MAX, _TIME_NS_MAX):
        return "the time is not possible"
    if not _within(entry.size, 0, SIZE_BYTES_MAX + 1):
        return "the size is not possible"
    if not _within(entry.allocated, 0, SIZE_BYTES_MAX + 1):
        return "the size is not possible"
    if entry.kind == "file" and entry.sha256 and not _is_id(entry.sha256):
        return "the SHA-256 is not one"
    if (entry.blocks and not _is_id(entry.blocks)) or (entry.tree and not _is_id(entry.tree)):
        return "an object id is not one"
    if entry.kind == "symlink" and not 0 < len(entry.target) < _LINK_BYTES_MAX:
        return "the target of the link is not possible"
    if b"\0" in entry.target:
        return "the target holds a NUL byte"
    return _attributes_problem(entry) if entry.attributes else ""


def _attributes_problem(entry: Entry) -> str:
    before = b""
    for name, value in entry.attributes:
        if entry.kind not in ("file", "folder"):
            return "only files and folders have extended attributes"
        if name <= before or b"\0" in name or b"." not in name or len(name) > _NAME_BYTES_MAX:
            return "an extended attribute has no possible name"
        if len(value) > _VALUE_BYTES_MAX:
            return "an extended attribute is longer than any file system holds"
        before = name
    return ""


def _place_problem(entry: Entry, known: Mapping[bytes, Entry]) -> str:
    if entry.path in known:
        return "two entries have this path"
    root = known.get(b".")
    if root is not None and root.kind != "folder":
        return "something lies below the root, which is no folder"
    above = entry.path
    while b"/" in above:
        above = above.rpartition(b"/")[0]
        parent = known.get(above)
        if parent is not None:
            # what stands above that one was looked at when it came
            return "" if parent.kind == "folder" else "it lies below something that is no folder"
    return ""


def _within(value: object, low: int, above: int) -> bool:
    """None, or a whole number of this range; True is no number."""
    return value is None or (type(value) is int and low <= value < above)


def _is_id(text: object) -> bool:
    return isinstance(text, str) and _ID.fullmatch(text) is not None
