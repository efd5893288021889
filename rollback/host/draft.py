"""A file that is being made: it has no name yet, or one under which nobody looks for it.

Hides: clones, ranges that the kernel copies, which of these a file system lacks.
Never: writes to a file that somebody may have open.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import stat as stat_
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rollback.host.looking import CHUNK_BYTES, Reading
from rollback.host.tap import Tap
from rollback.model.errors import HostError

Attributes = Iterable[tuple[bytes, bytes | None]]
COPY_BYTES = 32 * 2**20  # what is copied in one call
_CLONE = 0x40049409  # FICLONE
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
_BEGIN = 0x02  # SYNC_FILE_RANGE_WRITE
_LACKING = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EPERM,
            errno.ETXTBSY)  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)
_fallocate: Any = _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_sync_file_range: Any = getattr(_libc, "sync_file_range", None)  # not every C library has it
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


class Draft:
    """An open file that nobody else uses. `place` is for messages."""

    def __init__(self, fd: int, where: bytes, tap: Tap, place: Callable[[bytes], str]) -> None:
        self.fd = fd
        self.reading = Reading(fd)
        self._where = where
        self._tap = tap
        self._place = place

    @property
    def place(self) -> str:
        """Where it will stand, for messages."""
        return self._place(self._where)

    def fill(self, chunks: Iterable[bytes], *, holes: bool = False) -> None:
        """The chunks stand in it, one after the other; with `holes`, zeros take no space."""
        for chunk in chunks:
            if holes and chunk.count(0) == len(chunk):
                os.lseek(self.fd, len(chunk), os.SEEK_CUR)
            else:
                write_all(self.fd, self._where, chunk, self._tap)
        if holes:
            self.fit(os.lseek(self.fd, 0, os.SEEK_CUR))

    def fit(self, size_bytes: int, *, allocate: bool = False) -> None:
        """It has this length; with `allocate`, also the space for it, where that can be had."""
        self._tap.change("ftruncate", self._where, lambda: os.ftruncate(self.fd, size_bytes))
        if allocate and size_bytes:
            allocated(self.fd, self._where, self._tap, self._place, 0, 0, size_bytes)

    def take(self, source: Reading, size_bytes: int) -> Iterator[int]:
        """What `source` holds up to there, holes as holes; tells how far it has come, as it comes."""
        if self._cloned(source):
            if source.stat().st_size > size_bytes:
                self.fit(size_bytes)
            yield size_bytes
            return
        for start, end in source.extents(size_bytes):
            while start < end:
                done = self._copied(source, start, min(end - start, COPY_BYTES))
                if not done:
                    break  # it is shorter by now
                _begin_writing(self.fd, start, done)
                start += done
                yield start

    def _cloned(self, source: Reading) -> bool:
        """It shares the blocks of `source`. No tap: mostly it cannot be, and then nothing changed."""
        try:
            fcntl.ioctl(self.fd, _CLONE, source.fd)
        except OSError as error:
            if error.errno not in _LACKING:
                raise
            return False
        return True

    def _copied(self, source: Reading, offset: int, size_bytes: int) -> int:
        try:
            return self._tap.change("copy_file_range", self._where, lambda: os.copy_file_range(
                source.fd, self.fd, size_bytes, offset, offset))  # fmt: skip
        except OSError as error:
            if error.errno not in _LACKING:
                raise
        data = source.at(offset, min(size_bytes, CHUNK_BYTES))
        self.put(offset, data)
        return len(data)

    def put(self, offset: int, data: bytes) -> None:
        """The bytes stand at that place."""
        view = memoryview(data)
        while view:
            half = view[: max(1, len(view) // 2)]
            done = self._tap.change(
                "write", self._where, lambda view=view, at=offset: os.pwrite(self.fd, view, at),  # type: ignore[misc]
                torn=lambda half=half, at=offset: os.pwrite(self.fd, half, at),  # type: ignore[misc]
            )  # fmt: skip
            view, offset = view[done:], offset + done

    def clear(self, offset: int, size_bytes: int, *, hole: bool) -> None:
        """Zeros stand at that place; as a `hole` they take no space, if the file system can do that."""
        how = _KEEP_SIZE | _PUNCH_HOLE
        if hole and allocated(
            self.fd, self._where, self._tap, self._place, how, offset, size_bytes
        ):
            return
        for at in range(offset, offset + size_bytes, CHUNK_BYTES):
            self.put(at, bytes(min(CHUNK_BYTES, offset + size_bytes - at)))

    def sha256(self) -> str:
        """The SHA-256 of what is read back."""
        whole = hashlib.sha256()
        for chunk in self.reading.all():
            whole.update(chunk)
        return whole.hexdigest()

    def prove(self, sha256: str) -> None:
        """What is read back has this SHA-256. Raises: HostError."""
        if self.sha256() != sha256:
            raise HostError("the disk gives back other bytes than were written",
                            where=self.place)  # fmt: skip

    def dress(
        self, *, mode: int, owner: tuple[int, int] | None = None, mtime_ns: int | None = None,
        attributes: Attributes = (),
    ) -> None:  # fmt: skip
        """It has this owner, mode, time and these extended attributes."""
        dress(self.fd, self._where, self._tap, mode=mode, owner=owner, mtime_ns=mtime_ns,
              attributes=attributes)  # fmt: skip

    def sync(self) -> None:
        """It is on disk."""
        self._tap.change("fsync", self._where, lambda: os.fsync(self.fd))


def _begin_writing(fd: int, offset: int, size_bytes: int) -> None:
    """The disk is busy with these bytes from now on, so that a sync later has less to wait for.

    Where that cannot be had nothing is lost: only the sync makes anything durable, and it tells of
    whatever could not be written, also of what was begun here.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, size_bytes, _BEGIN)


