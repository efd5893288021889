"""After a run the incident is watched: stable by the declared limits, worse, or not known; and closer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback.act import incident
from rollback.act.keeping import schedule
from rollback.model.lifecycle import State
from rollback.watch.agent import Agent
from tests.watch.places import Place, place, runs, told
from tests.watch.test_loops import UNGATED

LIMITS = (
    "stability: {watch: 4h, every: 30s, limits: [{metric: errors, below: 1%}], worse: ask the lead}"
)
CLOSER = "tightening: {interval: 0.5, checkpoints: 0.25, thresholds: 0.5, lasts: 1d}"


@contextmanager
def gone_back(folder: Path, **edits: str) -> Iterator[tuple[Place, Agent]]:
    """A shop that has just gone back, and is well."""
    rules = {**UNGATED, "cooldown: 0s}": f"cooldown: 0s, {LIMITS}, {CLOSER}}}", **edits}
    here = place(folder, edits=rules)
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.MITIGATED]
        here.read(errors=0.0)
        here.tick(agent)
        yield here, agent


@pytest.mark.requirement("PM-73")
@pytest.mark.parametrize(
    ("value", "word"), [(0.0, "STABLE"), (0.0099, "STABLE"), (0.01, "UNSTABLE")]
)
def test_the_limits_are_watched_for_their_time(tmp_path: Path, value: float, word: str) -> None:
    """Four hours below one percent; at one percent a person is told what to do."""
    with gone_back(tmp_path) as (here, agent):
        here.read(errors=value)
        here.tick(agent, 24, every_s=590.0 / 4)
        if word == "STABLE":
            assert incident.after(agent.site).word == "MONITORING"
            here.tick(agent, 80, every_s=170.0)
        now = incident.after(agent.site)
        assert (now.word, now.run) == (word, "r0001")
        if word == "UNSTABLE":
            (event,) = told(agent.site, "incident.unstable")
            assert event.data["worse"] == "ask the lead"


BOX = (
    "notify:\n  channels: {box: {file: {path: box.jsonl}}}\n  audiences: {ops: [box]}\n  messages:\n"
    '    over: {audience: ops, on: [stable], text: "all-clear {run} {incident} {state}: {reason}"}\n'
    '    again: {audience: ops, on: [unstable], text: "bad {run} {incident} {state}: {reason}"}\nmonitor:'
)


def box(here: Place) -> list[str]:
    """What was delivered."""
    file = here.shop.folder / "box.jsonl"
    return (
        [json.loads(line)["text"] for line in file.read_text().splitlines()]
        if file.exists()
        else []
    )


def test_people_are_told_the_all_clear_when_the_watch_is_over_and_not_before(
    tmp_path: Path,
) -> None:
    """Once, with the run, its incident and what held for how long; not when the steps were done."""
    with gone_back(tmp_path, **{"monitor:": BOX}) as (here, agent):
        here.tick(agent, 60, every_s=170.0)
        assert (incident.after(agent.site).word, box(here)) == ("MONITORING", [])
        here.tick(agent, 30, every_s=170.0)
        assert incident.after(agent.site).word == "STABLE"
        found = incident.after(agent.site)
        (said,) = box(here)
        assert said.startswith(f"all-clear r0001 {found.incident} stable: for 4 h: errors")
        here.tick(agent, 5)
        assert len(box(here)) == 1


def test_people_are_told_that_it_is_bad_again(tmp_path: Path) -> None:
    """Once, with why, and what the declaration says to do then."""
    with gone_back(tmp_path, **{"monitor:": BOX}) as (here, agent):
        here.read(errors=0.02)
        here.tick(agent, 8)
        assert incident.after(agent.site).word == "UNSTABLE"
        (said,) = box(here)
        assert said.startswith("bad r0001 ")
        assert said.endswith("; ask the lead")
        assert "errors" in said


def test_who_dies_between_knowing_and_telling_tells_it_the_next_time(tmp_path: Path) -> None:
    """The message rests on what the journal says, and not on whoever wrote that."""
    with gone_back(tmp_path, **{"monitor:": BOX}) as (here, agent):
        (begun,) = told(agent.site, "incident.monitoring")
        agent.site.tell("incident.unstable", run="", incident=begun.data["incident"], of="r0001",
                        because="errors above", worse="ask the lead")  # fmt: skip
        assert box(here) == []
        here.tick(agent)
        assert len(box(here)) == 1


def test_an_end_of_long_ago_is_no_news(tmp_path: Path) -> None:
    """Whoever declares the message later is not told what was over before."""
    with gone_back(tmp_path, **{"monitor:": BOX}) as (here, agent):
        (begun,) = told(agent.site, "incident.monitoring")
        agent.site.tell("incident.unstable", run="", incident=begun.data["incident"], of="r0001",
                        because="errors above", worse="")  # fmt: skip
        here.tick(agent, every_s=2 * 3600.0)
        assert box(here) == []


def test_what_nobody_knows_is_not_stable(tmp_path: Path) -> None:
    """A reading that is gone, or nobody looking, begins the four hours anew."""
    with gone_back(tmp_path) as (here, agent):
        here.tick(agent, 100, every_s=100.0)
        here.read(errors=None)
        here.tick(agent, 2)
        assert incident.after(agent.site).because
        here.read(errors=0.0)
        here.tick(agent, 100, every_s=100.0)
        assert incident.after(agent.site).word == "MONITORING"
        here.tick(agent, every_s=30_000.0)
        here.tick(agent, 5)
        assert incident.after(agent.site).word == "MONITORING"
        here.tick(agent, 150, every_s=100.0)
        assert incident.after(agent.site).word == "STABLE"
        assert len(told(agent.site, "incident.blind")) == 1


def test_one_that_is_worse_again_is_the_same_incident(tmp_path: Path) -> None:
    """The next run, which people are asked about, belongs to it."""
    with gone_back(tmp_path) as (here, agent):
        here.break_it()
        here.read(errors=0.5)
        here.tick(agent)
        first, second = runs(agent.site)
        assert incident.after(agent.site).word == "UNSTABLE"
        assert (second.state, second.incident) == (State.WAITING, first.incident)


@pytest.mark.requirement("MB-20", "MB-26")
def test_it_is_looked_more_closely_for_the_declared_time(tmp_path: Path) -> None:
    """Intervals of ticks and checkpoints shrink by their factors, and grow again; the file stays as it is."""
    kinds = "checkpoints:\n  kinds:\n    hourly: {on: schedule, every: 4h, retention: 7d}\nmonitor:"
    with gone_back(tmp_path, **{"monitor:": kinds}) as (here, agent):
        before = (here.shop.folder / "rollback.yaml").read_text()
        assert agent.wait_s() == 30.0
        assert [one.every_s for one in schedule(agent.site)] == [3600.0]
        here.tick(agent, 2, every_s=50_000.0)
        assert agent.wait_s() == 60.0 or incident.after(agent.site).word == "MONITORING"
        assert [one.every_s for one in schedule(agent.site)] == [14_400.0]
        assert (here.shop.folder / "rollback.yaml").read_text() == before


@pytest.mark.requirement("MB-32")
@pytest.mark.parametrize(("value", "state"), [(0.04, State.NEEDS_OPERATOR), (0.02, State.COMPLETE)])
def test_gates_want_more_for_that_time(tmp_path: Path, value: float, state: State) -> None:
    """Half of the declared limit: what would have been enough is not, and the reason says so."""
    check = "  smoke:\n    - metric: {id: errors-few, name: errors, below: 6%}\n"
    rules = {"cooldown: 0s}": f"cooldown: 0s, {CLOSER}}}", "  smoke:\n": check}
    here = place(tmp_path, edits=rules)
    with here.agent() as agent:
        agent.site.tell("incident.monitoring", of="r0000", incident="INC-1", watch_s=0.0, interval=1.0,
                        checkpoints=1.0, thresholds=0.5, closer_s=3600.0)  # fmt: skip
        here.read(errors=value, slow=0.6)
        here.tick(agent)
        (run,) = runs(agent.site)
        assert run.state is state
        if state is State.NEEDS_OPERATOR:
            assert "at 0.5 of its limit" in run.reason
