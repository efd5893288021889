"""What had to happen by a declared time: not before, not twice, and never done by itself."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize, deadlines
from rollback.act.afterwards import settle, write_report
from rollback.act.deciding import decide_now
from rollback.act.driving import drive
from rollback.act.stopping import abort, answer
from rollback.act.told import tell_event
from rollback.model.lifecycle import State
from tests.cli.program import rollback
from tests.watch.places import Place, place, runs, told

BOX = """notify:
  channels: {box: {file: {path: box.jsonl}}}
  audiences: {leads: [box]}
  messages: {late: {audience: leads, on: [overdue], text: "{trigger}: longer than {urgency}; {reason}"}}
monitor:"""
# The run's own two clocks are of another test: here they have time.
LONG = {"budgets: {mitigated: 1m, complete: 5m}\n    data_loss: settings":
        "budgets: {mitigated: 10h, complete: 20h}\n    data_loss: settings"}  # fmt: skip
ASKED = {"current: 4": "current: 3", "monitor:": BOX, **LONG}
URGENT = {**ASKED, "above: 10%}, respond: {roll_back: config}}":
          "above: 10%}, respond: {roll_back: config}, urgency: 15m}"}  # fmt: skip


def late(here: Place, kind: str = "") -> list[str]:
    """What is overdue in the journal, of this kind."""
    with here.shop.site() as site:
        events = told(site, deadlines.KIND)
    return [str(e.data["of"]) for e in events if not kind or e.data["of"] == kind]


def sent(here: Place) -> list[str]:
    """What people were told."""
    box = here.shop.folder / "box.jsonl"
    return (
        [json.loads(line)["text"] for line in box.read_text().splitlines()] if box.exists() else []
    )


@pytest.mark.requirement("PM-20")
def test_a_recommendation_that_nobody_acts_on_in_its_window_is_overdue(tmp_path: Path) -> None:
    """At its edge not yet, then once; the request stays open, and others than those asked are told."""
    here = place(tmp_path, edits=URGENT)
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 15)
        assert late(here) == []
        here.tick(agent, 40)
        assert late(here) == ["urgency"]
        (said,) = sent(here)
        assert said.startswith(
            "errors-high: longer than 15 min; errors-high wanted somebody to act"
        )
        (run,) = runs(agent.site)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "approval")


def test_status_says_what_is_overdue_without_an_agent(tmp_path: Path) -> None:
    """Whoever looks finds it; nothing is written."""
    here = place(tmp_path, edits={**URGENT, "urgency: 15m}": "urgency: 1ms}"})
    here.read(errors=0.5)
    with here.shop.site() as site:
        decide_now(site)
    (shown,) = json.loads(rollback(here.shop.folder, "--json", "status").out)["overdue"]
    assert (shown["of"], shown["trigger"], shown["level"]) == ("urgency", "errors-high", "config")
    assert "overdue: errors-high wanted somebody" in rollback(here.shop.folder, "status").out
    assert late(here) == []


@pytest.mark.parametrize("how", ["approved", "refused", "over", "by hand", "well and ill again"])
def test_what_was_answered_or_is_over_is_not_overdue(tmp_path: Path, how: str) -> None:
    """Somebody said yes or no, began it by hand, or nothing calls for it any more: the time is new."""
    here = place(tmp_path, edits=URGENT)
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 10)
        (run,) = runs(agent.site)
        if how == "approved":
            authorize.approve(agent.site, run, person="ada")
        elif how in ("refused", "by hand"):
            abort(agent.site, run, by="ada", reason="no")
        if how == "by hand":
            begun = authorize.create(agent.site, here.shop.plan(agent.site, "config"))
            authorize.approve(agent.site, begun, person="ada")
            drive(agent.site, begun, wait=False)
        if how in ("over", "well and ill again"):
            here.read(errors=0.0)
            here.tick(agent)
        if how == "well and ill again":
            here.read(errors=0.5)
            here.tick(agent, 14)
            assert late(here) == []
            return
        here.tick(agent, 30)
    assert late(here) == []


@pytest.mark.parametrize("how", ["begun before it was called for", "at a lower level"])
def test_a_run_that_ends_complete_leaves_nothing_overdue_that_was_called_for_before(
    tmp_path: Path, how: str
) -> None:
    """Proved well, nobody can act on what was called for; a decision that says it again has its old time."""
    short = {**URGENT, "urgency: 15m}": "urgency: 1ms}"}
    if how == "at a lower level":
        short["respond: {roll_back: config}, urgency: 1ms}"] = (
            "respond: {roll_back: full}, urgency: 1ms}"
        )
    here = place(tmp_path, edits=short)
    here.read(errors=0.5)
    with here.shop.site() as site:
        if how == "at a lower level":
            decide_now(site)
        run = authorize.create(site, here.shop.plan(site, "config"))
        if how != "at a lower level":
            here.read(errors=0.5)
            decide_now(site)
        here.shop.clock.ahead_s += 1.0
        assert [one.of for one in deadlines.overdue(site)] == ["urgency"]
        (before,) = deadlines.overdue(site)
        authorize.approve(site, run, person="ada")
        assert drive(site, run, wait=False).state is State.COMPLETE
        assert deadlines.overdue(site) == ()
        decide_now(site)
        if how == "at a lower level":
            assert deadlines.overdue(site) == (before,)


def test_what_waits_on_is_overdue_although_another_run_ended_complete(tmp_path: Path) -> None:
    """A request that is still open can still be answered."""
    here = place(tmp_path, edits={**START, "start: 5m": "start: 1ms"})
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 2)
        (asked,) = runs(agent.site)
        assert asked.state is State.WAITING
        run = authorize.create(agent.site, here.shop.plan(agent.site, "flag"))
        authorize.approve(agent.site, run, person="ada")
        assert drive(agent.site, run, wait=False).state is State.COMPLETE
        assert [one.of for one in deadlines.overdue(agent.site)] == ["start"]


def test_a_clock_that_is_set_moves_no_deadline(tmp_path: Path) -> None:
    """An hour forward is no hour of waiting; a year back does not stop the time."""
    here = place(tmp_path, edits=URGENT)
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 5)
        here.shop.clock.wrong_s += 3600.0
        here.read(errors=0.5)
        here.tick(agent, 5)
        assert late(here) == []
        here.shop.clock.wrong_s -= 366 * 86_400.0
        here.read(errors=0.5)
        here.tick(agent, 10)
        assert late(here) == ["urgency"]


# -- from detection to the first step -----------------------------------------------------------

START = {**ASKED, "budgets: {mitigated: 1m, complete: 5m}\n    data_loss: settings":
         "budgets: {start: 5m, mitigated: 10h, complete: 20h}\n    data_loss: settings"}  # fmt: skip


def clock_of(here: Place, name: str) -> tuple[dict[str, Any], str]:
    """One clock of the last run's report, and its line."""
    with here.shop.site() as site:
        run = site.run("last")
        write_report(site, run)
        folder = site.run_folder(run.id)
    shown = {"start": "detected to first step", "recovery": "until everybody works"}[name]
    lines = (folder / "report.md").read_text().splitlines()
    found = [line for line in lines if line.startswith(f"| {shown} |")]
    return json.loads((folder / "report.json").read_text())["clocks"][name], "".join(found)


