"""Doing something with an end: in a thread that is left behind when its time is over.

A thread cannot be killed. One that overruns is a daemon, holds no lock of ours, and its result
is thrown away: whoever waited goes on.

Hides: threads.
Never: raises what the work raised; it is handed back as a value.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rollback.host import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of one piece of work. Shape: neither a result nor an error: it overran."""

    result: T | None = None
    error: Exception | None = None
    finished: bool = False


class Begun(Generic[T]):
    """Pieces of work that all began at once, for whoever has something else to do meanwhile."""

    def __init__(self, works: Sequence[Callable[[], T]]) -> None:
        self._outcomes: list[Outcome[T]] = [Outcome()] * len(works)
        self._threads = []
        for index, work in enumerate(works):
            context = contextvars.copy_context()
            self._threads.append(threading.Thread(
                target=context.run, args=(self._do, index, work), daemon=True,
                name=f"observe-{index}"))  # fmt: skip
        for thread in self._threads:
            thread.start()

    def outcomes(self, *, within_s: float, clock: Clock) -> tuple[Outcome[T], ...]:
        """What each piece of work came to, in their order, waited for so long together.

        Raises: nothing but what interrupts the waiting thread itself.
        """
        deadline = clock.boot_s() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - clock.boot_s()))
        return tuple(self._outcomes)

    def _do(self, index: int, work: Callable[[], T]) -> None:
        try:
            self._outcomes[index] = Outcome(result=work(), finished=True)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits, who decides
            self._outcomes[index] = Outcome(error=error, finished=True)


def together(
    works: Sequence[Callable[[], T]], *, within_s: float, clock: Clock
) -> tuple[Outcome[T], ...]:
    """What each piece of work came to, in their order; all began at once."""
    return Begun(works).outcomes(within_s=within_s, clock=clock)


def alone(work: Callable[[], T], *, within_s: float, clock: Clock) -> Outcome[T]:
    """What the work came to, or an unfinished outcome when its time is over."""
    return together((work,), within_s=within_s, clock=clock)[0]
