"""Declared checklists, item by item: bound to what shows it, filled live, holding up what it gates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import checklist, deadlines, starting
from rollback.act.plan import Plan, PlannedStep
from rollback.act.scene import Target
from rollback.act.site import Site
from rollback.act.stopping import answer
from rollback.host import Host
from rollback.model.errors import PlanError
from rollback.model.level import ChecklistItem, Level
from rollback.model.lifecycle import Run, State
from rollback.model.registry import Kind, Planned
from tests.cli.program import typed
from tests.systems import Hands

SYSTEMS = Path(__file__).parents[2] / "systems"


class Declared:
    """A level of one of the larger systems, and a run of it that did nothing yet."""

    def __init__(self, site: Site, level: str) -> None:
        self.site = site
        self.level: Level = site.system.levels[level]
        steps = [one for one in self.level.steps if _variant(one) in (None, self.level.variant)]
        self.plan = Plan(
            system=site.system.system.id, system_digest=site.system.digest, policy="", host="",
            tool="", level=level, title=self.level.title, procedure=False, rank=self.level.rank,
            variant=self.level.variant or "", component="", environment="production",
            target=Target(), stamp={}, steps=tuple(map(_planned, steps, range(1, 99))),
            gate=self.level.gate.model_dump(mode="json") if self.level.gate else {},
            impact={"data_loss": "", "files": 0, "lost_commits": [], "open_items": {}, "dependents": []},
            requester="", reason="",
        )  # fmt: skip
        body = {"plan": self.plan.as_json(), "plan_digest": "0", "incident": "i0001"}
        site.journal.append("run.planned", run="r0001", data=body)
        self.note("run.authorized")

    @property
    def run(self) -> Run:
        return self.site.run("r0001")

    def note(self, kind: str, **data: Any) -> None:
        self.site.note(self.run, kind, **data)

    def items(self, gates: str) -> list[ChecklistItem]:
        return [one for one in self.level.checklist if one.gates == gates]

    def done(self) -> set[str]:
        """The ids of the items that the journal says are done, after it was filled."""
        checklist.fill(self.site, self.run, self.plan)
        told = {e.data["id"]: e.data for e in self.site.journal.events()
                if e.kind == "checklist.item"}  # fmt: skip
        assert all(one["evidence"] for one in told.values())
        return {str(key) for key, one in told.items() if one["done"]}

    def step(self, step: PlannedStep) -> None:
        """It began and ended, as a step says it that asked checks."""
        self.note("step.began", index=step.index, id=step.id, action=step.kind)
        asked = dict.fromkeys(step.parameters.get("checks", ()), "well")
        self.note("step.ended", index=step.index, id=step.id, evidence=asked)
        if step.kind == "notify":
            self.note("message.queued", name=step.parameters["message"], id=step.id)

    def suite(self, **answers: str) -> None:
        self.note("suite.ended", suite="smoke", open=True, reasons=[], passed=1, failed=0,
                  findings={key: {"outcome": one} for key, one in answers.items()})  # fmt: skip


def _variant(step: Kind) -> object:
    return step.parameters.get("variant") if isinstance(step, Planned) else step.variant  # type: ignore[attr-defined]


def _planned(step: Kind, number: int) -> PlannedStep:
    known = dict(step.parameters) if isinstance(step, Planned) else {}
    names = ("id", "checks", "record", "point", "message")
    given = {name: known.get(name, getattr(step, name, None)) for name in names}
    kind = step.planned_kind if isinstance(step, Planned) else step.kind
    return PlannedStep(str(number), str(given["id"]), kind,
                       {**given, "checks": [*(given["checks"] or ())]},
                       {}, (), 1.0, False, (), "production")  # fmt: skip


@contextmanager
def declared(
    folder: Path, system: str, level: str, clock: Hands | None = None
) -> Iterator[Declared]:
    """A level of a system, opened in a folder of its own."""
    file = folder / "rollback.yaml"
    file.write_bytes((SYSTEMS / f"{system}.yaml").read_bytes())
    with Site.open(declare.load(file, environ={}), Host(clock=clock or Hands())) as site:
        yield Declared(site, level)


@pytest.mark.parametrize(
    ("level", "count"),
    [
        pytest.param("configuration", 7, marks=pytest.mark.requirement("PM-40")),
        pytest.param("code", 9, marks=pytest.mark.requirement("PM-52")),
        pytest.param("full", 13, marks=pytest.mark.requirement("PM-64")),
    ],
)
def test_each_item_waits_for_what_it_is_bound_to_and_the_last_one_lets_complete(
    tmp_path: Path, level: str, count: int
) -> None:
    """One source after another comes true: exactly its items are done, and no COMPLETE before the last."""
    with declared(tmp_path, "party_mode", level) as it:
        assert len([one for one in it.level.checklist if not one.follow_up]) == count
        items, mine = it.items("complete"), set[str]()
        for one in it.items("start"):
            assert one.id in {open_.id for open_ in starting.open_items(it.site, it.run, it.plan)}
            who = next(m.id for m in it.site.system.people.members if one.attest in m.roles)
            answer(it.site, it.run, item=one.id, text="yes", by=who)
            left = starting.open_items(it.site, it.run, it.plan)
            assert one.id not in {open_.id for open_ in left}
        it.note("run.protected", checkpoint="")
        it.note("run.started")
        for step in it.plan.steps:
            it.step(step)
            new = {one.id for one in items if one.step == step.id}
            asked = step.parameters.get("checks") or () if step.kind == "verify" else ()
            new |= {one.id for one in items if one.check in asked}
            mine |= new
            assert it.done() - {one.id for one in it.items("start")} == mine
        it.note("run.mitigated")
        answers: dict[str, str] = {}
        for one in (item for item in items if item.id not in mine):
            assert checklist.keeps_closed(it.site, it.run, it.plan)
            it.suite(**{**answers, str(one.check): "fail"})
            assert one.id not in it.done()
            answers[str(one.check)] = "pass"
            it.suite(**answers)
            assert one.id in it.done()
        assert checklist.keeps_closed(it.site, it.run, it.plan) == []


@pytest.mark.requirement("AW-68")
def test_the_checklist_of_the_release_fills_while_its_steps_are_taken(tmp_path: Path) -> None:
    """Each of six lines stands in the journal right after the step that shows it, before mitigation."""
    with declared(tmp_path, "ai_workflow", "release") as it:
        during = ["saved", "restored", "files", "syntax", "restarted", "smoke"]
        assert [one.id for one in it.items("complete")][:6] == during
        it.note("run.protected", checkpoint="")
        it.note("run.started")
        seen: list[str] = []
        for step in it.plan.steps:
            it.step(step)
            seen += sorted(it.done() & {*during} - {*seen}, key=during.index)
        assert seen == during
        assert "run.mitigated" not in it.run.moments


def well(it: Declared) -> None:
    """The run went well: every step, every check that is asked, a gate that opened."""
    it.note("run.protected", checkpoint="")
    it.note("run.started")
    for step in it.plan.steps:
        it.step(step)
    it.note("run.mitigated")
    it.suite(**{one.check: "pass" for one in it.level.checklist if one.check})
    it.note("gate.opened", notes=[], known_red=[], reason="")
    checklist.fill(it.site, it.run, it.plan, whole=True)
    assert it.run.state is State.COMPLETE
    assert checklist.keeps_closed(it.site, it.run, it.plan) == []


def papers(it: Declared) -> dict[str, bool]:
    """What holds the closing up, and whether it is overdue."""
    return {one.id: one.overdue for one in checklist.papers(it.site)}


def closed(it: Declared) -> bool:
    return any(event.kind == "incident.closed" for event in it.site.journal.events())


@pytest.mark.requirement("AW-69")
def test_what_is_open_an_hour_after_the_release_is_overdue_and_the_last_word_closes(
    tmp_path: Path,
) -> None:
    """Six lines: two that the gate has seen, four that somebody says or sends within 60 minutes."""
    clock = Hands()
    with declared(tmp_path, "ai_workflow", "release", clock) as it:
        well(it)
        assert {"knowledge", "logs"} <= it.done()
        assert papers(it) == dict.fromkeys(("users-told", "access", "speed", "meeting"), False)
        clock.ahead_s = 59 * 60
        assert not any(papers(it).values())
        clock.ahead_s = 60 * 60 + 1
        assert all(papers(it).values())
        late = deadlines.tell(it.site)
        assert {one.id for one in late} >= {f"item:r0001:{name}" for name in papers(it)}
        assert deadlines.tell(it.site) == ()
        body = json.loads(typed(tmp_path, "status", "--json").out)  # by the clock of this machine
        assert {one["id"]: one["hint"] for one in body["paper"]} == {
            "users-told": "", "access": "rollback answer r0001 access yes",
            "speed": "rollback answer r0001 speed yes", "meeting": "rollback answer r0001 meeting yes",
        }  # fmt: skip
        assert not any(one["overdue"] for one in body["paper"])
        it.note("message.queued", name="all-clear", id="x")
        for item, person in (("access", "on-call-rota"), ("speed", "qa-lead-1")):
            answer(it.site, it.run, item=item, text="yes", by=person)
            assert not closed(it)
        assert papers(it) == {"meeting": True}
        with pytest.raises(PlanError, match="tech-lead"):
            answer(it.site, it.run, item="meeting", text="yes", by="qa-lead-1")
        answer(it.site, it.run, item="meeting", text="yes, on Monday", by="tech-lead-1")
        assert papers(it) == {}
        assert closed(it)
        report = json.loads((it.site.run_folder("r0001") / "report.json").read_text())
        assert all(one["done"] for one in report["checklist"] if one["gates"] != "start")
        answer(it.site, it.run, item="meeting", text="yes, again", by="tech-lead-1")
        assert [e.kind for e in it.site.journal.events()].count("incident.closed") == 1


@pytest.mark.requirement("PM-74")
@pytest.mark.parametrize("level", ["flag", "configuration", "code", "full"])
def test_users_are_looked_after_within_four_hours_or_it_is_overdue(
    tmp_path: Path, level: str
) -> None:
    """Three tasks of the engineer on call; the incident is not closed before the last of them."""
    clock = Hands()
    with declared(tmp_path, "party_mode", level, clock) as it:
        well(it)
        asked = ("complaints", "tickets", "feedback")
        others = [one.id for one in it.items("closing") if one.id not in asked]
        for name, late in ((4 * 3600 - 60, False), (4 * 3600 + 1, True)):
            clock.ahead_s = name
            assert {key: papers(it)[key] for key in asked} == dict.fromkeys(asked, late)
        for item in (*others, *asked):
            assert not closed(it)
            role = "security-architect" if item in others else "on-call-engineer"
            who = next(m.id for m in it.site.system.people.members if role in m.roles)
            answer(it.site, it.run, item=item, text="done", by=who)
        assert closed(it)


def test_an_item_that_rests_on_a_step_of_another_variant_is_not_asked_for(tmp_path: Path) -> None:
    """It could never be done; one that rests on a step of the plan is."""
    with declared(tmp_path, "ai_workflow", "release") as it:
        found = {one.declared.id for one in checklist.look(it.site, it.run, it.plan)}
        assert {"saved", "smoke"} <= found
        quick = replace(it.plan, variant="quick", steps=())
        left = {one.declared.id for one in checklist.look(it.site, it.run, quick)}
        assert found - left == {"saved", "restored", "restarted", "smoke"}
