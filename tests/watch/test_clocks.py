"""Clocks that lie: set back or ahead, leaping, in another zone, suspended, past 2038, in 1970, rebooted.

What lasts, ends, cools down or is capped is measured by the clock that nobody sets; across a reboot
it may be late, and never early. What comes first is told by the number in the journal.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollback.act.deciding import known
from rollback.act.told import tell_facts
from rollback.keep.ticks import Ticks
from rollback.model.errors import RunLocked
from rollback.watch.agent import alone
from tests.systems import Hands
from tests.watch.places import place, runs, told
from tests.watch.test_loops import UNGATED

YEAR_S = 365 * 86_400.0
CHANGES = (
    "back an hour", "back a year", "forward an hour", "forward ten years", "leap second",
    "leap second taken", "another zone", "the hour that comes twice", "suspended", "2038", "1970",
    "rebooted, back an hour",
)  # fmt: skip
WRONG_S = {
    "back an hour": -3600.0, "back a year": -YEAR_S, "forward an hour": 3600.0,
    "forward ten years": 10 * YEAR_S, "leap second": 1.0, "leap second taken": -1.0,
    "rebooted, back an hour": -3600.0,
}  # fmt: skip
ZONES = {"another zone": "Pacific/Kiritimati", "the hour that comes twice": "Europe/Berlin"}
MOMENTS = {
    "2038": datetime(2038, 1, 19, 3, 14, 0, tzinfo=UTC),
    "1970": datetime(1970, 1, 1, 6, tzinfo=UTC),
}


def change(clock: Hands, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens now."""
    clock.wrong_s += WRONG_S.get(name, 0.0)
    clock.reboots += name.startswith("rebooted")
    if name in ZONES:
        monkeypatch.setenv("TZ", ZONES[name])
        time.tzset()
    if name == "suspended":
        clock.ahead_s += 60.0
    if name in MOMENTS:
        clock.wrong_s += (MOMENTS[name] - clock.now()).total_seconds()


@pytest.fixture(autouse=True)
def _own_zone() -> object:
    """The zone of this process is as it was afterwards."""
    before = os.environ.get("TZ")
    yield
    os.environ.pop("TZ", None) if before is None else os.environ.update(TZ=before)
    time.tzset()


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_to_last_lasts_as_long(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten minutes above the limit begin one run, ten true minutes after the first reading."""
    here = place(tmp_path, edits={**UNGATED, "above: 10%}": "above: 10%, for: 10m}"})
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 6)
        began_s = here.shop.clock.boot_s() - 300.0
        change(here.shop.clock, name, monkeypatch)
        here.read(errors=0.5)  # whoever writes it has the same clock
        for _ in range(90 if name.startswith("rebooted") else 20):
            here.tick(agent)
            if runs(agent.site):
                break
        lasted_s = here.shop.clock.boot_s() - began_s
        assert len(runs(agent.site)) == 1
        assert lasted_s >= 600.0
        assert lasted_s < 600.0 + 120.0 or name.startswith("rebooted")
        numbers = [event.seq for event in agent.site.journal.events()]
        assert numbers == sorted(numbers) == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", CHANGES)
def test_what_ends_cools_down_or_is_capped_does_so_in_its_time(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fact of twenty minutes, a cooldown of half an hour, one run of a day; the lock stays ours."""
    asks = "  - {id: sure, when: {fact: sure}, respond: {hold: sure}, enabled: false}\n"
    here = place(tmp_path, edits={**UNGATED, "cooldown: 0s": "cooldown: 30m",
                                  "triggers:\n": f"triggers:\n{asks}"})  # fmt: skip
    clock = here.shop.clock
    with here.agent() as agent, alone(agent.site):
        tell_facts(agent.site, {"sure": "yes"}, by="ada", for_s=1200.0)
        here.read(errors=0.5)
        here.tick(agent)
        assert len(runs(agent.site)) == 1
        change(clock, name, monkeypatch)
        here.break_it()
        here.read(errors=0.0, slow=0.8)
        held = here.tick(agent, 10).held
        assert "cooling down" in held
        assert "sure" in _facts(agent.site)
        with pytest.raises(RunLocked), alone(agent.site):
            pytest.fail("the lock was lost")
        here.tick(agent, 12)
        assert len(runs(agent.site)) == 1
        if not name.startswith("rebooted"):
            assert "sure" not in _facts(agent.site)
        here.tick(agent, 80 if name.startswith("rebooted") else 12)
        first, *more = runs(agent.site)
        assert [bool(run.steps) for run in (first, *more)].count(True) == 1
        assert len(more) == 1
        assert told(agent.site, "agent.failed") == []


def _facts(site: object) -> object:
    return known(site, {}, {}, Ticks(site.state.tree, site.host)).facts  # type: ignore[attr-defined,arg-type]
