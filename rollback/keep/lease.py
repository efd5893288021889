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
from types import TracebackType
from typing import Self

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.model.errors import RunLocked

_FILE = b"lease"


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
        fd = self._tree.open_fd(_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raw = os.pread(fd, 4096, 0)
            os.close(fd)
            raise _locked(raw, self._tree) from None
        self._fd = fd
        self.epoch = _epoch(os.pread(fd, 4096, 0)) + 1
        said = {
            "epoch": self.epoch, "pid": os.getpid(), "purpose": self._purpose,
            "since": iso(self._host.clock.now()),
        }  # fmt: skip
        line = json.dumps(said).encode().ljust(512) + b"\n"
        self._host.tap.change("write", _FILE, lambda: os.pwrite(fd, line, 0))
        self._host.tap.change("fdatasync", _FILE, lambda: os.fdatasync(fd))
        return self

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
        if not same or _epoch(os.pread(self._fd, 4096, 0)) != self.epoch:
            raise RunLocked(
                "the lease was lost: somebody replaced the state directory",
                where=self._tree.place(_FILE),
            )


def _epoch(raw: bytes) -> int:
    try:
        return int(json.loads(raw or b"{}").get("epoch", 0))
    except (ValueError, AttributeError, TypeError):
        # a torn first write: the holder before died inside it, and did nothing after
        return 0


def _locked(raw: bytes, tree: Tree) -> RunLocked:
    try:
        said = json.loads(raw)
        who = f"process {said['pid']} ({said['purpose']}, since {said['since']})"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return RunLocked(
        f"{who} is at work on this system", where=tree.place(b"."),
        hint="wait for it, or follow it with: rollback watch",
    )  # fmt: skip
