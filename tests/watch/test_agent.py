"""The agent: one tick, what it begins by itself, what it asks for, and what it leaves in the journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rollback.act import authorize, reacting
from rollback.act.replaying import from_journal
from rollback.act.told import tell_event
from rollback.judge.unasked import AGENT
from rollback.model.lifecycle import State
from rollback.watch import agent as agent_
from rollback.watch import due
from rollback.watch.agent import alone
from tests.cli.program import rollback
from tests.systems import environment
from tests.watch.places import Place, place, runs, told


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """The shop at autonomy 4: nobody has to confirm."""
    return place(tmp_path)


def test_a_trigger_that_fires_leads_to_a_run_that_is_proved(here: Place) -> None:
    """Nobody types `run`; the journal says which trigger, and that nobody was asked."""
    with here.agent() as agent:
        assert here.tick(agent).decision.respond == "hold"
        here.read(errors=0.5)
        looked = here.tick(agent)
        (run,) = runs(agent.site)
        assert (run.state, run.trigger, run.unasked) == (State.COMPLETE, "errors-high", True)
        assert [one.id for one in looked.runs] == [run.id]
        assert run.plan["requester"] == AGENT
        (authorized,) = told(agent.site, "run.authorized")
        assert authorized.data == {"by": [], "unasked": True}
    assert (here.shop.tree / "config" / "app.yaml").read_text().startswith("# settings")


@pytest.mark.parametrize(
    ("edits", "why"),
    [
        ({"current: 4": "current: 3"}, "at autonomy 3 a person confirms"),
        (
            {"metrics:\n": "environments:\n  production: {confirm: true}\nmetrics:\n"},
            "in production a person confirms",
        ),
        (
            {"authority: {roles: [op], alone: true}\n    target": "authority: {roles: [lead]}\n    target"},
            "nobody may start it alone",
        ),
        ({"respond: {roll_back: config}}\n  - {id: slow": "respond: {roll_back: full}}\n  - {id: slow"},
         "more than one person's yes"),
        ({"respond: {roll_back: config}}\n  - {id: slow":
          "respond: {roll_back: full}, automatic: true}\n  - {id: slow"}, "more than one person's yes"),
        ({"authority: {roles: [op], alone: true}\n    target":
          "authority: {roles: [lead], alone: true, count: 2}\n    target"}, "more than one person's yes"),
    ],
)  # fmt: skip
def test_what_a_person_has_to_confirm_is_only_asked_for(
    tmp_path: Path, edits: dict[str, str], why: str
) -> None:
    """By autonomy, by environment, by a level that nobody starts alone, by a quorum."""
    here = place(tmp_path, edits=edits)
    before = here.shop.bytes()
    with here.agent() as agent:
        here.read(errors=0.5)
        before = here.shop.bytes()
        here.tick(agent, 3)
        (run,) = runs(agent.site)
        assert run.state is State.WAITING
        assert run.waiting_for["on"] == "approval"
        (planned,) = told(agent.site, "run.planned")
        assert why in str(planned.data["asked_because"])
    assert here.shop.bytes() == before


@pytest.mark.requirement("MB-01")
def test_an_automatic_trigger_acts_although_others_are_confirmed(tmp_path: Path) -> None:
    """It is declared so, and part of what people trust."""
    here = place(tmp_path, edits={
        "current: 4": "current: 3",
        "when: {metric: errors, above: 10%}, respond: {roll_back: config}":
            "when: {metric: errors, above: 10%}, respond: {roll_back: config}, automatic: true",
    })  # fmt: skip
    with here.agent() as agent:
        here.read(errors=0.1)
        assert here.tick(agent).decision.respond == "hold"
        here.read(errors=0.101)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]


@pytest.mark.requirement("QL-02")
def test_without_the_right_nothing_is_begun_and_that_is_said_once(tmp_path: Path) -> None:
    """At autonomy 2 the agent looks, and tells a person to look."""
    here = place(tmp_path, edits={"current: 4": "current: 2"})
    with here.agent() as agent:
        here.read(errors=0.5)
        looked = here.tick(agent, 5)
        assert looked.person
        assert "not roll-back" in looked.held
        assert runs(agent.site) == []
        assert len(told(agent.site, "agent.held")) == 1


def test_an_approval_is_taken_up_at_the_next_tick(tmp_path: Path) -> None:
    """The person only says yes; nobody types `run` or `resume`."""
    here = place(tmp_path, edits={"current: 4": "current: 3"})
    with here.agent() as agent:
        here.read(errors=0.5)
        here.tick(agent)
        (run,) = runs(agent.site)
        authorize.approve(agent.site, run, person="ada")
        here.read(errors=0.0)
        looked = here.tick(agent)
        assert [one.state for one in looked.runs] == [State.COMPLETE]


@pytest.mark.requirement("QL-51")
@pytest.mark.parametrize(
    ("seen", "begun"),
    [("FFSFF", 0), ("FFF", 1), ("FFSFFF", 1), ("FFUFF", 0), ("FFUFFF", 1), ("SSS", 0)],
)
def test_as_many_ticks_in_a_row_as_declared_begin_something(
    tmp_path: Path, seen: str, begun: int
) -> None:
    """A success, and a reading that nobody has, begin the row anew; the count is said."""
    here = place(tmp_path, edits={"threshold: 1": "threshold: 3", "current: 4": "current: 3"})
    with here.agent() as agent:
        for letter in seen:
            here.read(errors={"F": 0.5, "S": 0.0, "U": None}[letter], slow=0.0)
            looked = here.tick(agent)
            if letter == "F" and looked.row < 3:
                assert looked.held == f"{looked.row} of 3 in a row"
        assert len(runs(agent.site)) == begun


def test_the_row_goes_on_over_calls_from_cron(tmp_path: Path) -> None:
    """Each is a process of its own; a gap begins it anew."""
    here = place(tmp_path, edits={"threshold: 1": "threshold: 3", "current: 4": "current: 3"})
    here.read(errors=0.5)
    rows = []
    for gap_s in (60.0, 60.0, 400.0, 60.0, 60.0):
        with here.agent() as agent:
            rows.append(here.tick(agent, every_s=gap_s).row)
            begun = len(runs(agent.site))
    assert (rows, begun) == ([1, 2, 1, 2, 3], 1)


def test_nothing_is_begun_on_what_is_unknown(tmp_path: Path) -> None:
    """No reading, and a rule of which nobody can tell whether it holds: a person is called, once."""
    here = place(tmp_path, edits={"threshold: 1": "threshold: 2"})
    here.read(errors=None, slow=None)
    with here.agent() as agent:
        assert not here.tick(agent).person
        looked = here.tick(agent, 5)
        assert looked.person
        assert [e.data["because"] for e in told(agent.site, "agent.held")] == [
            "nobody can tell: errors, slow UNKNOWN"
        ]
        assert looked.decision.respond == "escalate"
        assert looked.decision.unknown == ("errors", "slow")
        assert runs(agent.site) == []


def test_equal_decisions_are_one_entry_that_says_how_many(here: Place) -> None:
    """A day of every second would be 86,400 entries; an hour of equal ones is one."""
    with here.agent() as agent:
        here.tick(agent, 30)
        assert len(told(agent.site, "decision.taken")) == 1
        here.read(errors=0.05)
        here.tick(agent, 15)
        assert len(told(agent.site, "decision.taken")) == 1
        here.tick(agent, 20)
        first, second = told(agent.site, "decision.taken")
        assert first.data["ticks"] == 0
        assert 58 <= int(str(second.data["ticks"])) <= 61
        assert second.data["between"]["errors"] == [0.0, 0.05]
        assert second.data["samples"]
        here.read(errors=None)
        here.tick(agent)
        third = told(agent.site, "decision.taken")[2]
        assert third.data["unknown"] == ["errors"]
        agent.ended("test")
        (stopped,) = told(agent.site, "agent.stopped")
        assert stopped.data["ticks"] == 0


def test_what_lasts_is_judged_on_the_ticks(tmp_path: Path) -> None:
    """Ten minutes above the limit, seen by the agent alone and over a restart; a gap begins it anew."""
    here = place(tmp_path, edits={"metric: errors, above: 10%}": "metric: errors, above: 10%, for: 10m}",
                                  "current: 4": "current: 3"})  # fmt: skip
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 6)
        assert runs(agent.site) == []
    with here.agent() as agent:
        here.tick(agent, 4)
        assert runs(agent.site) == []
        here.tick(agent)
        assert len(runs(agent.site)) == 1


@pytest.mark.parametrize("part", ["readings", "upkeep", "open runs", "drills"])
def test_a_part_that_fails_is_said_once_and_the_others_go_on(
    here: Place, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its readings cannot be kept, or something raises what nobody expects: deciding goes on."""
    broken = here.shop.folder / ".rollback" / "watch" / "ticks.jsonl"
    others = {"upkeep": agent_.__name__ + ".upkeep", "open runs": reacting.__name__ + ".go_on",
              "drills": due.__name__ + ".drills"}  # fmt: skip

    def fails(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    with here.agent() as agent:
        here.tick(agent)
        with monkeypatch.context() as patched:
            if part == "readings":
                broken.unlink()
                broken.mkdir()
            else:
                patched.setattr(others[part], fails)
            for _ in range(4):
                assert list(here.tick(agent).failed) == [part]
        (failed,) = told(agent.site, "agent.failed")
        assert failed.data["part"] == part
        assert failed.data["error"]
        if part == "readings":
            broken.rmdir()
        here.read(errors=0.5)
        assert not here.tick(agent).failed
        assert [event.data["part"] for event in told(agent.site, "agent.recovered")] == [part]
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]


