"""A .tar or .tar.gz that somebody made, as something to put back from.

It is read as a stream from its first byte to its last, twice: to find out whether it is whole and
what is in it, and to take out the members that are needed. Nothing is ever extracted: members are
entries for the one writer, like those of a checkpoint or a commit.

Hides: compression, headers, which archives are lies.
Never: believes an archive that is truncated, damaged, ambiguous or hostile; takes owners from it.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rollback.host import Tree
from rollback.host.below import checked, show
from rollback.keep.entry import Entry, check
from rollback.keep.progress import SILENT, Progress, counted
from rollback.model.errors import Confined, HostError, ObjectCorrupt, PlanError, Refused

MANIFEST = b"MANIFEST.sha256"
HEADER_BYTES_MAX = 2**20  # a name or an extended header; tarfile reads it at once
MEMBERS_MAX = 2_000_000
BOMB_BYTES = 256 * 2**20
BOMB_RATIO = 200  # text shrinks to a tenth; zeros to a thousandth
_CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"
_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
         tarfile.GNUTYPE_LONGLINK)  # fmt: skip

Take = Callable[[bytes, Iterator[bytes]], None]


class _Member(tarfile.TarInfo):
    """A header; what would make tarfile read more than a header into memory is refused."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.size < 0 or (self.type in _LONG and self.size > HEADER_BYTES_MAX):
            raise tarfile.ReadError("a header of an impossible size")
        return super()._proc_member(tar)  # type: ignore[misc]


class _Stream:
    """The bytes of the tar in an open file, inflated where it is compressed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._raw = hashlib.sha256()
        self._held = bytearray()
        self._inflate: Any = None
        self._left = b""
        self._begun = False
        self.taken = self.given = self.last_used = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the file so far, as it lies on the disk."""
        return self._raw.hexdigest()

    def read(self, size: int) -> bytes:
        """At most that many bytes; fewer only at the end. Raises: ValueError, zlib.error."""
        while len(self._held) < size and self._more():
            pass
        found = bytes(self._held[:size])
        del self._held[:size]
        return found

    def drain(self) -> None:
        """Everything was read."""
        while self.read(_CHUNK):
            pass

    def _more(self) -> bool:
        """A piece more is held; False at the end. Never inflates more than a piece at once."""
        if not self._left:
            self._left = next(self._chunks, b"")
            self._raw.update(self._left)
            self.taken += len(self._left)
            if not self._left:
                if self._inflate is not None and not self._inflate.eof:
                    raise ValueError("it ends in the middle")
                return False
            if not self._begun and self._left.startswith(_GZIP):
                self._inflate = zlib.decompressobj(wbits=31)
            self._begun = True
        if self._inflate is None:
            self._give(self._left)
            self._left = b""
            return True
        if self._inflate.eof:
            self._left = self._left.lstrip(b"\0")
            if self._left and not self._left.startswith(_GZIP[:1]):
                raise ValueError("something follows its end")
            self._inflate = zlib.decompressobj(wbits=31) if self._left else self._inflate
            return True
        self._give(self._inflate.decompress(self._left, _CHUNK))
        self._left = self._inflate.unused_data or self._inflate.unconsumed_tail
        return True

    def _give(self, data: bytes) -> None:
        used = len(data.rstrip(b"\0"))
        if used:
            self.last_used = self.given + used
        self.given += len(data)
        if self.given > BOMB_BYTES and self.given > BOMB_RATIO * self.taken:
            raise ValueError(f"it swells to more than {BOMB_RATIO} times its size")
        self._held += data


