"""A run that only waits for its first yes: what it holds up, what it does not, and who is told."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.asked import WAITS_FOR_S, due
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.host.clock import parse_iso
from rollback.model.lifecycle import Run, State
from tests.cli.program import rollback
from tests.watch.places import Place, place, runs, told

SERVICE = """services:
  idle: {manager: registry, argv: [sleep, "600"], lock: run/idle.lock}
people:
"""
BOX = """notify:
  channels: {box: {file: {path: box.jsonl}}}
  audiences: {ops: [box]}
  messages:
    look: {audience: ops, on: [held], text: "{reason}"}
monitor:"""
HOURLY = "checkpoints:\n  kinds:\n    hourly: {on: schedule, every: 1h, retention: 7d}\nmonitor:"


def shop(folder: Path, **edits: str) -> Place:
    """The shop with one service that nobody started, and an agent that may act by itself."""
    return place(folder, edits={"people:\n": SERVICE, **edits})


def ask(here: Place, site: Site, level: str) -> Run:
    """What `rollback run LEVEL` leaves where nobody says yes: a run that waits for its approval."""
    run = roll_back(site, authorize.create(site, here.shop.plan(site, level, requester="dee")).id)
    assert (run.state, run.waiting_for["on"]) == (State.WAITING, "approval")
    return run


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_start_that_nobody_said_yes_to_holds_up_no_rollback(tmp_path: Path, verb: str) -> None:
    """It changed nothing and answers no alarm: the agent goes back beside it, and it still waits."""
    here = shop(tmp_path)
    with here.agent() as agent:
        asked = ask(here, agent.site, verb)
        here.read(errors=0.5)
        looked = here.tick(agent)
        assert looked.held == ""
        first, second = runs(agent.site)
        assert (first.id, first.state) == (asked.id, State.WAITING)
        assert (second.plan["level"], second.state) == ("config", State.COMPLETE)


def test_a_start_that_nobody_said_yes_to_holds_up_no_upkeep(tmp_path: Path) -> None:
    """Scheduled checkpoints are taken although it waits."""
    here = shop(tmp_path, **{"monitor:": HOURLY})
    with here.agent() as agent:
        ask(here, agent.site, "start")
        here.tick(agent)
        assert [one.kind for one in agent.site.checkpoints.list()].count("hourly") == 1


def test_a_start_that_has_begun_holds_up_everything(tmp_path: Path) -> None:
    """Once somebody said yes it is a run like any other."""
    here = shop(tmp_path)
    with here.agent() as agent:
        plan = here.shop.plan(agent.site, "start")
        run = authorize.create(agent.site, plan)
        agent.site.note(run, "run.authorized", by=["ada"])
        here.read(errors=0.5)
        assert here.tick(agent).held == f"run {run.id} is open: it is AUTHORIZED"
        assert len(runs(agent.site)) == 1


def test_a_rollback_that_a_person_asked_for_is_waited_for_and_people_are_told(
    tmp_path: Path,
) -> None:
    """Nothing is begun beside it; why, and what ends it, stands in the message and in status, once."""
    here = shop(tmp_path, **{"monitor:": BOX})
    with here.agent() as agent:
        asked = ask(here, agent.site, "config")
        here.read(slow=0.95)
        looked = here.tick(agent, 3)
        assert looked.person
        assert [run.id for run in runs(agent.site)] == [asked.id]
        (held,) = told(agent.site, "agent.held")
        said = str(held.data["because"])
        assert said == (
            f"run {asked.id} is open: config, asked for by dee, waits for 1 more approval by op; "
            f"rollback approve {asked.id} lets it go on, rollback abort {asked.id} ends it"
        )
        (sent,) = (here.shop.folder / "box.jsonl").read_text().splitlines()
        assert json.loads(sent)["text"] == said
        assert f"the agent needs a person: {said}" in rollback(here.shop.folder, "status").out
    assert rollback(here.shop.folder, "abort", asked.id, "--as", "ada").status == 0
    assert "the agent needs a person" not in rollback(here.shop.folder, "status").out
    with here.agent() as agent:
        here.read(slow=0.95)
        here.tick(agent)
        assert [run.plan["level"] for run in runs(agent.site)] == ["config", "full"]


def test_until_when_a_request_waits_is_said(tmp_path: Path) -> None:
    """In status and when it begins to wait: the day and minute, and what follows."""
    here = shop(tmp_path)
    done = rollback(here.shop.folder, "run", "start", "--as", "dee")
    assert done.status == 4
    with here.agent() as agent:
        (run,) = runs(agent.site)
        until = due(agent.site, run)
        assert until is not None
        asked = parse_iso(run.moments["run.planned"][2])
        assert until - asked == timedelta(seconds=WAITS_FOR_S)
    line = f"if nobody answers by {until:%Y-%m-%d %H:%M} UTC: it ends, and nothing is changed"
    assert line in done.out
    assert line in rollback(here.shop.folder, "status").out


def test_a_start_that_stopped_for_a_person_holds_everything(tmp_path: Path) -> None:
    """It is about no incident, and what it left is looked at all the same before anything begins."""
    here = shop(tmp_path)
    with here.agent() as agent:
        run = authorize.create(agent.site, here.shop.plan(agent.site, "stop"))
        agent.site.note(run, "run.needs-operator", reason="for a test")
        here.read(errors=0.5)
        assert here.tick(agent).held == f"run {run.id} waits for a person"
        assert len(runs(agent.site)) == 1


def test_a_request_keeps_a_deployment_back_and_a_start_does_not(tmp_path: Path) -> None:
    """What was asked for would be planned for another release; the hint names what ends it."""
    here = shop(tmp_path, **{"monitor:": "guardrails: {no_deployment_during_run: true}\nmonitor:"})
    folder = here.shop.folder
    with here.agent() as agent:
        ask(here, agent.site, "start")
    told_ = ("event", "deployment", "version=2", "--as", "ada")
    assert rollback(folder, *told_).status == 0
    with here.agent() as agent:
        ask(here, agent.site, "config")
    refused = rollback(folder, *told_)
    assert refused.status == 4
    assert "end it with: rollback abort r0002; or deploy when it has ended" in refused.err