def test_a_journal_that_cannot_be_written_ends_nothing(here: Place) -> None:
    """The tick says so; when it is there again, the watching goes on."""
    journal = here.shop.journal
    with here.agent() as agent:
        here.tick(agent)
        whole = journal.read_bytes()
        journal.write_bytes(whole.replace(b"decision.taken", b"decision.token"))
        looked = here.tick(agent, 2)
        assert "damaged" in looked.failed["decision"]
        journal.write_bytes(whole)
        here.read(errors=0.5)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]


def test_one_agent_watches_a_system(here: Place) -> None:
    """A second one is refused, with who the first is; a call from cron too."""
    with here.shop.site() as site, alone(site):
        for words in (["monitor"], ["monitor", "--once"]):
            ended = rollback(here.shop.folder, *words)
            assert ended.status == 5
            assert f"another agent watches this system already: process {os.getpid()}" in ended.err
    assert rollback(here.shop.folder, "monitor", "--once").status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(here: Place, number: signal.Signals) -> None:
    """Status 0, with a last entry in the journal; every tick was a line of JSON."""
    argv = [sys.executable, "-c", "from rollback.cli import main; main()", "--json", "monitor"]
    agent = subprocess.Popen(argv, cwd=here.shop.folder, stdout=subprocess.PIPE, text=True,
                             env=environment())  # fmt: skip
    assert agent.stdout is not None
    first = json.loads(agent.stdout.readline())
    assert (first["respond"], first["failed"]) == ("hold", {})
    agent.send_signal(number)
    assert agent.wait(60) == 0
    agent.stdout.close()
    with here.shop.site() as site:
        (stopped,) = told(site, "agent.stopped")
        assert stopped.data["because"] == number.name


