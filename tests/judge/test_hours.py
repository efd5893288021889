"""When a window is open: by the clock on the wall there, also where that clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rollback.judge.hours import is_open, next_open, spoken
from rollback.model.component import Window

BERLIN = "Europe/Berlin"
WORK = Window(days=("mon", "tue", "wed", "thu", "fri"), hours="09:00-17:00", zone=BERLIN)


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "moment", "answer"),
    [
        (WORK, "2026-07-01T06:59", False), (WORK, "2026-07-01T07:00", True),  # summer: +2
        (WORK, "2026-12-01T07:30", False), (WORK, "2026-12-01T08:00", True),  # winter: +1
        (WORK, "2026-12-01T15:59", True), (WORK, "2026-12-01T16:00", False),
        (WORK, "2026-11-28T10:00", False),  # a Saturday
        (Window(days=("sat",)), "2026-11-28T00:00", True),
        (Window(days=("sat",)), "2026-11-29T00:00", False),
        # over midnight: the hours belong to the day on which they begin
        (Window(days=("fri",), hours="22:00-06:00"), "2026-11-27T22:00", True),
        (Window(days=("fri",), hours="22:00-06:00"), "2026-11-28T05:59", True),
        (Window(days=("fri",), hours="22:00-06:00"), "2026-11-28T22:00", False),
        (Window(days=("fri",), hours="22:00-06:00"), "2026-11-27T05:00", False),
        (Window(hours="22:00-00:00"), "2026-11-27T23:59", True),
        (Window(hours="22:00-00:00"), "2026-11-28T00:00", False),
        # 2026-03-29 in Berlin: 02:00 to 03:00 is left out
        (Window(hours="02:00-03:00", zone=BERLIN), "2026-03-29T00:59", False),
        (Window(hours="02:00-03:00", zone=BERLIN), "2026-03-29T01:00", False),
        (Window(hours="02:30-04:00", zone=BERLIN), "2026-03-29T01:00", True),
        # 2026-10-25 in Berlin: 02:00 to 03:00 comes twice
        (Window(hours="02:00-03:00", zone=BERLIN), "2026-10-25T00:30", True),
        (Window(hours="02:00-03:00", zone=BERLIN), "2026-10-25T01:30", True),
        (Window(hours="02:00-03:00", zone=BERLIN), "2026-10-25T02:00", False),
    ],
)  # fmt: skip
def test_a_window_is_open_by_the_clock_on_the_wall_there(
    window: Window, moment: str, answer: bool
) -> None:
    """Summer and winter, weekends, over midnight, in the hour that is left out or comes twice."""
    assert is_open(window, at(moment)) is answer


@pytest.mark.parametrize(
    ("window", "moment", "opens"),
    [
        (WORK, "2026-11-27T17:00", "2026-11-30T08:00"),  # Friday evening: Monday
        (WORK, "2026-11-27T10:00", "2026-11-27T10:00"),
        (WORK, "2026-11-27T07:59:30", "2026-11-27T08:00"),
        (Window(hours="02:00-03:00", zone=BERLIN), "2026-03-28T03:00", "2026-03-30T00:00"),
        (Window(hours="02:30-04:00", zone=BERLIN), "2026-03-29T00:30", "2026-03-29T01:00"),
        (Window(days=("sun",), hours="02:00-02:30", zone=BERLIN), "2026-03-23T00:00",
         "2026-04-05T00:00"),
    ],
)  # fmt: skip
def test_when_it_opens_next_is_the_first_minute_at_which_it_is_open(
    window: Window, moment: str, opens: str
) -> None:
    """Also where the hour of that day does not come."""
    found = next_open(window, at(moment))
    assert found == at(opens)
    assert is_open(window, found)
    before = found - timedelta(minutes=1)
    assert before < at(moment) or not is_open(window, before)


def test_a_window_is_said_as_it_is_declared() -> None:
    """Days, hours, zone; what is not declared is not said."""
    assert spoken(WORK) == "mon tue wed thu fri 09:00-17:00 Europe/Berlin"
    assert spoken(Window(hours="22:00-06:00")) == "22:00-06:00 UTC"
