"""Folders opened once and never left: every path is a root descriptor and relative bytes.

A path is resolved by openat2 below its root, without links, magic links or other mounts. Files
come into being complete: temporary name, write, fsync, rename, fsync of the folder.

Hides: openat2, temporary names, the order of syncs.
Never: follows a link, leaves the root, writes in place (but for `append`).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat as stat_
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar

from rollback.host import renaming
from rollback.host.below import checked, remedy, show
from rollback.host.clock import Clock
from rollback.host.draft import Attributes, Draft, allocated, dress, write_all
from rollback.host.looking import Looking
from rollback.host.tap import Tap
from rollback.model.errors import Confined, HostError, RunLocked

T = TypeVar("T")
TEMPORARY = b".rollback-tmp-"
_libc = ctypes.CDLL(None, use_errno=True)


class Tree(Looking):
    """An open folder. All paths are relative to it; close it, or use it in `with`."""

    def __init__(self, fd: int, path: bytes, tap: Tap) -> None:
        super().__init__(fd, path)
        self._tap = self.tap = tap

    @classmethod
    def open(cls, path: str | bytes, *, tap: Tap | None = None) -> Tree:
        """The folder at an absolute path. Raises: Confined if it is a link or no folder."""
        raw = os.fsencode(path)
        try:
            fd = os.open(raw, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise Confined("not a folder, or a link to one", where=show(raw)) from None
            raise HostError(error.strerror or "cannot be opened", where=show(raw),
                            hint=remedy(error, show(raw))) from error  # fmt: skip
        return cls(fd, raw, tap or Tap())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def sub(self, path: bytes | str) -> Tree:
        """A folder below this one, opened."""
        try:
            fd = self.open_fd(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise HostError(error.strerror or "cannot be opened", where=self.place(path),
                            hint=remedy(error, self.place(path))) from error  # fmt: skip
        return Tree(fd, os.path.join(self.path, checked(path)), self._tap)

    @contextmanager
    def lock(
        self, path: bytes | str, *, clock: Clock, within_s: float = 10.0, shared: bool = False
    ) -> Iterator[None]:
        """The lock file at `path` is held; the kernel frees it when this process ends.

        Raises: RunLocked when another holds it for longer than `within_s`.
        """
        fd = self._lock_file(path, shared=shared)
        wanted = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB

        def take() -> bool:
            with suppress(BlockingIOError):
                fcntl.flock(fd, wanted)
                return True
            return False

        try:
            if not clock.poll(take, within_s=within_s):
                raise RunLocked(
                    "another process works on it", where=self.place(path),
                    hint="wait for it to end, then try again",
                )  # fmt: skip
            yield
        finally:
            os.close(fd)

    def _lock_file(self, path: bytes | str, *, shared: bool) -> int:
        """A descriptor to lock. To read along with others, a file that may be read is enough."""
        try:
            return self.open_fd(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            if not shared or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            return self.open_fd(path, os.O_RDONLY)

    # -- changing --------------------------------------------------------------------------

    def write(
        self, path: bytes | str, data: bytes | Iterable[bytes], *, mode: int = 0o600,
        owner: tuple[int, int] | None = None, mtime_ns: int | None = None, sync: bool = True,
    ) -> None:  # fmt: skip
        """The file at `path` is exactly `data`; readers see the old one or this one.

        Crash: a temporary file may stay; `sweep` removes it.
        """
        temporary = self.stage(path, data, mode=mode, owner=owner, mtime_ns=mtime_ns, sync=sync)
        self.rename(temporary, path)
        if sync:
            self.sync_folder(os.path.dirname(checked(path)) or b".")

    def stage(
        self, path: bytes | str, data: bytes | Iterable[bytes], *, mode: int = 0o600,
        owner: tuple[int, int] | None = None, mtime_ns: int | None = None, sync: bool = True,
    ) -> bytes:  # fmt: skip
        """A finished temporary file beside `path`; its name. Rename it to make it real."""
        raw = checked(path)
        name = TEMPORARY + secrets.token_hex(8).encode()
        temporary = os.path.join(os.path.dirname(raw), name)
        self.create(temporary, data, mode=mode, owner=owner, mtime_ns=mtime_ns, sync=sync)
        return temporary

    def create(
        self, path: bytes | str, data: bytes | Iterable[bytes], *, mode: int = 0o600,
        owner: tuple[int, int] | None = None, mtime_ns: int | None = None, sync: bool = True,
        near: tuple[Tree, bytes] | None = None,
    ) -> None:  # fmt: skip
        """A new file at `path` is exactly `data`. `near` and errors are as with `draft`."""
        with self.draft(path, sync=sync, near=near) as draft:
            draft.fill((data,) if isinstance(data, bytes) else data)
            draft.dress(mode=mode, owner=owner, mtime_ns=mtime_ns)

    @contextmanager
    def draft(
        self, path: bytes | str, *, sync: bool = True, near: tuple[Tree, bytes] | None = None
    ) -> Iterator[Draft]:
        """A new file, to be filled; it stands at `path` when all went well, else there is none.

        `near` is a folder of a tree to which the file shall be moved: the file system puts it there,
        and it has no name before it is whole; where that cannot be had, it is made as any other.
        Raises: FileExistsError.
        """
        raw = checked(path)
        fd = -1 if near is None else self._unnamed(*near)
        named = fd < 0
        if named:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            fd = self._tap.change("open", raw, lambda: self.open_fd(raw, flags, 0o600))
        try:
            draft = Draft(fd, raw, self._tap, self.place)
            yield draft
            if sync:
                draft.sync()
            if not named and not self._give_name(fd, raw):
                self._copy_of(draft, raw, sync=sync)
        except BaseException:
            if named:
                with suppress(OSError):
                    self.unlink(raw)
            raise
        finally:
            os.close(fd)

    def _copy_of(self, draft: Draft, raw: bytes, *, sync: bool) -> None:
        """The same file stands at `raw`, made with its name from the beginning."""
        seen = draft.reading.stat()
        with self.draft(raw, sync=sync) as other:
            for _ in other.take(draft.reading, seen.st_size):
                pass
            other.fit(seen.st_size)
            other.dress(
                mode=stat_.S_IMODE(seen.st_mode), owner=(seen.st_uid, seen.st_gid),
                mtime_ns=seen.st_mtime_ns, attributes=draft.reading.attributes().items(),
            )  # fmt: skip

    @staticmethod
    def _unnamed(tree: Tree, folder: bytes) -> int:
        """A file without a name that lies with the folder; -1 where there can be none.

        What has no name changes nothing yet, so there is no tap. A folder that hands its access
        list on to new files would do so to this one.
        """
        try:
            fd = tree.open_fd(folder, os.O_RDWR | os.O_TMPFILE, 0o600)
        except (OSError, Confined):
            return -1
        try:
            plain = not os.listxattr(fd)
        except OSError:
            plain = True
        if not plain:
            os.close(fd)
        return fd if plain else -1

    def _give_name(self, fd: int, raw: bytes) -> bool:
        """The file without a name stands at `raw`; False where the kernel does not allow that."""
        source = f"/proc/self/fd/{fd}"  # ours by number; naming it otherwise takes privileges
        try:
            self._at("link", raw, lambda at, name: os.link(
                source, name, dst_dir_fd=at, follow_symlinks=True))  # fmt: skip
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOENT, errno.EOPNOTSUPP):
                raise
            return False
        return True

    def append(
        self, path: bytes | str, data: bytes, *, mode: int = 0o600, sync: bool = True
    ) -> None:
        """`data` stands at the end of the file, which comes into being if it was not there."""
        raw = checked(path)
        new = self.stat(raw) is None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        opening: Callable[[], int] = lambda: self.open_fd(raw, flags, mode)  # noqa: E731 - used twice
        fd = self._tap.change("open", raw, opening) if new else opening()
        try:
            write_all(fd, raw, data, self._tap)
            if sync:
                self._tap.change("fdatasync", raw, lambda: os.fdatasync(fd))
        finally:
            os.close(fd)
        if new and sync:
            self.sync_folder(os.path.dirname(raw) or b".")

    def make_folder(self, path: bytes | str, *, mode: int = 0o700, parents: bool = False) -> None:
        """A folder stands at `path`; one that stood there already is left as it is."""
        raw = checked(path)
        if parents and (above := os.path.dirname(raw)):
            self.make_folder(above, mode=mode, parents=True)
        found = self.stat(raw)
        if found is not None:
            if not stat_.S_ISDIR(found.st_mode):
                raise Confined("something that is no folder is in the way", where=self.place(raw))
            return
        try:
            self._at("mkdir", raw, lambda fd, name: os.mkdir(name, mode, dir_fd=fd))
        except FileExistsError:
            found = self.stat(raw)  # somebody made it at the same moment
            if found is None or not stat_.S_ISDIR(found.st_mode):
                raise

    def rename(self, source: bytes | str, target: bytes | str) -> None:
        """What stood at `source` stands at `target`, replacing it."""
        old, new = checked(source), checked(target)
        with self.parent(old) as (from_fd, from_name), self.parent(new) as (to_fd, to_name):
            self._tap.change("rename", new, lambda: os.rename(
                from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd))  # fmt: skip

    def move(
        self, source: bytes | str, to: Tree, target: bytes | str, *, alone: bool = False
    ) -> None:
        """What stood at `source` stands at `target` of `to`, where nothing stood.

        `alone`: nobody else writes in that folder, so that looking first is enough where nothing
        better can be had. Crash: without renameat2 a file may have both names; the same call then
        takes the old one away. Raises: FileExistsError when something stands there; HostError.
        """
        old, new = checked(source), checked(target)
        with self.parent(old) as one, to.parent(new) as other:
            renaming.move(one, other, self._renaming(to, new), alone=alone)

    def put(self, source: bytes | str, to: Tree, target: bytes | str) -> None:
        """What stood at `source` stands at `target` of `to`, replacing a file or link there."""
        old, new = checked(source), checked(target)
        with self.parent(old) as (from_fd, from_name), to.parent(new) as (to_fd, to_name):
            self._tap.change("rename", to.place(new), lambda: os.rename(
                from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd))  # fmt: skip

    def exchange(self, one: bytes | str, other: bytes | str, *, inside: Tree | None = None) -> None:
        """The two have changed places, in one instant; `other` stands in `inside`.

        Raises: OSError with a number of `renaming.LACKING` where that cannot be had.
        """
        to = inside or self
        old, new = checked(one), checked(other)
        with self.parent(old) as this, to.parent(new) as that:
            renaming.exchange(this, that, self._renaming(to, new))

    def unlink(self, path: bytes | str) -> None:
        """Nothing stands at `path` (a file or link stood there)."""
        self._at("unlink", path, lambda fd, name: os.unlink(name, dir_fd=fd))

    def remove_folder(self, path: bytes | str) -> None:
        """The empty folder is gone."""
        self._at("rmdir", path, lambda fd, name: os.rmdir(name, dir_fd=fd))

    def remove(self, path: bytes | str) -> None:
        """Nothing stands at `path`, nor below it if a folder stood there; links are not followed.

        Raises: Confined when another file system is mounted below, before anything went. Again:
        what stayed after an error goes.
        """
        raw = checked(path)
        if raw == b".":
            raise Confined("the folder itself cannot be removed from inside", where=self.place(raw))
        found = self.stat(raw)
        if found is None:
            return
        below = list(self.walk(raw)) if stat_.S_ISDIR(found.st_mode) else []
        for name, status in reversed([(raw, found), *below]):
            if stat_.S_ISDIR(status.st_mode):
                self.remove_folder(name)
            else:
                self.unlink(name)

    def symlink(self, target: bytes, path: bytes | str) -> None:
        """A symbolic link to `target` stands at `path`; the target is not looked at."""
        self._at("symlink", path, lambda fd, name: os.symlink(target, name, dir_fd=fd))

    def link(self, source: bytes | str, path: bytes | str, *, to: Tree | None = None) -> None:
        """`path` (of `to`) is another name of the file `source`."""
        with self.parent(checked(source)) as (from_fd, from_name):
            below = to or self
            below._at("link", path, lambda fd, name: os.link(  # noqa: SLF001 - a tree too
                from_name, name, src_dir_fd=from_fd, dst_dir_fd=fd, follow_symlinks=False))  # fmt: skip

    def dress(
        self, path: bytes | str, *, mode: int | None = None, owner: tuple[int, int] | None = None,
        mtime_ns: int | None = None, attributes: Attributes = (),
        only: tuple[int, int] | None = None, links: int | None = None,
    ) -> None:  # fmt: skip
        """The file or folder has this owner, mode, time and these extended attributes.

        Owner first: it may clear mode bits. An attribute whose value is None is taken away.
        `only` is device and inode, `links` how many names it has. Raises: HostError when another
        file stands there by now, or it has got another name.
        """
        fd = self.open_fd(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            found = os.fstat(fd)
            if only is not None and only != (found.st_dev, found.st_ino):
                raise HostError("another file stands there by now", where=self.place(path))
            if links is not None and links != found.st_nlink:
                raise HostError("it has another name by now", where=self.place(path))
            dress(fd, checked(path), self._tap, mode=mode, owner=owner, mtime_ns=mtime_ns,
                  attributes=attributes)  # fmt: skip
        finally:
            os.close(fd)

    def dress_link(
        self, path: bytes | str, *, owner: tuple[int, int] | None, mtime_ns: int | None
    ) -> None:
        """The link itself has this owner and time."""
        if owner is not None:
            self._at("lchown", path, lambda fd, name: os.chown(
                name, *owner, dir_fd=fd, follow_symlinks=False))  # fmt: skip
        if mtime_ns is not None:
            self._at("utime", path, lambda fd, name: os.utime(
                name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False))  # fmt: skip

    def sync_folder(self, path: bytes | str = b".") -> None:
        """The names in the folder are on disk."""
        fd = self.open_fd(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._tap.change("fsync", path, lambda: os.fsync(fd))
        finally:
            os.close(fd)

    def sync_all(self) -> None:
        """Everything written to this file system is on disk."""

        def flush() -> None:
            if _libc.syncfs(self.fd) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), self.place(b"."))

        self._tap.change("syncfs", self.path, flush)

    def reserve(self, path: bytes | str, size_bytes: int) -> None:
        """`size_bytes` more of the disk belong to the file, without changing its length."""
        fd = self.open_fd(path, os.O_WRONLY)
        keep_size = 1
        try:
            start = os.fstat(fd).st_size
            allocated(fd, checked(path), self._tap, self.place, keep_size, start, size_bytes)
        finally:
            os.close(fd)

    def sweep(self, path: bytes | str = b".") -> int:
        """No temporary file of a dead writer stands in this folder; how many went."""
        stale = [name for name in self.names(path) if name.startswith(TEMPORARY)]
        for name in stale:
            self.unlink(os.path.join(b"" if checked(path) == b"." else checked(path), name))
        return len(stale)

    # -- inside ----------------------------------------------------------------------------

    def _renaming(self, to: Tree, target: bytes) -> renaming.Change:
        place = to.place(target)

        def change(call: str, do: Callable[[], None]) -> None:
            try:
                self._tap.change(call, place, do)
            except OSError as error:
                error.filename = place  # the kernel was told the last name only
                raise

        return change

    def _at(self, call: str, path: bytes | str, do: Callable[[int, bytes], T]) -> T:
        raw = checked(path)
        with self.parent(raw) as (fd, name):
            try:
                return self._tap.change(call, raw, lambda: do(fd, name))
            except OSError as error:
                error.filename = self.place(raw)  # the kernel was told the last name only
                raise
