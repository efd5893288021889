"""Killed, or out of disk, at any change to the world: one way for every test.

The taps that count and kill are those of the kill sweep. The killed one is a forked child.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from drills.sweep_tap import CountingTap, DyingTap, Point, shots
from rollback.host import Tap
from rollback.model.errors import RollbackError

__all__ = ["KILLED", "CountingTap", "DyingAt", "DyingTap", "Failing", "Point", "in_child", "shots"]
T = TypeVar("T")
KILLED = -signal.SIGKILL


class DyingAt(Tap):
    """The process is gone right after the first change of one kind."""

    def __init__(self, call: str) -> None:
        self.call = call

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        number, mode = (1, "after") if call == self.call else (0, "before")
        return DyingTap(number, mode).change(call, where, do, torn)


class Failing(CountingTap):
    """The nth change, and with `forever` every later one, fails as if the disk were full."""

    def __init__(self, at: int, forever: bool, code: int = errno.ENOSPC) -> None:
        super().__init__()
        self.at, self.forever, self.code = at, forever, code

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        super().change(call, where, lambda: None, torn)
        count = len(self.points)
        if count == self.at or (self.forever and count > self.at):
            if torn is not None:
                torn()
            raise OSError(self.code, os.strerror(self.code))
        return do()


def in_child(do: Callable[[], object]) -> int:
    """The exit status of a forked child that does it: 0, KILLED, 7 for an error of ours, else 1."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        do()
        status = 0
    except RollbackError:
        status = 7
    except BaseException:  # noqa: BLE001 - a child must not return
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)