def test_a_drill_that_is_overdue_is_noticed_once_each_time(tmp_path: Path) -> None:
    """At once where none was ever held, then each month; one that was held begins the time anew."""
    here = place(tmp_path, edits={
        "monitor:": "drills:\n  - {id: leak, fault: errors, level: flag, every: 30d}\nmonitor:"})  # fmt: skip
    with here.agent() as agent:
        here.tick(agent, 29, every_s=86_400.0)
        assert [e.data["drill"] for e in told(agent.site, "drill.overdue")] == ["leak"]
        here.tick(agent, 5, every_s=86_400.0)
        assert len(told(agent.site, "drill.overdue")) == 2
        tell_event(agent.site, "drill", {"id": "leak", "passed": "true"}, by="ada")
        here.tick(agent, 29, every_s=86_400.0)
        assert len(told(agent.site, "drill.overdue")) == 2
        here.tick(agent, 5, every_s=86_400.0)
        assert len(told(agent.site, "drill.overdue")) == 3


def test_scheduled_checkpoints_are_taken_by_the_tick(tmp_path: Path) -> None:
    """Each once, while nothing else is called for."""
    hourly = "hourly: {on: schedule, every: 1h, retention: 7d}"
    here = place(tmp_path, edits={"monitor:": f"checkpoints:\n  kinds:\n    {hourly}\nmonitor:"})
    with here.agent() as agent:
        here.tick(agent, 13, every_s=600.0)
        kinds = [one.kind for one in agent.site.checkpoints.list()]
        assert kinds.count("hourly") == 3


def test_a_person_who_must_look_is_told_once_and_status_says_it(tmp_path: Path) -> None:
    """By the messages that are declared for it; status names who watches, and why a person must look."""
    box = "notify:\n  channels: {box: {file: {path: box.jsonl}}}\n  audiences: {ops: [box]}\n  messages:\n"
    text = '    look: {audience: ops, on: [held], text: "{reason}; {decision}"}\nmonitor:'
    here = place(tmp_path, edits={"monitor:": box + text, "current: 4": "current: 2"})
    with here.agent() as agent, alone(agent.site):
        here.read(errors=0.5)
        here.tick(agent, 3)
        (sent,) = (here.shop.folder / "box.jsonl").read_text().splitlines()
        assert "roll back at config cannot be begun" in json.loads(sent)["text"]
        told_ = rollback(here.shop.folder, "status").out
        assert f"an agent watches: process {os.getpid()}" in told_
        assert "the agent needs a person: roll back at config cannot be begun" in told_
    assert "an agent watches" not in rollback(here.shop.folder, "status").out


