"""Whether a declared window is open, and when it opens next: days and hours of its own time zone.

The clock on the wall there decides: an hour that a change of the clocks leaves out is never open, and
one that it brings twice is open twice. Hours over midnight belong to the day on which they begin.

Hides: where the rules of the zones come from.
Never: reads a clock.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback.model.component import Window

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTE = timedelta(minutes=1)
_LOOKS_AHEAD = timedelta(
    days=15
)  # a window of one day a week that a change of the clocks took once


def is_open(window: Window, at: datetime) -> bool:
    """True while it is a day and an hour of the window, there."""
    from zoneinfo import ZoneInfo  # 3 ms that a system without windows need not wait for

    there = at.astimezone(ZoneInfo(window.zone))
    today = _on(window, there.weekday())
    if window.hours is None:
        return today
    opens, closes = (_minutes(part) for part in window.hours.split("-"))
    minute = there.hour * 60 + there.minute
    if opens < closes:
        return today and opens <= minute < closes
    yesterday = _on(window, (there.weekday() - 1) % 7)
    return (today and minute >= opens) or (yesterday and minute < closes)


def next_open(window: Window, at: datetime) -> datetime | None:
    """The first whole minute from now on at which it is open; None when there is none in two weeks."""
    moment = at.replace(second=0, microsecond=0)
    while moment <= at + _LOOKS_AHEAD:
        if moment >= at and is_open(window, moment):
            return moment
        moment += _MINUTE
    return None


def spoken(window: Window) -> str:
    """The window for people, like `mon fri 09:00-17:00 Europe/Berlin`."""
    return " ".join((*window.days, *([window.hours] if window.hours else []), window.zone))


def _on(window: Window, weekday: int) -> bool:
    return not window.days or DAYS[weekday] in window.days


def _minutes(written: str) -> int:
    hours, minutes = written.split(":")
    return int(hours) * 60 + int(minutes)
