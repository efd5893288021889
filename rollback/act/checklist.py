"""The checklist of a run: whether each item is done by now, what shows it, and until when it is due.

Items that gate the start are settled before the first step (`starting`). The others fill by themselves
while steps are taken, messages leave and suites answer; what a person says counts at once, also when the
run is over. The incident of a run is closed when the last item that gates the closing is done.

Hides: which event is the evidence of which item, and from when its time counts.
Never: takes an item for done because nobody asked; closes what was not proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback.act import records, starting
from rollback.act.plan import Plan, find_level
from rollback.act.site import Site
from rollback.host.clock import iso, moment_of
from rollback.model.errors import PlanError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.level import ChecklistItem, Level, Procedure
from rollback.model.lifecycle import Run, State
from rollback.model.step import Step

_CHANGES = ("done", "evidence")
REASON = "checklist: "  # how a reason begins that an item is one


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist as it stands. `due` is None without a time, or before that counts."""

    declared: ChecklistItem
    done: bool
    evidence: str
    due: datetime | None = None
    overdue: bool = False

    def data(self) -> dict[str, Json]:
        """As the journal keeps it."""
        one = self.declared
        return {
            "id": one.id, "item": one.item, "done": self.done, "evidence": self.evidence,
            "gates": one.gates, "due_s": one.due, **_rests(one),
        }  # fmt: skip

    @property
    def reason(self) -> str:
        """Why it holds something up, for people."""
        late = f" (overdue since {iso(self.due)[:16]}Z)" if self.overdue and self.due else ""
        return f"{REASON}{self.declared.item}: {self.evidence}{late}"


def look(site: Site, run: Run, plan: Plan) -> tuple[Item, ...]:
    """Every item of the run's level, as it stands now."""
    try:
        _, level = find_level(site, plan.level)
    except PlanError:
        return ()  # a plan that borrows the authority of a level which is declared no more
    if not level.checklist or not starting.of_its_level(plan, level):
        return ()
    mine = [event for event in site.journal.events() if event.run == run.id]
    found = []
    for one in level.checklist:
        if one.step and one.step in _elsewhere(level, plan):
            continue
        done, evidence = _done(site, run, plan, one, mine)
        due = _due(site, run, one)
        late = not done and due is not None and site.host.clock.now() >= due
        found.append(Item(one, done, evidence, due, late))
    return tuple(found)


def fill(site: Site, run: Run, plan: Plan, *, whole: bool = False) -> Run:
    """Every item that has been done meanwhile is in the journal; `whole`: open ones too. Each once."""
    known = _noted(site, run)
    for item in look(site, run, plan):
        before = known.get(item.declared.id)
        if before is None and not item.done and not whole:
            continue
        told = item.data()
        if before is None or any(before.get(key) != told[key] for key in _CHANGES):
            run = site.note(run, "checklist.item", **told)
    return run


def asked(site: Site, item: ChecklistItem) -> str:
    """The role whose word settles the item; "" for one that no word settles."""
    if item.follow_up:
        task = site.system.follow_ups.tasks.get(item.follow_up)
        return (task.owner if task else None) or site.system.people.owner
    return item.attest or ""


def keeps_closed(site: Site, run: Run, plan: Plan) -> list[str]:
    """The open items that gate COMPLETE, as reasons."""
    items = look(site, run, plan)
    return [one.reason for one in items if one.declared.gates == "complete" and not one.done]


def close(site: Site, run: Run) -> bool:
    """The incident of the run is closed in the journal when all that gates it is done. Again: no change.

    False while something is open, the run is not proved, or nothing gates the closing.
    """
    items = [told for told in _noted(site, run).values() if told["gates"] == "closing"]
    if not items or not _well(run) or not all(told["done"] for told in items):
        return False
    if not any(event.kind == "incident.closed" and event.data.get("of") == run.id
               for event in site.journal.events()):  # fmt: skip
        done: list[Json] = [told["id"] for told in items]
        site.tell("incident.closed", incident=run.incident, of=run.id, items=done)
    return True


# -- what is open after a run --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paper:
    """One item that holds the closing of an incident up. `hint` is what a person types; or ""."""

    run: str
    incident: str
    id: str
    item: str
    evidence: str
    due: str | None
    overdue: bool
    hint: str
    due_s: float | None


def papers(site: Site) -> tuple[Paper, ...]:
    """Every item that gates the closing of an incident whose run went well, and is open; oldest first."""
    return tuple(_papers(site))


