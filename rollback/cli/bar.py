"""How far long work is: on a terminal a bar with rate and remaining time, elsewhere plain lines.

Nothing is shown of what takes less than a second, and nothing at all with `--json`. It is drawn
here and not by a library of terminals: those take longer to import than a flag takes to flip.

Hides: how often it is drawn, and escape codes.
Never: writes to standard output; stops the work because nobody can see it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from rollback.cli.show import safe, size
from rollback.host.clock import Clock
from rollback.model.quantity import spoken

QUICK_S = 1.0
EVERY_S = 0.1  # on a terminal
LINE_EVERY_S = 10.0  # elsewhere
_CELLS = 20
_WIDTH_MIN = 40


class Bar:
    """Hears of long work. `seconds` is a clock that only goes forward."""

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:  # fmt: skip
        self._stream = stream if stream is not None else sys.stderr
        self._silent = quiet or self._stream is None
        self._seconds = seconds or Clock().boot_s
        self._terminal = not self._silent and _terminal(self._stream)
        self._what = ""
        self._since_s: float | None = None  # of all that came without a word between
        self._began_s = 0.0
        self._shown_s: float | None = None
        self._drawn = False

    def __call__(self, what: str, done: int, total: int | None, unit: str) -> None:
        """This much is done; shown when it is time to."""
        if self._silent:
            return
        now_s = self._seconds()
        if self._since_s is None:
            self._since_s = now_s
        new = what != self._what
        if new:
            self._what, self._began_s = what, now_s
        every_s = EVERY_S if self._terminal else LINE_EVERY_S
        waited = self._shown_s is None or now_s - self._shown_s >= every_s
        waited = waited or (new and self._terminal)
        if now_s - self._since_s < QUICK_S or not waited:
            return
        self._shown_s = now_s
        with suppress(OSError, ValueError):  # a closed terminal must not stop a run
            self._show(told(what, done, total, unit, now_s - self._began_s, bar=self._terminal))

    def clear(self) -> None:
        """No bar stands on the terminal; what comes next is new work."""
        self._what, self._since_s, self._shown_s = "", None, None
        if self._drawn:
            self._drawn = False
            with suppress(OSError, ValueError):
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def _show(self, line: str) -> None:
        if self._terminal:
            width = max(_WIDTH_MIN, _columns(self._stream)) - 1
            self._stream.write("\r\x1b[K" + line[:width])
            self._drawn = True
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def told(
    what: str, done: int, total: int | None, unit: str, took_s: float, *, bar: bool = False
) -> str:
    """How far it is, at which rate, and how long it will still take at that rate.

    >>> told("verifying app", 50 * 2**20, 100 * 2**20, "bytes", 5.0)
    'verifying app  50 %  50.0 MiB of 100.0 MiB  10.0 MiB/s  5 s left'
    >>> told("freeing", 3, 4, "packs", 2.0, bar=True)
    'freeing  ███████████████░░░░░  75 %  3 of 4 packs  1.5 packs/s  0.67 s left'
    >>> told("capturing app", 900, None, "folders", 3.0)
    'capturing app  900 folders  300 folders/s'
    >>> told("waiting for orders", 3, 10, "s", 3.2)
    'waiting for orders  3 of 10 s  7 s left'
    """
    waits = unit == "s"  # time itself has no rate worth a word
    rate = 1.0 if waits else done / took_s if took_s > 0 else 0.0
    parts = [safe(what)]
    if total:
        share = min(1.0, done / total)
        if bar:
            full = int(share * _CELLS)
            parts.append("█" * full + "░" * (_CELLS - full))
        parts += [] if waits else [f"{share:.0%}".replace("%", " %")]
        if unit == "bytes":
            parts.append(f"{size(done)} of {size(total)}")
        else:
            parts.append(f"{done} of {total} {unit}")
    else:
        parts.append(size(done) if unit == "bytes" else f"{done} {unit}")
    if rate and not waits:
        parts.append(f"{size(int(rate))}/s" if unit == "bytes" else f"{rate:.3g} {unit}/s")
    if total and rate and done < total:
        parts.append(f"{spoken((total - done) / rate)} left")
    return "  ".join(parts)


def _terminal(stream: TextIO) -> bool:
    return not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
