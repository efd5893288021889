"""A gate that notices too little lets no run complete while nobody looks on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rollback.act import authorize, strength
from rollback.act.engine import roll_back
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


@pytest.mark.parametrize(
    ("measured", "state"),
    [
        ((("20", "19"),), State.COMPLETE),
        ((("20", "20"), ("40", "37")), State.NEEDS_OPERATOR),
    ],
)  # fmt: skip
def test_a_run_that_nobody_confirmed_completes_only_behind_a_strong_gate(
    here: Place, measured: tuple[tuple[str, str], ...], state: State
) -> None:
    """The newest measurement counts, and its absence is weakness; a person may send it on."""
    with here.agent() as agent:
        for planted, noticed in measured:
            given = {"planted": planted, "noticed": noticed}
            assert tell_event(agent.site, "strength", given, by="drill") is not None
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


def test_a_gate_that_nobody_measured_is_not_strong(here: Place) -> None:
    """Absence is weakness; a run that somebody asked for is attended, and needs no measurement."""
    with here.shop.site() as site:
        run = authorize.create(site, here.shop.plan(site, "config"))
        gate = here.shop.system.levels["config"].gate
        assert strength.too_weak(site, run, gate) == []
        (reason,) = strength.too_weak(site, replace(run, unasked=True), gate)
        assert "nobody has measured" in reason


@pytest.mark.parametrize("given", [
    {}, {"planted": "20"}, {"planted": "0", "noticed": "0"}, {"planted": "2", "noticed": "3"},
    {"planted": "-2", "noticed": "1"}, {"planted": "2", "noticed": "1.5"},
    {"planted": "2", "noticed": "1", "missed": "1"},
])  # fmt: skip
def test_what_is_no_measurement_is_refused(here: Place, given: dict[str, str]) -> None:
    """Nothing is in the journal; the refusal says what to type."""
    with here.shop.site() as site:
        with pytest.raises(UsageError) as caught:
            tell_event(site, "strength", given, by="ada")
        assert "planted=" in caught.value.hint
        assert all(event.kind != strength.MEASURED for event in site.journal.events())


def test_where_no_gate_has_to_be_strong_nobody_tells_it(tmp_path: Path) -> None:
    """Then it is an event like any other that is not declared."""
    with place(tmp_path).shop.site() as site, pytest.raises(PlanError, match="no event strength"):
        tell_event(site, "strength", {"planted": "2", "noticed": "1"}, by="ada")