@dataclass(frozen=True)
class Archive:
    """What is in an archive that was read to its end and found whole; paths are those in it.

    Units: `size_bytes` of the file. `digest` is its SHA-256. `at_s`: its time, since 1970.
    """

    path: str
    digest: str
    size_bytes: int
    at_s: float
    entries: Mapping[bytes, Entry] = field(repr=False)

    def component(self, path: str) -> tuple[bytes, tuple[Entry, ...]]:
        """Where a component lies in it, and its entries relative to the component.

        Either the members are named from the root of the system, or all lie in one folder, and in
        that one they are. Raises: PlanError when it is not in it.
        """
        wanted = os.fsencode(path)
        for prefix in (b"", self._folder()):
            if prefix is None:
                continue
            at = b"/".join(part for part in (prefix, wanted) if part not in (b"", b".")) or b"."
            found = tuple(self._below(at))
            if found:
                try:
                    return at, check(found)
                except Confined as error:
                    raise PlanError(f"{path}: {error.message}", where=error.where) from error
        raise PlanError(f"{path} is not in it")

    def _folder(self) -> bytes | None:
        """The one folder that everything lies in."""
        tops = {entry.split(b"/")[0] for entry in self.entries if entry not in (b".", MANIFEST)}
        return next(iter(tops)) if len(tops) == 1 else None

    def _below(self, at: bytes) -> Iterator[Entry]:
        start = b"" if at == b"." else at + b"/"
        for path, entry in self.entries.items():
            if path == at:
                yield replace(entry, path=b".")
            elif path.startswith(start) and path not in (b".", MANIFEST):
                target = entry.target
                if entry.kind == "hardlink":
                    inside = target.startswith(start)
                    target = target[len(start) :] if inside else b"outside/of/it"
                yield replace(entry, path=path[len(start) :], target=target)


def read_archive(tree: Tree, name: bytes, progress: Progress = SILENT) -> Archive:
    """What is in the archive, after all of it was read.

    Raises: ObjectCorrupt with the reason why it is nothing to go back to; OSError.
    """
    found: dict[bytes, Entry] = {}

    def take(member: tarfile.TarInfo, chunks: Iterator[bytes]) -> None:
        entry = _entry(member)
        if entry.path in found:
            raise ValueError(f"{show(entry.path)} is in it twice")
        if entry.kind == "file":
            whole = hashlib.sha256()
            for chunk in chunks:
                whole.update(chunk)
            entry = replace(entry, sha256=whole.hexdigest())
        found[entry.path] = entry

    with tree.reading(name) as file:
        seen = file.stat()
        what = f"reading {show(os.path.basename(name))}"
        stream = _Stream(counted(file.chunks(2**62), progress, what, seen.st_size))
        _walk(stream, take, tree.place(name))
        if not found:
            raise ObjectCorrupt("nothing is in it", where=tree.place(name))
        try:
            check(found.values())
        except Confined as error:
            raise ObjectCorrupt(
                f"{error.where}: {error.message}", where=tree.place(name)
            ) from error
        return Archive(tree.place(name), stream.digest, seen.st_size, seen.st_mtime, found)


class ArchiveSource:
    """A component in an archive as a source; what is read from it lies in `spool` by then."""

    def __init__(self, archive: Archive, component: str) -> None:
        self._archive = archive
        self._at, self._entries = archive.component(component)
        self._spool: Tree | None = None
        self._names: dict[bytes, bytes] = {}

    def entries(self) -> Iterable[Entry]:
        """What the archive holds of it."""
        return self._entries

    def fetch(
        self, tree: Tree, name: bytes, wanted: Iterable[bytes], spool: Tree,
        progress: Progress = SILENT,
    ) -> None:  # fmt: skip
        """These files of the component, by their paths in it, can be read.

        Raises: ObjectCorrupt when the archive is not the one that was read before; Refused when
        they do not fit.
        """
        kinds = {entry.path: entry for entry in self._entries if entry.kind == "file"}
        inside = {self._inside(path): path for path in wanted if path in kinds}
        need = sum(kinds[path].size for path in inside.values())
        free, _ = spool.free()
        if need > free:
            raise Refused("disk", f"{need} bytes are needed and {free} are free",
                          where=show(spool.path), hint="make room, then try again")  # fmt: skip
        self._spool = spool

        def take(member: tarfile.TarInfo, chunks: Iterator[bytes]) -> None:
            path = inside.get(_path(member))
            if path is not None and member.isreg():
                self._names[path] = b"%08d" % len(self._names)
                spool.create(self._names[path], chunks, sync=False)

        with tree.reading(name) as file:
            what = f"taking out of {show(os.path.basename(name))}"
            chunks = counted(file.chunks(2**62), progress, what, self._archive.size_bytes)
            stream = _Stream(chunks)
            _walk(stream, take, self._archive.path)
            if stream.digest != self._archive.digest:
                raise ObjectCorrupt("the archive is another one than was planned with",
                                    where=self._archive.path, hint="plan again")  # fmt: skip

    def read(self, entry: Entry) -> Iterator[bytes]:
        """The bytes; the writer compares them with the digest of the first reading."""
        assert self._spool is not None, "fetched before it is read"
        name = self._names.get(entry.path)
        if name is None:
            raise ObjectCorrupt(
                "the file changed while the archive was read", where=show(entry.path)
            )
        with self._spool.reading(name) as file:
            yield from file.chunks(2**62)

    def _inside(self, path: bytes) -> bytes:
        if path == b".":
            return self._at
        return path if self._at == b"." else self._at + b"/" + path