def test_what_if_replays_the_ticks(tmp_path: Path) -> None:
    """A minute of them above the limit is one alert, although the journal has but two entries."""
    here = place(tmp_path, edits={"current: 4": "current: 3"})
    with here.agent() as agent:
        here.tick(agent, 10)
        here.read(errors=0.5)
        here.tick(agent, 5)
        here.read(errors=0.0)
        here.tick(agent, 5)
        found = from_journal(agent.site)
    assert found.moments == 20
    (alert,) = found.alerts
    assert (alert.trigger, alert.level) == ("errors-high", "config")
    assert 235 <= (alert.until - alert.since).total_seconds() <= 250


@pytest.mark.parametrize("respond", ["escalate: op", "decide: which", "task: look"])
def test_what_the_agent_does_not_do_itself_calls_a_person(tmp_path: Path, respond: str) -> None:
    """A question, a task, somebody to be called: said once, again when it comes back an hour later."""
    more = ("decision:\n  style: most-severe\n  points: {which: {title: Which, asks: op, options: "
            "[{id: a, title: A, respond: {hold: a}}, {id: b, title: B, respond: {hold: b}}]}}\n"
            "follow_ups: {tasks: {look: {title: Look}}}\n"
        "notify: {ladders: {op: {rungs: [{role: op, within: 1m}]}}}\nmonitor:")  # fmt: skip
    rule = "when: {metric: errors, above: 10%}, respond: {"
    here = place(tmp_path, edits={"monitor:": more, f"{rule}roll_back: config": f"{rule}{respond}"})
    with here.agent() as agent:
        for _ in range(2):
            here.read(errors=0.5)
            assert "errors-high calls for a person" in here.tick(agent, 5).held
            here.read(errors=0.0)
            here.tick(agent, 70)
        assert len(told(agent.site, "agent.held")) == 2
        assert runs(agent.site) == []


def test_a_run_that_was_killed_with_its_agent_goes_on_with_the_next(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the agent's own; one of a person's that was interrupted is left to them."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    here.read(errors=0.5)
    with here.agent() as agent, monkeypatch.context() as patched:
        patched.setattr(reacting, "drive", killed)
        with pytest.raises(KeyboardInterrupt):
            here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.PLANNED]
    with here.agent() as agent:
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]
        here.break_it()
        authorize.create(agent.site, here.shop.plan(agent.site, "config"))
        here.tick(agent, 3)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE, State.PLANNED]


@pytest.mark.parametrize("red", ["no target", "no proof", "not built"])
def test_a_level_that_is_not_ready_is_not_chosen_and_why_is_said(tmp_path: Path, red: str) -> None:
    """Nothing to go back to, a gate that could not open, a step that is not built; put right, it is."""
    gate = "gate: {suites: [smoke]}\n  pages:"
    edits = {
        "no target": {"sources: [{checkpoint: last-good}]}\n    steps: [{restore: {component: config}}]":
                      "sources: [{checkpoint: nowhere}]}\n    steps: [{restore: {component: config}}]"},
        "no proof": {gate: gate.replace("smoke", "functional")},
        "not built": {"steps: [{restore: {component: config}}]":
                      "steps: [{restore: {component: config}}, "
                      "{planned: {kind: x, with: {}, missing: a machine}}]"},
    }[red]  # fmt: skip
    here = place(tmp_path, edits=edits)
    before = here.shop.bytes()
    here.read(errors=0.5)
    with here.agent() as agent:
        looked = here.tick(agent, 3)
        assert runs(agent.site) == []
        assert looked.person
        wanted = {"no target": "no valid target", "no proof": "it could not open",
                  "not built": "not built yet"}[red]  # fmt: skip
        assert "roll back at config cannot be begun" in looked.held
        assert wanted in looked.held
        entry = told(agent.site, "decision.taken")[-1]
        assert entry.data["level"] == "config"
        assert wanted in str(entry.data["blocked"])
        assert len(told(agent.site, "agent.held")) == 1
    assert here.shop.bytes().keys() == before.keys()
    for old, new in edits.items():
        here.shop.edit(new, old)
    with here.agent() as agent:
        here.tick(agent, 2)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]


def test_people_who_are_only_not_there_now_are_asked_all_the_same(tmp_path: Path) -> None:
    """The request is open when their hours begin."""
    here = place(tmp_path, edits={
        "authority: {roles: [op], alone: true}\n    target": "authority: {roles: [lead]}\n    target",
        "lead: {title: Lead}": 'lead: {title: Lead, hours: {days: [mon], hours: "03:00-03:01"}}',
    })  # fmt: skip
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent)
        (run,) = runs(agent.site)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "approval")
