"""Nothing goes round in circles: flapping, storms, triggers during a run, runs that trigger themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.driving import drive
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.act.told import tell_event
from rollback.judge import loop
from rollback.keep.lease import Lease
from rollback.model.lifecycle import State
from rollback.watch.agent import Agent
from tests.cli.program import rollback
from tests.watch.places import Place, place, runs, told

UNGATED = {"    gate: {suites: [smoke]}\n": ""}
ASKING = {**UNGATED, "current: 4": "current: 3"}


@contextmanager
def agent_of(folder: Path, edits: dict[str, str]) -> Iterator[tuple[Place, Agent]]:
    """A shop with these rules, and its agent."""
    here = place(folder, edits=edits)
    with here.agent() as agent:
        yield here, agent


def acted(site: Site) -> int:
    """How many runs took a step."""
    return sum(bool(run.steps) for run in runs(site))


@pytest.mark.parametrize("period", [1, 2, 3, 7])
def test_flapping_is_answered_once_then_asked_about_and_then_left(
    tmp_path: Path, period: int
) -> None:
    """On and off for a day: one run by itself, people are asked twice, then the loop is broken."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        for turn in range(60 // period):
            here.break_it()
            here.read(errors=0.5 if turn % 2 else 0.0)
            here.tick(agent, period, every_s=600.0)
            for run in runs(agent.site):
                if run.state is State.WAITING:
                    abort(agent.site, run, by="ada", reason="no")
        assert acted(agent.site) == loop.UNASKED_MAX
        assert len(runs(agent.site)) <= loop.ASKED_MAX
        if period <= 3:
            assert len(runs(agent.site)) == loop.ASKED_MAX
            assert "is a loop" in str(told(agent.site, "agent.held")[-1].data["because"])
        told_s: dict[str, float] = {}
        for event in told(agent.site, "agent.held"):  # what comes back is said again after an hour
            because = str(event.data["because"])
            assert event.boot_s - told_s.get(because, -3600.0) >= 3590.0
            told_s[because] = event.boot_s


def test_a_day_later_it_may_act_again(tmp_path: Path) -> None:
    """The cap is one of a day."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        here.read(errors=0.0)
        here.tick(agent, 25, every_s=3600.0)
        here.break_it()
        here.read(errors=0.5)
        here.tick(agent)
        assert acted(agent.site) == 2


@pytest.mark.parametrize("count", [2, 1000])
def test_a_storm_of_events_is_one_run(tmp_path: Path, count: int) -> None:
    """A thousand within a second, and the same ones again while they still count."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        for number in range(count):
            tell_event(agent.site, "veto", {"number": str(number)}, by="ada")
        here.tick(agent, 10, every_s=60.0)
        assert len(runs(agent.site)) == 1


def test_a_thousand_triggers_at_once_are_one_run_at_the_strictest(tmp_path: Path) -> None:
    """All of them stand in the decision; one is answered."""
    many = "".join(f"  - {{id: t{n}, when: {{metric: errors, above: 10%}}, respond: {{roll_back: flag}}}}\n"
                   for n in range(1000))  # fmt: skip
    with agent_of(tmp_path, {**UNGATED, "triggers:\n": f"triggers:\n{many}"}) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent, 5)
        (run,) = runs(agent.site)
        assert run.plan["level"] == "config"
        assert len(told(agent.site, "decision.taken")[0].data["matches"]) == 1001


@pytest.mark.parametrize("fires", ["errors", "slow", "veto"])
def test_a_trigger_during_a_run_begins_nothing(tmp_path: Path, fires: str) -> None:
    """A person's run waits for its second approval; it is theirs, and stays the only one."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        plan = here.shop.plan(agent.site, "pages", component="pages", to="checkpoint:good")
        (here.shop.tree / "pages" / "index.html").write_text("worse\n")
        plan = here.shop.plan(agent.site, "pages", component="pages", to="checkpoint:good")
        mine = drive(agent.site, authorize.create(agent.site, plan), wait=False)
        if fires == "veto":
            tell_event(agent.site, "veto", {}, by="ada")
        else:
            here.read(**{fires: 0.8})
        looked = here.tick(agent, 5)
        assert f"run {mine.id} is open" in looked.held
        assert [run.id for run in runs(agent.site)] == [mine.id]


def test_somebody_who_types_at_the_same_moment_wins_or_loses_cleanly(tmp_path: Path) -> None:
    """While they hold the lease nothing is begun and nothing fails; afterwards it is."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        here.read(errors=0.5)
        with Lease(agent.site.state.tree, agent.site.host, purpose="run by hand"):
            looked = here.tick(agent)
            assert "somebody else is at work" in looked.held
            assert not looked.failed
        here.tick(agent)
        assert acted(agent.site) == 1


@pytest.mark.parametrize("held_s", [60.0, 600.0])
def test_a_run_that_does_not_help_is_not_repeated(tmp_path: Path, held_s: float) -> None:
    """The metric stays bad: a person is called, once; the same run is not begun again."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        here.break_it()
        looked = here.tick(agent, 20, every_s=held_s)
        assert acted(agent.site) == 1
        assert "a person must look" in looked.held
        assert len(told(agent.site, "agent.held")) == 1


def test_a_run_that_triggers_itself_does_not_begin_again(tmp_path: Path) -> None:
    """Its own steps are an event that fires: the rollback is told as a deployment each time."""
    rules = {**UNGATED, "when: {event: veto, within: 1h}": "when: {event: deployment, within: 1h}"}
    with agent_of(tmp_path, rules) as (here, agent):
        tell_event(agent.site, "deployment", {"version": "2"}, by="ada")
        for _ in range(20):
            here.break_it()
            here.tick(agent, every_s=300.0)
            if not any(run.state is State.WAITING for run in runs(agent.site)):
                tell_event(agent.site, "deployment", {"version": "back"}, by="the rollback")
        assert acted(agent.site) == 1


def test_another_trigger_for_the_same_target_is_asked_about(tmp_path: Path) -> None:
    """It was gone back there already; whether that was enough is a person's to say."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        here.break_it()
        here.read(errors=0.0, slow=0.8)
        here.tick(agent, 3)
        _, second = runs(agent.site)
        assert (second.state, second.unasked) == (State.WAITING, False)


