"""An SQLite database that nobody else has open, locked as SQLite itself locks it.

Who is connected to a write-ahead log, or is in a transaction, holds a lock on the file. Who is only
connected holds none, and is found among the open files of the processes that we may look into. The
lock is one of the open file: the kernel frees it when it is closed, or this process ends.

Hides: which bytes SQLite locks, and where the kernel lists open files.
Never: ends a process; waits without a limit.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat as stat_
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rollback.host.clock import Clock
from rollback.host.files import Tree
from rollback.model.errors import Confined, HostError

_AT, _BYTES = 0x40000000, 512  # its pending, reserved and shared locks, whatever the page size
_FLOCK = struct.Struct("@hhqqi0q")
_EVERY_S = 0.05


@dataclass(frozen=True)
class Claim:
    """The lock, while it is held."""

    fd: int
    names: frozenset[bytes]
    inodes: frozenset[tuple[int, int]]

    def others(self) -> list[str]:
        """Who else has the database, or what lies beside it, open: the program and its number."""
        return [f"{_program(pid)} ({pid})" for pid in self.openers()]

    def openers(self) -> Iterator[int]:
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                fds = os.listdir(f"/proc/{pid}/fd")
            except OSError:
                continue  # it ended while we looked, or is not ours to look into
            own = pid == os.getpid()
            if any(self._is(pid, fd) for fd in fds if not (own and int(fd) == self.fd)):
                yield pid

    def _is(self, pid: int, fd: str) -> bool:
        """By name first: looking at a file itself may wait for a machine that is not there."""
        path = f"/proc/{pid}/fd/{fd}".encode()
        try:
            name = os.readlink(path).removesuffix(b" (deleted)").rpartition(b"/")[2]
            if name not in self.names:
                return False
            found = os.stat(path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) in self.inodes

    def take(self) -> bool:
        """The lock is ours, and nobody has it open; else it is as it was."""
        try:
            self._set(fcntl.F_WRLCK)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        if any(True for _ in self.openers()):
            self._set(fcntl.F_UNLCK)
            return False
        return True

    def holder(self) -> list[str]:
        """Who has a lock on it, where the kernel knows."""
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _AT, _BYTES, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(self.fd, fcntl.F_OFD_GETLK, wanted))
        return [f"{_program(pid)} ({pid})"] if kind != fcntl.F_UNLCK and pid > 0 else []

    def _set(self, kind: int) -> None:
        fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, _AT, _BYTES, 0))


@contextmanager
def claimed(
    tree: Tree, path: bytes, beside: Sequence[bytes], *, clock: Clock, within_s: float, hint: str
) -> Iterator[Claim]:
    """Nobody has the database open; nobody reads or writes it, while this lasts.

    `beside` are its journals. Raises: HostError that says who has it, after `within_s`.
    """
    fd = tree.open_fd(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(fd)
        if not stat_.S_ISREG(found.st_mode):
            raise Confined("not a regular file", where=tree.place(path))
        claim = _claim(fd, tree, found, path, beside)
        if not clock.poll(claim.take, within_s=within_s, every_s=_EVERY_S):
            who = ", ".join(claim.others() or claim.holder() or ["somebody"])
            raise HostError(f"the database is in use by {who}; nothing was changed",
                            where=tree.place(path), hint=hint)  # fmt: skip
        yield claim
    finally:
        os.close(fd)


def users(tree: Tree, path: bytes, beside: Sequence[bytes]) -> tuple[tuple[int, str], ...]:
    """Who has the database, or one of its journals, open now: the number and the program of each.

    None of a process that we may not look into.
    """
    found = tree.stat(path)
    if found is None or not stat_.S_ISREG(found.st_mode):
        return ()
    return tuple((pid, _program(pid)) for pid in _claim(-1, tree, found, path, beside).openers())


def _claim(
    fd: int, tree: Tree, found: os.stat_result, path: bytes, beside: Sequence[bytes]
) -> Claim:  # fmt: skip
    seen = [one for one in map(tree.stat, beside) if one is not None]
    inodes = frozenset((one.st_dev, one.st_ino) for one in (found, *seen))
    return Claim(fd, frozenset(os.path.basename(one) for one in (path, *beside)), inodes)


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip() or "a process"
    except OSError:
        return "a process"
