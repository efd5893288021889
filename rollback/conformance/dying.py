"""Taps that count every change to the world, and one that dies at a chosen one; and a child to die in.

Hides: how a process kills itself so that nothing of it runs afterwards.
Never: changes a result.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from rollback.host.tap import Tap
from rollback.model.errors import RollbackError

T = TypeVar("T")
KILLED = -signal.SIGKILL
MODES = ("before", "after", "torn")
Shot = tuple[int, str]  # the number of a change, and the mode


@dataclass(frozen=True)
class Point:
    """The `number`th change of a drive (from 1): what it calls, on what, whether it can be torn."""

    number: int
    call: str
    where: str
    tearable: bool


def shots(points: Iterable[Point]) -> list[Shot]:
    """Every point in every mode that it has."""
    return [
        (point.number, mode)
        for point in points for mode in MODES if mode != "torn" or point.tearable
    ]  # fmt: skip


class CountingTap(Tap):
    """Writes down every change."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._lock = threading.Lock()

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        """The result of `do()`, counted."""
        with self._lock:
            number = len(self.points) + 1
            self.points.append(Point(number, call, os.fsdecode(where), torn is not None))
        return do()


class DyingTap(Tap):
    """The process ends by SIGKILL before, after or in the middle of the `number`th change.

    Where that one has no middle, as threads may take turns otherwise than when they were counted, it is
    the first one after it that has.
    """

    def __init__(self, number: int, mode: str) -> None:
        assert mode in MODES, mode
        self._left = number
        self._mode = mode
        self._lock = threading.Lock()

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        """The result of `do()`, unless it is the one."""
        with self._lock:
            if self._left > 1 or self._mode != "torn" or torn is not None:
                self._left -= 1
            here = self._left == 0
        if not here:
            return do()
        if self._mode == "torn" and torn is not None:
            torn()
        elif self._mode == "after":
            do()
        os.kill(os.getpid(), signal.SIGKILL)
        while True:  # a signal to oneself is delivered before this ends; do not go on in between
            time.sleep(1)


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