@pytest.mark.requirement("AW-12")
@pytest.mark.parametrize(("minutes", "word"), [(3, "within budget"), (9, "over budget")])
def test_from_detection_to_execution_is_measured_and_its_breach_is_said(
    minutes: int, word: str, tmp_path: Path
) -> None:
    """In the report beside its five minutes; over them it is an event, and people are told, once."""
    here = place(tmp_path, edits=START)
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 1 + minutes)
        (run,) = runs(agent.site)
        authorize.approve(agent.site, run, person="ada")
        here.tick(agent)
        assert runs(agent.site)[0].state is State.COMPLETE
    assert late(here) == (["start"] if minutes > 5 else [])
    assert len(sent(here)) == len(late(here))
    clock, line = clock_of(here, "start")
    assert clock["budget_s"] == 300.0
    assert 60.0 * minutes <= clock["took_s"] <= 60.0 * (minutes + 2)
    assert word in line


def test_what_was_begun_by_hand_was_detected_by_nobody(tmp_path: Path) -> None:
    """No decision called for it: there is no such time, and none is invented."""
    here = place(tmp_path, edits=START)
    with here.shop.site() as site:
        run = authorize.create(site, here.shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        settle(site, drive(site, run, wait=False))
    assert clock_of(here, "start")[0] == {"took_s": None, "budget_s": 300.0, "approximate": False}


# -- until everybody works again ------------------------------------------------------------------

RECOVERY = {"budgets: {mitigated: 1m, complete: 5m}\n    data_loss: settings":
            "budgets: {mitigated: 10h, complete: 20h, recovery: 2h}\n    data_loss: settings",
            "monitor:": BOX}  # fmt: skip
STABLE = {
    "cooldown: 0s}": "cooldown: 0s, stability: {watch: 1h, limits: [{metric: errors, below: 1%}]}}"
}


@pytest.mark.parametrize("stable", [True, False])
def test_until_everybody_works_again_is_measured_to_the_end_of_the_watching(
    tmp_path: Path, stable: bool
) -> None:
    """The gate opened at once; that it held for an hour is what counts where that is declared."""
    here = place(tmp_path, edits={**RECOVERY, **STABLE})
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent)
        assert runs(agent.site)[0].state is State.COMPLETE
        here.read(errors=0.0 if stable else None)
        here.tick(agent, 90)
        assert late(here) == []
        here.tick(agent, 60)
    assert late(here) == ([] if stable else ["recovery"])
    clock, line = clock_of(here, "recovery")
    if stable:
        assert 3600.0 <= clock["took_s"] <= 4000.0
        assert "within budget" in line
    else:
        assert clock["took_s"] is None
        assert "everybody should have worked again" in sent(here)[0]