def _papers(site: Site) -> Iterator[Paper]:
    now = site.host.clock.now()
    for run in site.runs().values():
        if not _well(run) or "checklist.item" not in run.moments:
            continue
        for told in _noted(site, run).values():
            if told["gates"] != "closing" or told["done"]:
                continue
            due_s = told.get("due_s")
            due = _after(site, run, "run.mitigated", due_s)
            yield Paper(
                run.id, run.incident, str(told["id"]), str(told["item"]), str(told["evidence"]),
                iso(due) if due else None, due is not None and now >= due, _hint(run, told),
                float(due_s) if isinstance(due_s, (int, float)) else None,
            )  # fmt: skip


def _hint(run: Run, told: Mapping[str, Json]) -> str:
    if told.get("rests") in ("attest", "follow_up"):
        return f"rollback answer {run.id} {told['id']} yes"
    if told.get("rests") == "record":
        return f"rollback answer {run.id} {told['on']}{records.SEPARATOR}FIELD TEXT"
    return ""


def _well(run: Run) -> bool:
    """True when it ended as it should: proved, or without a gate to pass."""
    return run.state is State.COMPLETE or (run.state is State.MITIGATED and not run.gated)


# -- inside --------------------------------------------------------------------------------


def _rests(item: ChecklistItem) -> dict[str, Json]:
    """What the item rests on: the one source that is declared, and its name."""
    sources = ("check", "step", "message", "attest", "follow_up", "record")
    kind = next(one for one in sources if getattr(item, one) is not None)
    return {"rests": kind, "on": getattr(item, kind)}


def _noted(site: Site, run: Run) -> dict[str, dict[str, Json]]:
    """The items as they were last noted, by id."""
    if "checklist.item" not in run.moments:
        return {}
    return {
        str(event.data["id"]): dict(event.data) for event in site.journal.events()
        if event.run == run.id and event.kind == "checklist.item"
    }  # fmt: skip


def _elsewhere(level: Level | Procedure, plan: Plan) -> set[str]:
    """The steps that belong to another variant than the plan's: what rests on them is not its item."""
    return {
        step.id for step in level.steps
        if isinstance(step, Step) and step.id and step.variant not in (None, plan.variant)
    } - {step.id for step in plan.every_step()}  # fmt: skip


def _due(site: Site, run: Run, item: ChecklistItem) -> datetime | None:
    kind = "run.authorized" if item.gates == "start" else "run.mitigated"
    return _after(site, run, kind, item.due)


def _after(site: Site, run: Run, kind: str, due_s: Json) -> datetime | None:
    if kind not in run.moments or not isinstance(due_s, (int, float)):
        return None
    boot, boot_s, at = run.moments[kind]
    return moment_of(site.host.clock, at, boot, boot_s) + timedelta(seconds=due_s)


def _done(
    site: Site, run: Run, plan: Plan, item: ChecklistItem, mine: list[Event]
) -> tuple[bool, str]:
    if item.step:
        index = next((step.index for step in plan.every_step() if step.id == item.step), "")
        record = run.steps.get(index)
        done = bool(record and record.status == "ended")
        return done, f"step {item.step} is {record.status if record else 'not taken'}"
    noted = [e for e in mine if e.kind == "checklist.item" and e.data.get("id") == item.id]
    if item.gates == "start" and noted:  # settled before the first step, and not asked again
        return bool(noted[0].data["done"]), str(noted[0].data["evidence"])
    if item.message:
        sent = any(e.kind == "message.queued" and e.data.get("name") == item.message for e in mine)
        return sent, f"message {item.message} {'is on its way' if sent else 'was not sent'}"
    if item.check:
        answer = _answered(run, plan, item.check)
        return answer == "pass", f"check {item.check} answered {answer or 'nothing'}"
    if item.record:
        if run.state is not State.RUNNING:  # what is computed is known when the steps are done
            records.collect(site, run, plan, item.record)
        return records.settled(site, run, item.record)
    done, said = starting.answered(site, run, item.id)
    return done, f"{said}; it is for {asked(site, item)} to say"


def _answered(run: Run, plan: Plan, check: str) -> str:
    """What a check said last: in a suite of the gate, or in a step, which ends only on what is wanted."""
    for result in reversed(list(run.suites.values())):
        found = _dict(_dict(result.get("findings")).get(check))
        if found:
            return str(found.get("outcome"))
    wanted = str(_dict(plan.gate.get("expect")).get(check, "pass"))
    for step in plan.every_step():
        record = run.steps.get(step.index)
        if step.kind == "verify" and record is not None and check in record.evidence:
            return wanted if record.status == "ended" else record.status
    return ""


def _dict(value: object) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
