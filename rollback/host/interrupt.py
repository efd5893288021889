"""What an interrupt (Ctrl-C) does to us: before our work, during it, and while a child does it.

Python answers one with a traceback of whatever is being imported. Until there is work that has to
be put in order, the system's own answer is the right one: the program ends, with status 130.

Hides: signal handlers.
Never: makes anything interruptible that was started to ignore interrupts.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

# The first words of a child, before anything is imported.
QUIET = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
_STOPS = (signal.SIGTERM, signal.SIGINT)


def interrupts_are_raised() -> None:
    """An interrupt is KeyboardInterrupt from now on, so that work can be put in order."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt_is_answered() -> None:
    """Python ends with the status that it is told, not by the signal that was raised before.

    It remembers that a KeyboardInterrupt left a text that was executed (as the class of every dataclass
    is), and kills itself by SIGINT at its end even where that was caught. Another text resets it.
    Source: run_eval_code_obj in CPython's Python/pythonrun.c.
    """
    exec("")  # noqa: S102


def attend(arguments: Sequence[str]) -> int:
    """This interpreter has run with these arguments, on our terminal; its exit status.

    An interrupt goes to both of us, as it does to any foreground job; the child answers it.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda _number, _frame: None)  # the child does not inherit it
    try:
        status = subprocess.Popen([sys.executable, *arguments]).wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - status if status < 0 else status


class Stop:
    """Within `with`, SIGTERM and SIGINT ask to stop; a second one interrupts, as it always does.

    `because` names the signal.
    """

    def __init__(self) -> None:
        # A handler runs inside of whatever the main thread does: an Event that is being waited for holds
        # a lock then, and setting it would wait for ever. This queue may be put into from there.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._before: dict[int, Any] = {}
        self.because = ""

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in _STOPS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def asked(self) -> bool:
        """True once somebody has asked."""
        return bool(self.because)

    def wait(self, seconds: float) -> None:
        """So much time has passed, or somebody has asked to stop, or `wake` was called."""
        with suppress(queue.Empty):
            self._wakes.get(timeout=max(0.0, seconds))
            while True:
                self._wakes.get_nowait()

    def wake(self) -> None:
        """Whoever waits goes on now; from any thread."""
        self._wakes.put(None)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.because = signal.Signals(number).name
        self._wakes.put(None)