def write_all(fd: int, where: bytes, data: bytes, tap: Tap) -> None:
    """All the bytes stand where the descriptor stood."""
    view = memoryview(data)
    while view:
        half = view[: max(1, len(view) // 2)]
        done = tap.change(
            "write", where, lambda view=view: os.write(fd, view),  # type: ignore[misc]
            torn=lambda half=half: os.write(fd, half),  # type: ignore[misc]
        )  # fmt: skip
        view = view[done:]


def allocated(
    fd: int, where: bytes, tap: Tap, place: Callable[[bytes], str], how: int, offset: int, size: int
) -> bool:
    """The space is as `how` says (see fallocate(2)); False where the file system cannot do that."""

    def allocate() -> None:
        if _fallocate(fd, how, offset, size) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), place(where))

    try:
        tap.change("fallocate", where, allocate)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return False
    return True


def dress(
    fd: int, where: bytes, tap: Tap, *, mode: int | None, owner: tuple[int, int] | None,
    mtime_ns: int | None, attributes: Attributes = (),
) -> None:  # fmt: skip
    """The open file or folder has these. Owner first: it may clear mode bits."""
    found = os.fstat(fd)
    if owner is not None and owner != (found.st_uid, found.st_gid):
        tap.change("fchown", where, lambda: os.fchown(fd, *owner))
    if attributes:
        if mode is None:
            mode = stat_.S_IMODE(found.st_mode)
        _attributes(fd, where, tap, attributes)
    if mode is not None and stat_.S_IMODE(os.fstat(fd).st_mode) != mode:
        tap.change("fchmod", where, lambda: os.fchmod(fd, mode))
    if mtime_ns is not None:
        tap.change("utime", where, lambda: os.utime(fd, ns=(mtime_ns, mtime_ns)))


def _attributes(fd: int, where: bytes, tap: Tap, attributes: Attributes) -> None:
    mode = stat_.S_IMODE(os.fstat(fd).st_mode)
    if not mode & stat_.S_IWUSR and os.geteuid() != 0:
        # who owns a file may not set an attribute of it while it is read-only
        tap.change("fchmod", where, lambda: os.fchmod(fd, mode | stat_.S_IWUSR))
    for name, value in attributes:
        if value is not None:
            tap.change("fsetxattr", where, lambda n=name, v=value: os.setxattr(fd, n, v))  # type: ignore[misc]
            continue
        try:
            tap.change("fremovexattr", where, lambda n=name: os.removexattr(fd, n))  # type: ignore[misc]
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise
