"""The lease: at most one process moves runs of a system on, and each holder has a higher epoch.

An flock on a file of the state directory, so that a dead holder's lease is free at once; nothing
depends on a clock or on a pid being alive.

Hides: the lock file.
Never: is stolen by age.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rollback.host import Host, Tree
from rollback.host.below import remedy, why
from rollback.host.clock import iso
from rollback.model.errors import HostError, JournalError, RunLocked

_FILE = b"lease"
_SLOT_BYTES = 512  # one sector: the two slots take turns, so a torn write spoils only the new one
_SIZE_BYTES = 2 * _SLOT_BYTES
_ASKING_S = 0.02  # who only asks whether it is held has it for an instant
_TRIES = 8


class Lease:
    """Held from `with` to its end; `epoch` counts the holders so far."""

    def __init__(self, tree: Tree, host: Host, *, purpose: str) -> None:
        self._tree = tree
        self._host = host
        self._purpose = purpose
        self._fd = -1
        self.epoch = 0

    def __enter__(self) -> Self:
        """Raises: RunLocked with what the holder is doing."""
        try:
            fd = self._tree.open_fd(_FILE, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
        except (OSError, HostError) as error:
            raise JournalError(
                f"the lease cannot be taken: {why(error, self._tree.place(_FILE))}",
                where=self._tree.place(_FILE),
                hint="nothing was done; make the state directory writable, then try again",
            ) from error  # fmt: skip
        try:
            self._take(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def _take(self, fd: int) -> None:
        tries = 1  # who only asks whether it is held lets go at once
        while not _taken(fd):
            if tries == _TRIES:
                raise _locked(_newest(os.pread(fd, _SIZE_BYTES, 0)), self._tree)
            self._host.clock.sleep(_ASKING_S)
            tries += 1
        epoch = _epoch(_newest(os.pread(fd, _SIZE_BYTES, 0))) + 1
        said = {
            "epoch": epoch, "pid": os.getpid(), "purpose": self._purpose[:200],
            "since": iso(self._host.clock.now()),
        }  # fmt: skip
        line = json.dumps(said).encode()[: _SLOT_BYTES - 1].ljust(_SLOT_BYTES - 1) + b"\n"
        offset = epoch % 2 * _SLOT_BYTES
        try:
            self._host.tap.change(
                "write", _FILE, lambda: os.pwrite(fd, line, offset),
                torn=lambda: os.pwrite(fd, line[: len(line) // 8], offset),
            )  # fmt: skip
            self._host.tap.change("fdatasync", _FILE, lambda: os.fdatasync(fd))
        except OSError as error:
            raise JournalError(
                f"the lease cannot be written: {why(error, self._tree.place(_FILE))}",
                where=self._tree.place(_FILE),
                hint=f"nothing was done; {remedy(error, self._tree.place(_FILE))}; then try again",
            ) from error  # fmt: skip
        self.epoch = epoch

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)
        self._fd = -1

    def check(self) -> None:
        """We are still the holder. Raises: RunLocked when the file was replaced or outnumbered."""
        found = self._tree.stat(_FILE)
        mine = os.fstat(self._fd)
        same = found is not None and (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)
        if not same or _epoch(_newest(os.pread(self._fd, _SIZE_BYTES, 0))) != self.epoch:
            raise RunLocked(
                "the lease was lost: somebody replaced the state directory",
                where=self._tree.place(_FILE), hint="rollback status shows who is at work now",
            )  # fmt: skip


def held(tree: Tree) -> bool:
    """True while some process moves runs of this system on; False where none ever did."""
    if tree.stat(_FILE) is None:
        return False
    fd = tree.open_fd(_FILE, os.O_RDONLY | os.O_NONBLOCK)
    try:
        # shared, so that two who ask at once do not take each other for a driver
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _newest(raw: bytes) -> dict[str, Any]:
    """What the last holder wrote; a slot torn by a crash says nothing, its holder did nothing."""
    found: dict[str, Any] = {}
    for start in (0, _SLOT_BYTES):
        with suppress(ValueError):
            said = json.loads(raw[start : start + _SLOT_BYTES])
            if isinstance(said, dict) and _epoch(said) > _epoch(found):
                found = said
    return found


def _epoch(said: dict[str, Any]) -> int:
    epoch = said.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


def _locked(said: dict[str, Any], tree: Tree) -> RunLocked:
    who = "another process"
    if {"pid", "purpose", "since"} <= set(said):
        who = f"process {said['pid']} ({said['purpose']}, since {said['since']})"
    return RunLocked(
        f"{who} is at work on this system", where=tree.place(b"."),
        hint="wait for it, or follow it with: rollback watch",
    )  # fmt: skip
