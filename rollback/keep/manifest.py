"""What a component looked like: its entries, and their one encoding, whose SHA-256 is its id.

Paths are bytes relative to the component; `.` is the component itself, be it a folder or a file.
None for a mode, an owner or a time means: not known, leave it as it is.

Hides: the encoding; see docs/formats-checkpoint.md.
Never: reads a file; accepts a manifest that is not spelled canonically.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from rollback.host.below import checked, show
from rollback.model.errors import Confined, ObjectCorrupt
from rollback.model.event import canonical
from rollback.model.finding import Json

FORMAT = 1
KINDS = ("file", "folder", "symlink", "hardlink")
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
SIZE_BYTES_MAX = 2**60
_TIME_NS_MAX = 2**63
_LINK_BYTES_MAX = 4096

Type = Literal["file", "folder", "symlink", "hardlink"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a component; `target` of a hard link is the path of the entry that it names too.

    Units: `size` in bytes, `mtime_ns` since 1970. Shape: `sha256` is over the whole file (empty:
    whoever needs it reads the file); `objects` are the ids of its blocks in order; `xattrs` are
    names only.
    """

    path: bytes
    kind: Type
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    size: int = 0
    sha256: str = ""
    objects: tuple[str, ...] = ()
    target: bytes = b""
    xattrs: tuple[bytes, ...] = ()
    sparse: bool = False

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


@dataclass(frozen=True)
class Manifest:
    """A component at one moment: entries sorted by path, and what else is known of it."""

    component: str
    content: str
    entries: tuple[Entry, ...]
    meta: Mapping[str, Json] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The one spelling of this manifest."""
        value = {
            "format": FORMAT, "component": self.component, "content": self.content,
            "entries": [_entry_json(entry) for entry in self.entries], "meta": dict(self.meta),
        }  # fmt: skip
        return canonical(value)

    @property
    def digest(self) -> str:
        """SHA-256 of the encoding: the id of the object that holds it."""
        return hashlib.sha256(self.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """The bytes of all files, hard links counted once."""
        return sum(entry.size for entry in self.entries if entry.kind == "file")

    def objects(self) -> set[str]:
        """The ids of all blocks of all files."""
        return {block for entry in self.entries for block in entry.objects}

    def path_list(self, name: str) -> tuple[bytes, ...]:
        """The paths in a list of `meta` that `path_json` wrote."""
        found = self.meta.get(name, [])
        assert isinstance(found, list)
        return tuple(path_bytes(item["path"] if isinstance(item, dict) and "path" in item else item)
                     for item in found)  # fmt: skip


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


def _entry_json(entry: Entry) -> dict[str, Any]:
    value: dict[str, Any] = {"path": path_json(entry.path), "kind": entry.kind}
    for name in ("mode", "uid", "gid", "mtime_ns"):
        if getattr(entry, name) is not None:
            value[name] = getattr(entry, name)
    if entry.kind == "file":
        value["size"] = entry.size
        value["sha256"] = entry.sha256
        if entry.objects not in ((), (entry.sha256,)):
            value["objects"] = list(entry.objects)
    if entry.kind in ("symlink", "hardlink"):
        value["target"] = path_json(entry.target)
    if entry.xattrs:
        value["xattrs"] = [path_json(name) for name in entry.xattrs]
    if entry.sparse:
        value["sparse"] = True
    return value


def decode(data: bytes) -> Manifest:
    """The manifest that `encode` wrote.

    Raises: ObjectCorrupt when it is not one, of another format, or spelled in another way.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"not a manifest of format {FORMAT}")
        entries = tuple(_entry(item) for item in value["entries"])
        found = Manifest(str(value["component"]), str(value["content"]), entries, value["meta"])
        if found.encode() != data:
            raise ValueError("it is not spelled canonically")
        if check(entries) != entries:
            raise ValueError("its entries are not sorted")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Confined) as error:
        raise ObjectCorrupt(f"the manifest cannot be read: {error}") from error
    return found


def _entry(item: dict[str, Any]) -> Entry:
    sha256 = item.get("sha256", "")
    size = item.get("size", 0)
    given = item.get("objects")
    objects = tuple(given) if given is not None else ((sha256,) if size else ())
    return Entry(
        path=path_bytes(item["path"]), kind=item["kind"], mode=item.get("mode"),
        uid=item.get("uid"), gid=item.get("gid"), mtime_ns=item.get("mtime_ns"), size=size,
        sha256=sha256, objects=objects,
        target=path_bytes(item["target"]) if "target" in item else b"",
        xattrs=tuple(path_bytes(name) for name in item.get("xattrs", ())),
        sparse=item.get("sparse", False),
    )  # fmt: skip


def check(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries, sorted by path, each plain, unique, and below folders only.

    Raises: Confined naming the first one that could not be a tree, or would leave its root.
    """
    ordered = tuple(sorted(entries, key=lambda entry: order(entry.path)))
    known: dict[bytes, Entry] = {}
    for entry in ordered:
        problem = _problem(entry) or _place_problem(entry, known)
        if problem:
            raise Confined(problem, where=show(entry.path))
        known[entry.path] = entry
    for entry in ordered:
        if entry.kind == "hardlink":
            first = known.get(entry.target)
            if first is None or first.kind != "file":
                raise Confined("a hard link to no file of this tree", where=show(entry.path))
    return ordered


def _problem(entry: Entry) -> str:
    if checked(entry.path) != entry.path:
        return "the path is not plain"
    if entry.kind not in KINDS:
        return f"{entry.kind!r} is no kind of entry"
    for name, below in (("mode", 0o10000), ("uid", 2**32 - 1), ("gid", 2**32 - 1)):
        value = getattr(entry, name)
        if value is not None and not (_whole(value) and 0 <= value < below):
            return f"the {name} is not possible"
    time_ns = entry.mtime_ns
    if time_ns is not None and not (_whole(time_ns) and -_TIME_NS_MAX <= time_ns < _TIME_NS_MAX):
        return "the time is not possible"
    if not (_whole(entry.size) and 0 <= entry.size <= SIZE_BYTES_MAX):
        return "the size is not possible"
    if entry.kind == "file" and entry.sha256 and not _is_id(entry.sha256):
        return "the SHA-256 is not one"
    if not all(_is_id(block) for block in entry.objects):
        return "an object id is not one"
    if entry.kind == "symlink" and not 0 < len(entry.target) < _LINK_BYTES_MAX:
        return "the target of the link is not possible"
    if b"\0" in entry.target:
        return "the target holds a NUL byte"
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


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
