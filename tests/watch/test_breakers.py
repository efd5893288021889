"""A circuit breaker that opened is tried by one look, after its time, before it closes again."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.model.lifecycle import State
from tests.watch.places import Place, place, runs, told

RULES = """triggers:
  - {id: errors-high, when: {metric: errors, above: 10%}, respond: {roll_back: config}}
  - {id: slow, when: {metric: slow, above: 50%}, respond: {roll_back: config}}
  - {id: very-slow, when: {metric: slow, above: 90%}, respond: {roll_back: full}}
  - {id: vetoed, when: {event: veto, within: 1h}, respond: {roll_back: config}}
"""
BREAKER = ("decision: {style: most-severe, breakers: [{id: trip, all: [{metric: errors, above: 10%}], "
           "roll_back: config, reset_after: 10m}]}\n")  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """The shop with a breaker alone."""
    return place(tmp_path, edits={RULES: BREAKER})


def test_an_open_breaker_is_not_asked_before_its_time(here: Place) -> None:
    """Whatever the readings say meanwhile, nothing is begun, and the reasons say when it is tried."""
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]
        here.break_it()
        for errors in (0.5, 0.0, 0.5):
            here.read(errors=errors)
            looked = here.tick(agent, every_s=120.0)
            assert looked.decision is not None
            assert looked.decision.respond == "hold"
            assert looked.decision.reasoning[0].startswith("trip is open, and is tried again in")
        assert len(runs(agent.site)) == 1
        assert not told(agent.site, "breaker.closed") + told(agent.site, "breaker.reopened")


def test_one_good_look_after_its_time_closes_it(here: Place) -> None:
    """From then on it fires as before; it had been seen well, so it is asked about, not refused."""
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent)
        here.break_it()
        here.read(errors=0.0)
        here.tick(agent, every_s=601.0)
        (closed,) = told(agent.site, "breaker.closed")
        assert closed.data["id"] == "trip"
        here.read(errors=0.5)
        here.tick(agent)
        assert [run.trigger for run in runs(agent.site)] == ["trip", "trip"]


def test_one_bad_look_after_its_time_opens_it_again(here: Place) -> None:
    """A person must look: what it does was done and did not help. It is tried again as late."""
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent)
        here.break_it()
        here.read(errors=0.4)
        looked = here.tick(agent, every_s=601.0)
        assert len(told(agent.site, "breaker.reopened")) == 1
        assert looked.person
        assert "has held ever since it led to a run" in looked.held
        here.read(errors=0.0)
        here.tick(agent, 9)
        assert told(agent.site, "breaker.closed") == []
        here.tick(agent, 2)
        assert len(told(agent.site, "breaker.closed")) == 1
        assert len(runs(agent.site)) == 1


def test_a_look_that_cannot_tell_is_no_trial(here: Place) -> None:
    """It stays half open until somebody knows."""
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent)
        here.read(errors=None)
        here.tick(agent, every_s=601.0)
        assert not told(agent.site, "breaker.closed") + told(agent.site, "breaker.reopened")
        here.read(errors=0.0)
        here.tick(agent)
        assert len(told(agent.site, "breaker.closed")) == 1


def test_what_a_person_asks_opens_nothing(here: Place) -> None:
    """`decide` says what is called for; only a run that it led to opens a breaker."""
    from rollback.act.deciding import decide_now

    here.read(errors=0.5)
    with here.agent() as agent:
        assert decide_now(agent.site).trigger == "trip"
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]
