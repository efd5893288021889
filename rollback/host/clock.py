"""Time: the wall for people, CLOCK_BOOTTIME for durations, the boot id to know when they mix.

Hides: which clock answers.
Never: is set by an environment variable; a test passes another Clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Clock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)

    def boot_s(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot(self) -> str:
        """The id of this boot; `boot_s` of two boots do not compare."""
        return _boot_id()

    def sleep(self, seconds: float) -> None:
        """Time has passed."""
        time.sleep(max(0.0, seconds))

    def poll(self, ask: Callable[[], T], *, within_s: float, every_s: float = 0.05) -> T:
        """The first true answer of `ask`, or the last one when `within_s` has passed."""
        deadline = self.boot_s() + within_s
        while True:
            answer = ask()
            if answer or self.boot_s() >= deadline:
                return answer
            self.sleep(every_s)


def moment_of(clock: Clock, at: str, boot: str, boot_s: float) -> datetime:
    """When something was noted, by the wall clock as it is set now; never later than now.

    Within one boot no step of the wall clock counts; of another boot it is believed, and what it
    says is yet to come counts as having just happened.
    """
    now = clock.now()
    if boot == clock.boot():
        return now - timedelta(seconds=max(0.0, clock.boot_s() - boot_s))
    return min(now, parse_iso(at))


def iso(moment: datetime) -> str:
    """UTC ISO 8601 with microseconds and Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_iso(written: str) -> datetime:
    """The moment of an ISO 8601 time. Raises: ValueError without an offset."""
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        raise ValueError(f"{written!r} has no time zone")
    return moment.astimezone(UTC)
