"""A gate that notices too little lets no run complete while nobody looks on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rollback.act import authorize, strength
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import retry
from rollback.act.told import tell_event
from rollback.model.errors import PlanError, UsageError
from rollback.model.lifecycle import State
from tests.watch.places import Place, place, runs

GATE = "    gate: {suites: [smoke]}\n  pages:"


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """The shop at autonomy 4, whose gate for settings has to be strong."""
    return place(tmp_path, edits={GATE: GATE.replace("]}", "], strength: 95%}")})


def _measured(site: Site, noticed: int, *, planted: int = 20, level: str = "config") -> None:
    asked = strength.list_digest(site, site.system.levels[level])
    strength.record(site, level, asked=asked, planted=planted, noticed=noticed)


@pytest.mark.parametrize(
    ("measured", "state"),
    [
        (((20, 19),), State.COMPLETE),
        (((20, 20), (40, 37)), State.NEEDS_OPERATOR),
    ],
)  # fmt: skip
def test_a_run_that_nobody_confirmed_completes_only_behind_a_strong_gate(
    here: Place, measured: tuple[tuple[int, int], ...], state: State
) -> None:
    """The newest measurement counts, and its absence is weakness; a person may send it on."""
    with here.agent() as agent:
        for planted, noticed in measured:
            _measured(agent.site, noticed, planted=planted)
        here.read(errors=0.5)
        here.tick(agent)
        (run,) = runs(agent.site)
        assert run.state is state
        if state is State.NEEDS_OPERATOR:
            assert "unattended" in run.reason
            assert "95%" in run.reason
            assert not run.verdict["climb"]
            assert (
                roll_back(agent.site, retry(agent.site, run, by="ada").id).state is State.COMPLETE
            )


def test_a_measurement_is_of_one_gate_and_its_checks_and_grows_old(here: Place) -> None:
    """Of another level, of another list of checks, or of too long ago, it says nothing about this gate."""
    with here.shop.site() as site:
        run = replace(authorize.create(site, here.shop.plan(site, "config")), unasked=True)

    def why() -> str:
        with here.shop.site() as now:
            level = now.system.levels["config"]
            return "".join(strength.too_weak(now, run, "config", level))

    with here.shop.site() as site:
        _measured(site, 20, level="flag")
    assert "nobody has measured" in why()
    with here.shop.site() as site:
        _measured(site, 20)
    assert why() == ""
    here.shop.edit("keys: [limit]", "keys: [limit, party]")
    assert "what this gate asks has changed" in why()
    here.shop.edit("keys: [limit, party]", "keys: [limit]")
    assert why() == ""
    here.shop.clock.ahead_s += 91 * 86400
    assert "it was measured 91 d ago" in why()
    here.shop.edit("strength: 95%", "strength: 95%, strength_lasts: 100d")
    assert why() == ""


def test_what_was_measured_of_other_checks_is_not_written_down(here: Place) -> None:
    """A sandbox of another declaration says nothing about this one."""
    with here.shop.site() as site:
        for level, asked in (("config", "0" * 64), ("nowhere", "0" * 64)):
            with pytest.raises(PlanError):
                strength.record(site, level, asked=asked, planted=20, noticed=20)
        assert all(event.kind != strength.MEASURED for event in site.journal.events())


def test_a_gate_that_nobody_measured_is_not_strong(here: Place) -> None:
    """Absence is weakness; a run that somebody asked for is attended, and needs no measurement."""
    with here.shop.site() as site:
        run = authorize.create(site, here.shop.plan(site, "config"))
        level = here.shop.system.levels["config"]
        assert strength.too_weak(site, run, "config", level) == []
        (reason,) = strength.too_weak(site, replace(run, unasked=True), "config", level)
        assert "nobody has measured" in reason


@pytest.mark.parametrize("given", [
    {}, {"planted": "1", "noticed": "1"}, {"planted": "20", "noticed": "20", "level": "config"},
])  # fmt: skip
def test_nobody_says_how_strong_a_gate_is(here: Place, given: dict[str, str]) -> None:
    """Nothing is in the journal; the refusal says what measures it."""
    with here.shop.site() as site:
        with pytest.raises(UsageError, match="measured, not told") as caught:
            tell_event(site, "strength", given, by="ada")
        assert "drills strength" in caught.value.hint
        site.tell(strength.MEASURED, planted=1, noticed=1, by="ada")  # as it was told before
        run = replace(authorize.create(site, here.shop.plan(site, "config")), unasked=True)
        (reason,) = strength.too_weak(site, run, "config", site.system.levels["config"])
        assert "nobody has measured" in reason


def test_where_no_gate_has_to_be_strong_nobody_tells_it(tmp_path: Path) -> None:
    """Then it is an event like any other that is not declared."""
    with place(tmp_path).shop.site() as site, pytest.raises(PlanError, match="no event strength"):
        tell_event(site, "strength", {"planted": "2", "noticed": "1"}, by="ada")