def _walk(
    stream: _Stream, take: Callable[[tarfile.TarInfo, Iterator[bytes]], None], where: str
) -> None:
    """Every member goes to `take` in order. Raises: ObjectCorrupt."""
    readable: Any = stream
    try:
        with tarfile.open(
            fileobj=readable, mode="r|", tarinfo=_Member, encoding="utf-8",
            errors="surrogateescape",
        ) as tar:  # fmt: skip
            count = 0
            while (member := tar.next()) is not None:
                count += 1
                if count > MEMBERS_MAX:
                    raise ValueError(f"more than {MEMBERS_MAX} members are in it")
                take(member, _bytes(tar, member))
                tar.members.clear()  # type: ignore[attr-defined]
            end = tar.offset
        stream.drain()
        if stream.last_used > end or stream.given < end + tarfile.BLOCKSIZE:
            raise ValueError("it ends in the middle, or a header in it is damaged")
    except HostError as error:
        raise ObjectCorrupt(f"{error.where}: {error.message}", where=where) from error
    except (tarfile.TarError, zlib.error, ValueError, EOFError, OverflowError, IndexError,
            UnicodeError, RecursionError) as error:  # fmt: skip
        raise ObjectCorrupt(f"it is no whole archive: {error}", where=where) from error


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    if not member.isreg():
        return
    file = tar.extractfile(member)
    assert file is not None, "a regular file has bytes"
    left = member.size
    while left > 0:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise ValueError(f"{member.name!r} is shorter than it says")
        left -= len(chunk)
        yield chunk


def _path(member: tarfile.TarInfo) -> bytes:
    """The path of a member, plain. Raises: Confined."""
    return _plain(member.name)


def _plain(name: str) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    while raw.startswith(b"./"):
        raw = raw[2:].lstrip(b"/")
    return checked(raw.rstrip(b"/") if raw != b"/" else raw)


def _entry(member: tarfile.TarInfo) -> Entry:
    """The member as an entry, without its owner, which is one of another machine."""
    path = _path(member)
    mode, mtime_ns = member.mode & 0o7777, _time_ns(member)
    if member.isdir():
        return Entry(path, "folder", mode=mode, mtime_ns=mtime_ns)
    if path == b".":
        raise ValueError("its top is no folder")
    if member.isreg():
        return Entry(path, "file", mode=mode, mtime_ns=mtime_ns, size=member.size)
    if member.islnk():
        return Entry(path, "hardlink", target=_plain(member.linkname))
    if member.issym():
        target = member.linkname.encode("utf-8", "surrogateescape")
        up = os.path.normpath(os.path.join(os.path.dirname(path), target))
        if target.startswith(b"/") or up == b".." or up.startswith(b"../"):
            raise ValueError(f"{show(path)} is a link that leaves it")
        return Entry(path, "symlink", target=target, mtime_ns=mtime_ns)
    raise ValueError(f"{show(path)} is a device, or nothing that a folder can hold")


def _time_ns(member: tarfile.TarInfo) -> int:
    """Exact, where an extended header tells it as a decimal."""
    told = member.pax_headers.get("mtime", "")
    seconds, _, rest = told.partition(".")
    if seconds.isdigit() and (rest.isdigit() or not rest):
        return int(seconds) * 10**9 + int((rest + "0" * 9)[:9])
    return int(member.mtime) * 10**9
