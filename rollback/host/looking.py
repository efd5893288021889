"""An open folder, to be looked at: stat, read, walk; nothing here changes anything.

Hides: how a path is resolved on each call, and what a file system does not know.
Never: follows a link, leaves the root, opens a FIFO or a device.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat as stat_
from collections.abc import Callable, Iterator

from rollback.host.below import Failed, checked, open_below, scan_folder, show, walk_below
from rollback.model.errors import Confined, HostError

READ_BYTES_MAX = 64 * 2**20
CHUNK_BYTES = 1 << 20
_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS
_FIXED = 0x10 | 0x20  # immutable, append-only


class Looking:
    """What can be asked of an open folder. All paths are relative to it."""

    def __init__(self, fd: int, path: bytes) -> None:
        self.fd = fd
        self.path = path

    def close(self) -> None:
        """The descriptor is given back; a second close does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()

    def open_fd(self, path: bytes | str, flags: int, mode: int = 0) -> int:
        """A descriptor of `path`, resolved below this root. Raises: Confined, OSError."""
        raw = checked(path)
        return open_below(self.fd, raw, flags, mode, lambda: self.place(raw))

    def place(self, path: bytes | str) -> str:
        """The full path, for messages only."""
        if os.fsencode(path) == b".":
            return show(self.path)
        return show(os.path.join(self.path, os.fsencode(path)))

    def stat(self, path: bytes | str) -> os.stat_result | None:
        """What stands at `path`, links not followed; None when nothing does."""
        raw = checked(path)
        if raw == b".":
            return os.fstat(self.fd)
        try:
            with self.parent(raw) as (fd, name):
                return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            error.filename = self.place(raw)
            raise

    def same(self, path: bytes | str, other: Looking, other_path: bytes | str) -> bool:
        """True when the two are names of one file, and no folder; links not followed."""
        one, two = self.stat(path), other.stat(other_path)
        if one is None or two is None or stat_.S_ISDIR(one.st_mode):
            return False
        return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)

    def read(self, path: bytes | str, *, limit_bytes: int = READ_BYTES_MAX) -> bytes:
        """The bytes of a regular file. Raises: FileNotFoundError; HostError over the limit."""
        fd = self.open_read(path)
        try:
            parts: list[bytes] = []
            size = 0
            while chunk := os.read(fd, CHUNK_BYTES):
                parts.append(chunk)
                size += len(chunk)
                if size > limit_bytes:
                    raise HostError(f"larger than {limit_bytes} bytes", where=self.place(path))
            return b"".join(parts)
        finally:
            os.close(fd)

    def open_read(self, path: bytes | str) -> int:
        """A descriptor to read a regular file from; FIFOs and devices are refused unopened."""
        fd = self.open_fd(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        if not stat_.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Confined("not a regular file", where=self.place(path))
        return fd

    def readlink(self, path: bytes | str) -> bytes:
        """The target of a symbolic link, as bytes."""
        with self.parent(checked(path)) as (fd, name):
            return os.readlink(name, dir_fd=fd)

    def names(self, path: bytes | str = b".") -> list[bytes]:
        """The names in a folder, sorted as bytes."""
        fd = self.open_fd(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.fsencode(name) for name in os.listdir(fd))
        finally:
            os.close(fd)

    def scan(
        self, path: bytes | str = b".", *, failed: Failed | None = None
    ) -> list[tuple[bytes, os.stat_result]]:
        """What is in one folder, sorted by name; links not followed.

        What cannot be looked at goes to `failed(full path, error)`. Raises: OSError without
        `failed`, or when the folder itself cannot be read; Confined at another mount.
        """
        raw = checked(path)
        fd = self.open_fd(raw, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return scan_folder(fd, b"" if raw == b"." else raw + b"/", failed)
        finally:
            os.close(fd)

    def walk(
        self, path: bytes | str = b".", *, enter: Callable[[bytes], bool] = lambda _path: True,
        failed: Failed | None = None,
    ) -> Iterator[tuple[bytes, os.stat_result]]:  # fmt: skip
        """Everything below `path`, parents before children, names sorted; links not followed.

        `enter(folder)` False yields the folder but not what is in it. What is gone by the time it is
        looked at is not there. What cannot be read goes to
        `failed(path, error)`. Raises: OSError without `failed`; Confined at another mount.
        """
        yield from walk_below(self.fd, checked(path), enter, failed, self.place)

    def read_at(self, path: bytes | str, offset: int, size_bytes: int) -> bytes:
        """At most `size_bytes` of a regular file from `offset` on."""
        fd = self.open_read(path)
        try:
            return os.pread(fd, size_bytes, offset)
        finally:
            os.close(fd)

    def size(self, path: bytes | str) -> int:
        """The length of what stands at `path`. Raises: FileNotFoundError."""
        found = self.stat(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "nothing stands there", self.place(path))
        return found.st_size

    def reading(self, path: bytes | str) -> Reading:
        """A regular file, open to be read and looked at again; use it in `with`."""
        return Reading(self.open_read(path))

    def xattrs(self, path: bytes | str) -> tuple[bytes, ...]:
        """The names of the extended attributes of a file or folder."""
        fd = self.open_fd(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return Reading(fd).xattrs()
        finally:
            os.close(fd)

    def attributes(self, path: bytes | str) -> dict[bytes, bytes]:
        """The extended attributes of a file or folder, with their values."""
        fd = self.open_fd(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return Reading(fd).attributes()
        finally:
            os.close(fd)

    def fixed(self, path: bytes | str) -> bool:
        """True when the file or folder is immutable or append-only, whoever asks."""
        fd = self.open_fd(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            flags = bytearray(8)
            fcntl.ioctl(fd, _GET_FLAGS, flags)
            return bool(int.from_bytes(flags[:4], "little") & _FIXED)
        except OSError as error:
            if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                return False  # a file system that knows no such flags
            raise
        finally:
            os.close(fd)

    def free(self) -> tuple[int, int]:
        """Bytes and inodes that are left on this file system for us."""
        found = os.fstatvfs(self.fd)
        inodes = found.f_favail if found.f_files else 2**62
        return found.f_bavail * found.f_frsize, inodes

    def writable(self, path: bytes | str = b".") -> bool:
        """True when we may write in the folder, or the file, at `path`; read-only mounts say no."""
        fd = self.open_fd(path, os.O_PATH)
        try:
            return os.access(f"/proc/self/fd/{fd}", os.W_OK, effective_ids=True)
        finally:
            os.close(fd)

    def mount(self) -> tuple[int, int]:
        """What must be equal for two trees so that a file can be renamed from one to the other."""
        with open(f"/proc/self/fdinfo/{self.fd}", encoding="ascii") as file:
            numbers = dict(line.split(":", 1) for line in file if ":" in line)
        return os.fstat(self.fd).st_dev, int(numbers.get("mnt_id", "0"))

    def parent(self, path: bytes) -> Parent:
        """The folder of a path, opened, and the last name in it; use it in `with`."""
        folder, _, name = path.rpartition(b"/")
        if not folder:
            return Parent(self.fd, name, ours=False)
        return Parent(self.open_fd(folder, os.O_RDONLY | os.O_DIRECTORY), name)


class Parent:
    """The folder of a path, opened, and the last name in it."""

    def __init__(self, fd: int, name: bytes, *, ours: bool = True) -> None:
        self._fd = fd
        self._name = name
        self._ours = ours  # else it is the root itself, which stays open

    def __enter__(self) -> tuple[int, bytes]:
        return self._fd, self._name

    def __exit__(self, *_: object) -> None:
        if self._ours:
            os.close(self._fd)


class Reading:
    """An open file: its bytes from where the last read ended, and what it looks like now."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def stat(self) -> os.stat_result:
        """What the file looks like at this moment, whatever its name points to meanwhile."""
        return os.fstat(self.fd)

    def chunks(self, limit_bytes: int, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The bytes up to `limit_bytes`, in chunks of `chunk_bytes` but for the last."""
        left = limit_bytes
        while left > 0:
            wanted = min(left, chunk_bytes)
            parts: list[bytes] = []
            while wanted and (part := os.read(self.fd, wanted)):
                parts.append(part)
                wanted -= len(part)
            chunk = parts[0] if len(parts) == 1 else b"".join(parts)
            if not chunk:
                return
            yield chunk
            left -= len(chunk)

    def at(self, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on."""
        return os.pread(self.fd, size_bytes, offset)

    def all(self) -> Iterator[bytes]:
        """The bytes from the beginning, wherever it was read last."""
        offset = 0
        while chunk := self.at(offset, CHUNK_BYTES):
            yield chunk
            offset += len(chunk)

    def extents(self, before: int, start: int = 0) -> list[tuple[int, int]]:
        """Where its bytes lie from `start` on, as begin and end; everything else is holes: zeros.

        One range where the file system does not tell.
        """
        found: list[tuple[int, int]] = []
        here, end, begin = os.lseek(self.fd, 0, os.SEEK_CUR), start, start
        try:
            while end < before:
                start = os.lseek(self.fd, end, os.SEEK_DATA)
                end = os.lseek(self.fd, start, os.SEEK_HOLE)
                found.append((start, min(end, before)))
        except OSError as error:
            if error.errno != errno.ENXIO:  # that one says: nothing but a hole from here on
                return [(begin, before)]
        finally:
            os.lseek(self.fd, here, os.SEEK_SET)
        return [(start, end) for start, end in found if start < end]

    def xattrs(self) -> tuple[bytes, ...]:
        """The names of its extended attributes."""
        try:
            return tuple(sorted(os.fsencode(name) for name in os.listxattr(self.fd)))
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.ENOSYS):
                return ()
            raise

    def attributes(self) -> dict[bytes, bytes]:
        """The extended attributes with their values."""
        return {name: self.attribute(name) for name in self.xattrs()}

    def attribute(self, name: bytes) -> bytes:
        """The value of one extended attribute. Raises: OSError when it is not there."""
        return os.getxattr(self.fd, name)

    def forget(self) -> None:
        """The next read comes from the disk, as far as the kernel lets go of clean pages."""
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
