"""Components of a checkpoint as one .tar.gz that anybody can open, with a manifest of digests.

The manifest is the member `MANIFEST.sha256`, in the form that `sha256sum -c` reads. Owners are
numbers, times exact; extended attributes are not in it.

Hides: the spelling of headers.
Never: holds a member whose digest is not in the manifest.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rollback.host import Tree
from rollback.keep.archive import MANIFEST, read_archive
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest
from rollback.keep.progress import SILENT, Progress, counted
from rollback.keep.scope import Scope
from rollback.keep.store import Store
from rollback.model.errors import HostError

_BLOCK = 512
_RECORD = 20 * _BLOCK
_LEVEL = 6


@dataclass
class Packing:
    """`parts` are the components by their paths; `extra` are further files by name.

    After `chunks` was exhausted, `digests` are those of every file in it, by path.
    """

    store: Store
    parts: Mapping[str, Manifest]
    exclude: tuple[str, ...] = ()
    extra: Mapping[str, bytes] = field(default_factory=dict)
    at_s: int = 0
    progress: Progress = SILENT
    digests: dict[bytes, str] = field(default_factory=dict)
    members: int = 0

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the archive. Raises: ObjectMissing, ObjectCorrupt."""
        squeeze = zlib.compressobj(_LEVEL, wbits=31)
        size = 0
        total = sum(manifest.size_bytes for manifest in self.parts.values())
        for chunk in counted(self._plain(), self.progress, "packing", total):
            size += len(chunk)
            yield squeeze.compress(chunk)
        yield squeeze.compress(b"\0" * (2 * _BLOCK + -(size + 2 * _BLOCK) % _RECORD))
        yield squeeze.flush()

    def _plain(self) -> Iterator[bytes]:
        for path, manifest in sorted(self.parts.items()):
            yield from self._component(os.fsencode(path), manifest)
        for name, data in sorted(self.extra.items()):
            yield from self._bytes(os.fsencode(name), data)
        listed = b"".join(_line(path, digest) for path, digest in sorted(self.digests.items()))
        yield from self._bytes(MANIFEST, listed)

    def _component(self, path: bytes, manifest: Manifest) -> Iterator[bytes]:
        scope = Scope(exclude=self.exclude)
        standing = scope.sorter()
        entries = {entry.path: entry for entry in manifest.entries(self.store.get)}
        first: dict[bytes, bytes] = {}  # of hard links: which name holds the bytes in here
        for entry in sorted(
            entries.values(), key=lambda one: one.path if one.path != b"." else b""
        ):
            if standing(entry.path) != "ours":
                continue
            full = _joined(path, entry.path)
            if full == b".":
                continue
            held = entries[entry.target] if entry.kind == "hardlink" else entry
            if held.path in first:
                yield self._head(full, entry, tarfile.LNKTYPE, link=first[held.path])
            elif held.kind == "file":
                first[held.path] = full
                yield from self._file(full, held)
            elif held.kind == "symlink":
                yield self._head(full, entry, tarfile.SYMTYPE, link=entry.target)
            else:
                yield self._head(full, entry, tarfile.DIRTYPE)

    def _file(self, full: bytes, entry: Entry) -> Iterator[bytes]:
        yield self._head(full, entry, tarfile.REGTYPE, size=entry.size)
        whole = hashlib.sha256()
        for block in self.store.blocks(entry.sha256, entry.blocks, entry.size):
            data = self.store.get(block)
            if not entry.sha256:
                whole.update(data)
            yield data
        yield b"\0" * (-entry.size % _BLOCK)
        self.digests[full] = entry.sha256 or whole.hexdigest()

    def _bytes(self, full: bytes, data: bytes) -> Iterator[bytes]:
        entry = Entry(full, "file", mode=0o600, mtime_ns=self.at_s * 10**9, size=len(data))
        yield self._head(full, entry, tarfile.REGTYPE, size=len(data))
        yield data
        yield b"\0" * (-len(data) % _BLOCK)
        self.digests[full] = hashlib.sha256(data).hexdigest()

    def _head(
        self, full: bytes, entry: Entry, kind: bytes, *, size: int = 0, link: bytes = b""
    ) -> bytes:
        self.members += 1
        member = tarfile.TarInfo(os.fsdecode(full))
        member.type, member.size, member.linkname = kind, size, os.fsdecode(link)
        member.mode = entry.mode if entry.mode is not None else 0o755 if size == 0 else 0o644
        member.uid, member.gid = entry.uid or 0, entry.gid or 0
        if entry.mtime_ns is not None:
            member.mtime = entry.mtime_ns // 10**9
            if entry.mtime_ns >= 0:
                seconds, rest = divmod(entry.mtime_ns, 10**9)
                member.pax_headers = {"mtime": f"{seconds}.{rest:09d}"}
        return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def verify_packed(
    tree: Tree, name: bytes, digests: Mapping[bytes, str], progress: Progress = SILENT
) -> str:
    """The SHA-256 of the archive, which was read whole and holds exactly these files.

    Raises: ObjectCorrupt; HostError when it holds others.
    """
    found = read_archive(tree, name, progress)
    held = {path: entry.sha256 for path, entry in found.entries.items() if entry.kind == "file"}
    if held != dict(digests):
        raise HostError("the disk gives back another archive than was written",
                        where=tree.place(name))  # fmt: skip
    return found.digest


def listed(data: bytes) -> dict[bytes, str]:
    """What a manifest says: digests by path. Raises: ValueError."""
    found: dict[bytes, str] = {}
    for line in data.split(b"\n")[:-1]:
        escaped = line.startswith(b"\\")
        digest, gap, path = line.removeprefix(b"\\").partition(b"  ")
        if not gap or len(digest) != 64:
            raise ValueError("not a manifest")
        if escaped:
            path = path.replace(b"\\n", b"\n").replace(b"\\\\", b"\\")
        found[path] = digest.decode("ascii")
    return found


def _line(path: bytes, digest: str) -> bytes:
    """As `sha256sum` prints it."""
    mark = b""
    if b"\\" in path or b"\n" in path:
        mark, path = b"\\", path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    return mark + digest.encode() + b"  " + path + b"\n"


def _joined(path: bytes, below: bytes) -> bytes:
    if below == b".":
        return path
    return below if path == b"." else path + b"/" + below
