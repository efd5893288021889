"""A checkpoint as a plain tar that any tar reads: no tool of ours is needed to get at it.

POSIX pax format: names are bytes as they are, times have their nanoseconds, sizes and owners any
size, declared extended attributes are records. Paths are relative to the system's root. Hard links
are links; holes are written as zeros.

Hides: the spelling of pax headers.
Never: writes a byte that was not hashed just now; replaces a file.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from rollback.host import Host, Tree
from rollback.host.files import TEMPORARY
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest, read_tree
from rollback.keep.progress import counted as told
from rollback.keep.store import Store
from rollback.model.errors import ObjectCorrupt, UsageError

_TYPES = {"file": tarfile.REGTYPE, "folder": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE,
          "hardlink": tarfile.LNKTYPE}  # fmt: skip
_MODES = {"file": 0o600, "folder": 0o700, "symlink": 0o777, "hardlink": 0o600}
_READ_BYTES = 2**20
_ATTRIBUTE = "SCHILY.xattr."  # as GNU tar, bsdtar and star write them


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished archive: how many entries it has, its bytes, and their SHA-256."""

    path: str
    entries: int
    size_bytes: int
    sha256: str


def export(
    kept: Checkpoints, host: Host, wanted: str, components: Iterable[str], path: str
) -> Exported:
    """The archive stands at `path`, durable, 0600, read back and hashed.

    Crash: a temporary file may stay beside it. Raises: UsageError where something stands there or
    the folder is missing; PlanError, ObjectMissing, ObjectCorrupt, OSError: then there is none.
    """
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder) or not name:
        raise UsageError(
            "there is no such folder", where=folder, hint="name a file in one that exists"
        )
    if os.path.lexists(path):
        raise UsageError("something stands there already", where=path, hint="choose another name")
    with host.tree(os.path.realpath(folder)) as tree:
        done = write(kept, tree, name, wanted, components)
    return replace(done, path=path)


def write(
    kept: Checkpoints, tree: Tree, name: str, wanted: str, components: Iterable[str] = (), *,
    temporary: str = "", fits: Callable[[int], None] = lambda _size_bytes: None,
) -> Exported:  # fmt: skip
    """The archive stands in the folder as `name`, where nothing stood; otherwise as `export`.

    `temporary` is its name while it grows, which one caller at a time uses, so that what a crash left
    there goes; without it one that nobody has. `fits` hears how large it is, and raises where that
    is too much.
    """
    found = kept.get(wanted)
    names = tuple(components) or tuple(found.parts)
    count = size = 0

    def counted() -> None:
        nonlocal count
        count += 1

    def sized() -> Iterator[bytes]:
        nonlocal size
        parts = told(_archive(kept, found.id, names, counted), kept.progress, f"exporting {name}",
                     sum(found.parts[one].size_bytes for one in names if one in found.parts))  # fmt: skip
        for part in _hashed(parts, whole.update):
            size += len(part)
            fits(size)
            yield part

    whole = hashlib.sha256()
    if temporary:
        staged = TEMPORARY + os.fsencode(temporary)
        if tree.stat(staged) is not None:
            tree.unlink(staged)
        tree.create(staged, sized(), mode=0o600)
    else:
        staged = tree.stage(name, sized(), mode=0o600)
    try:
        _read_back(tree, staged, whole.digest())
        tree.move(staged, tree, name)
    except BaseException:
        with suppress(OSError):
            tree.unlink(staged)
        raise
    tree.sync_folder()
    return Exported(tree.place(name), count, size, whole.hexdigest())


def _read_back(tree: Tree, path: bytes, digest: bytes) -> None:
    with tree.reading(path) as file:
        file.forget()
    again = hashlib.sha256()
    for at in range(0, tree.size(path), _READ_BYTES):
        again.update(tree.read_at(path, at, _READ_BYTES))
    if again.digest() != digest:
        raise ObjectCorrupt("what was written is not what lies there", where=tree.place(path))


def _hashed(parts: Iterable[bytes], update: Callable[[bytes], None]) -> Iterator[bytes]:
    held = bytearray()
    for part in parts:
        update(part)
        held += part
        if len(held) >= _READ_BYTES:
            yield bytes(held)
            held.clear()
    yield bytes(held)


def _archive(
    kept: Checkpoints, identity: str, names: tuple[str, ...], counted: Callable[[], None]
) -> Iterator[bytes]:
    parts = kept.get(identity).parts
    for name in names:
        manifest = kept.manifest(identity, name)
        above = os.fsencode(parts[name].path)
        links = _Links(manifest, kept.store)
        for entry in _deep_first(manifest, kept.store):
            counted()
            yield from _member(kept.store, links.spelled(entry), above)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _deep_first(manifest: Manifest, store: Store) -> Iterator[Entry]:
    """Each folder, and at once all that is in it: what sets a folder's time last comes last."""
    todo = [iter((manifest.top,) if manifest.top is not None else ())]
    while todo:
        entry = next(todo[-1], None)
        if entry is None:
            todo.pop()
            continue
        yield entry
        if entry.tree:
            todo.append(iter(read_tree(store.get, entry)))


class _Links:
    """The first name of a file in the archive holds its bytes; the others are links to that."""

    def __init__(self, manifest: Manifest, store: Store) -> None:
        self._files: dict[bytes, Entry] = {}
        self._first: dict[bytes, bytes] = {}
        if manifest.links:
            wanted = {one.target for one in _deep_first(manifest, store) if one.kind == "hardlink"}
            self._files = {one.path: one for one in _deep_first(manifest, store)
                           if one.path in wanted}  # fmt: skip

    def spelled(self, entry: Entry) -> Entry:
        """The entry as it stands in the archive."""
        target = entry.target if entry.kind == "hardlink" else entry.path
        file = self._files.get(target)
        if file is None:
            return entry
        first = self._first.setdefault(target, entry.path)
        if first == entry.path:
            return replace(file, path=entry.path)
        return replace(file, path=entry.path, kind="hardlink", target=first)


def _member(store: Store, entry: Entry, above: bytes) -> Iterator[bytes]:
    info = tarfile.TarInfo(_text(_below(above, entry.path)))
    info.type = _TYPES[entry.kind]
    info.mode = _MODES[entry.kind] if entry.mode is None else entry.mode
    info.uid, info.gid = entry.owner or (os.getuid(), os.getgid())
    info.size = entry.size if entry.kind == "file" else 0
    if entry.kind == "symlink":
        info.linkname = _text(entry.target)
    elif entry.kind == "hardlink":
        info.linkname = _text(_below(above, entry.target))
    headers = {}
    if entry.mtime_ns is not None:
        info.mtime = max(0, entry.mtime_ns // 10**9)
        headers["mtime"] = _seconds(entry.mtime_ns)
    for name, value in entry.attributes if entry.kind in ("file", "folder") else ():
        keyword = _text(name).replace("%", "%25").replace("=", "%3D")  # as GNU tar spells them
        headers[_ATTRIBUTE + keyword] = _text(value)
    info.pax_headers = headers
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if entry.kind == "file":
        for block in store.blocks(entry.sha256, entry.blocks, entry.size):
            yield store.get(block)
        yield bytes(-entry.size % tarfile.BLOCKSIZE)


def _below(above: bytes, path: bytes) -> bytes:
    if path == b".":
        return above
    return path if above == b"." else above + b"/" + path


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _seconds(ns: int) -> str:
    """Seconds with all nine digits, as pax wants them: `-0.5` is half a second before 1970."""
    whole, rest = divmod(abs(ns), 10**9)
    return f"{'-' if ns < 0 else ''}{whole}.{rest:09d}"