def test_without_watching_everybody_works_when_the_gate_has_opened(tmp_path: Path) -> None:
    """And a run that stopped there is overdue after its time."""
    here = place(tmp_path, edits=RECOVERY)
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent)
        assert clock_of(here, "recovery")[0]["took_s"] > 0
        here.read(errors=0.0)
        here.tick(agent, 130)
        assert late(here) == []
        here.break_it()
        here.shop.edit("keys: [limit]", "keys: [nowhere]")
    with here.agent() as agent:
        run = authorize.create(agent.site, here.shop.plan(agent.site, "config"))
        authorize.approve(agent.site, run, person="ada")
        assert drive(agent.site, run, wait=False).state is State.NEEDS_OPERATOR
        here.tick(agent, 119)
        assert late(here) == []
        here.tick(agent, 3)
        assert late(here) == ["recovery"]


# -- a choice that nobody makes ---------------------------------------------------------------------

POINT = """decision:
  style: most-severe
  points:
    which:
      title: Which way
      asks: op
      answer_within: 30m
      options:
        - {id: back, title: Back, respond: {roll_back: config}}
        - {id: stay, title: Stay, respond: {hold: Nothing}}
procedures:
  ask: {title: Ask, steps: [{choose: {id: ask, point: which}}]}
notify:"""


@pytest.fixture
def asking(tmp_path: Path) -> Place:
    """The shop with a decision point that wants an answer within half an hour."""
    return place(tmp_path, edits={"monitor:": BOX.replace("notify:", POINT, 1)})


def test_a_step_that_asks_and_gets_no_answer_is_overdue_and_stays(asking: Place) -> None:
    """No option is taken; a choice that comes late counts all the same."""
    with asking.agent() as agent:
        run = authorize.create(agent.site, asking.shop.plan(agent.site, "ask"))
        run = drive(agent.site, run, wait=False)
        asking.tick(agent, 29)
        assert late(asking) == []
        asking.tick(agent, 10)
        assert late(asking) == ["choice"]
        assert "op should have chosen in run r0001: Which way" in sent(asking)[0]
        run = agent.site.run(run.id)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "answer")
        answer(agent.site, run, item="ask", text="stay", by="ada")
        asking.tick(agent, 40)
        assert agent.site.run(run.id).state is State.MITIGATED
        assert late(asking) == ["choice"]


def test_a_trigger_that_asks_people_has_the_time_of_its_point(asking: Place) -> None:
    """Whether the agent saw it, or somebody who typed decide."""
    asking.shop.edit(
        "above: 10%}, respond: {roll_back: config}}", "above: 10%}, respond: {decide: which}}"
    )
    asking.read(errors=0.5)
    with asking.shop.site() as site:
        assert decide_now(site).what == "which"
        asking.shop.clock.ahead_s += timedelta(minutes=29).total_seconds()
        assert deadlines.tell(site) == ()
        asking.shop.clock.ahead_s += 61.0
        (one,) = deadlines.tell(site)
        assert (one.of, one.within_s) == ("choice", 1800.0)
        assert deadlines.tell(site) == ()
        assert runs(site) == []


def test_an_event_that_is_told_again_has_one_time(tmp_path: Path) -> None:
    """A trigger on an event that comes back while it still counts is one row."""
    here = place(tmp_path, edits={**ASKED, "within: 1h}, respond: {roll_back: config}}":
                                  "within: 1h}, respond: {roll_back: config}, urgency: 10m}"})  # fmt: skip
    with here.agent() as agent:
        for _ in range(4):
            tell_event(agent.site, "veto", {"reason": "x"}, by="ada")
            here.tick(agent, 5)
    assert late(here) == ["urgency"]