def test_readings_of_before_a_run_do_not_begin_the_next_one(tmp_path: Path) -> None:
    """A window of ten minutes still holds what was bad: until it has passed nothing is begun."""
    rules = {**UNGATED, "slow: {unit: fraction,": "slow: {unit: fraction, window: 10m,"}
    with agent_of(tmp_path, rules) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        here.break_it()
        here.read(errors=0.0, slow=0.8)
        looked = here.tick(agent, 9)
        assert looked.held == "its readings still reach back before the last run"
        assert len(runs(agent.site)) == 1


def test_a_decision_after_a_run_says_that_its_readings_reach_back_before_it(tmp_path: Path) -> None:
    """Who asks by hand is told the same as the agent, and no run is offered, where that is so."""
    here = place(tmp_path, edits={"slow: {unit: fraction,": "slow: {unit: fraction, window: 10m,"})
    here.read(errors=0.0, slow=0.8)
    before = rollback(here.shop.folder, "decide")
    assert "try: rollback run config" in before.out
    assert rollback(here.shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
    said = rollback(here.shop.folder, "decide")
    assert loop.SETTLING in said.out
    assert "rollback run" not in said.out
    assert rollback(here.shop.folder, "--json", "decide").json["held"] == loop.SETTLING
    here.read(errors=0.5, slow=0.0)  # a rule whose readings look back over no time
    said = rollback(here.shop.folder, "decide")
    assert loop.SETTLING not in said.out
    assert "try: rollback run" in said.out


def test_the_cooldown_holds_after_whatever_was_done_last(tmp_path: Path) -> None:
    """Declared as five minutes; another trigger waits for it, too."""
    with agent_of(tmp_path, {**UNGATED, "cooldown: 0s": "cooldown: 5m"}) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        here.break_it()
        here.read(errors=0.0, slow=0.8)
        for _ in range(4):
            assert "cooling down" in here.tick(agent).held
        here.tick(agent, 2)
        assert len(runs(agent.site)) == 2


def test_a_request_gives_way_to_what_is_stricter(tmp_path: Path) -> None:
    """Nobody has answered yet, and a higher level is called for: one request is open, the right one."""
    with agent_of(tmp_path, ASKING) as (here, agent):
        here.read(slow=0.6)
        here.tick(agent)
        here.read(slow=0.95)
        (here.shop.tree / "pages" / "index.html").write_text("worse\n")
        here.tick(agent)
        first, second = runs(agent.site)
        assert (first.state, second.state) == (State.ABANDONED, State.WAITING)
        assert second.plan["level"] == "full"
        here.read(slow=0.6)
        here.tick(agent, 5)
        assert len(runs(agent.site)) == 2


def test_a_run_that_stopped_for_a_person_holds_everything(tmp_path: Path) -> None:
    """Its gate stayed closed: nothing is begun until somebody has looked."""
    rules = {"keys: [limit], levels: [config]": "keys: [nowhere], levels: [config]"}
    with agent_of(tmp_path, rules) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.NEEDS_OPERATOR]
        here.read(errors=0.0, slow=0.95)
        looked = here.tick(agent, 5)
        assert "waits for a person" in looked.held
        assert len(runs(agent.site)) == 1


def test_resolved_starts_nothing_and_ends_nothing(tmp_path: Path) -> None:
    """It holds again: the request that people were asked about stays theirs."""
    with agent_of(tmp_path, ASKING) as (here, agent):
        here.read(errors=0.5)
        here.tick(agent)
        here.read(errors=0.0)
        here.tick(agent, 5)
        assert [run.state for run in runs(agent.site)] == [State.WAITING]


@pytest.mark.parametrize("again", ["", "anew", "read late from a log"])
def test_what_happened_before_the_last_run_ended_begins_nothing_unasked(
    tmp_path: Path, again: str
) -> None:
    """By hand somebody went back because of it: people are asked; what happens anew counts as ever."""
    with agent_of(tmp_path, UNGATED) as (here, agent):
        here.read(errors=0.0, slow=0.0)
        tell_event(agent.site, "veto", {}, by="ada")
        here.break_it()
        run = authorize.create(agent.site, here.shop.plan(agent.site, "config"))
        authorize.approve(agent.site, run, person="ada")
        assert drive(agent.site, run, wait=False).state is State.MITIGATED
        here.break_it()
        if again == "anew":
            tell_event(agent.site, "veto", {}, by="ada")
        elif again:
            was = next(one.at for one in told(agent.site, "event.told"))
            agent.site.tell(
                "event.told", event="veto", fields={}, by="log", id="log:1", happened=was
            )
        here.tick(agent, 3)
        begun = [one for one in runs(agent.site) if one.id != run.id]
        assert [bool(one.steps) for one in begun] == [again == "anew"]
