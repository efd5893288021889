"""Records of a run: computed where they can be, said field by field, whole when nothing is blank.

A run that waits for one goes on when it is whole; then, and once, it is in the journal as filled.

Hides: what each `computed:` is taken from.
Never: fills a required field with nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback.act import eyes
from rollback.act.plan import Plan, find_level
from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.model.errors import PlanError, UsageError
from rollback.model.finding import Json
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import Run, elapsed_s
from rollback.model.registry import nearest

if TYPE_CHECKING:  # what a field may hold is known where a record is declared, and read only there
    from rollback.judge.filling import Filled

SEPARATOR = "."
_MOMENTS = {"started-at": "run.planned", "completed-at": "gate.opened"}
_TIMES = {"duration": "run.mitigated", "time-to-complete": "gate.opened"}


def asked_by(site: Site, plan: Plan) -> tuple[str, ...]:
    """The records that the plan's level asks for, or one of its steps, each once."""
    _, level = find_level(site, plan.level)
    found = [*assessment(site, level), *(one.record for one in level.prerequisites if one.record)]
    found += [item.record for item in level.checklist if item.record]
    found += [
        str(step.parameters["record"]) for step in plan.every_step() if step.kind == "collect"
    ]
    found += [
        option.record for step in plan.every_step() if step.kind == "choose"
        for option in site.system.decision.points[str(step.parameters["point"])].options
        if option.record
    ]  # fmt: skip
    return tuple(dict.fromkeys(found))


def assessment(site: Site, level: Level | Procedure) -> tuple[str, ...]:
    """The record that is whole before a level starts, where the decision names one; no emergency waits."""
    if not isinstance(level, Level) or level.emergency:
        return ()
    found = site.system.decision.assessment
    return () if found is None else (found,)


def look(site: Site, run: Run, name: str) -> Filled:
    """What the journal knows of a record in this run."""
    from rollback.judge.filling import Filled, blank

    record = site.system.records[name]
    values: dict[str, Json] = {}
    by: dict[str, str] = {}
    for event in site.journal.events():
        if event.run != run.id:
            continue
        data = event.data
        if event.kind == "record.computed" and data.get("record") == name:
            found = data.get("fields")
            values |= found if isinstance(found, dict) else {}
        elif event.kind == "answer.given" and str(data.get("item")).startswith(name + SEPARATOR):
            key = str(data["item"])[len(name) + 1 :]
            if key in record.fields:
                values[key] = data.get("value")
                by[key] = str(data.get("by"))
    return Filled(values, by, blank(record, values))


def collect(site: Site, run: Run, plan: Plan, name: str) -> Filled:
    """The record with everything computed that can be by now; when whole, it is noted as filled."""
    known = look(site, run, name)
    record = site.system.records[name]
    fresh: dict[str, Json] = {
        key: value
        for key, one in record.fields.items()
        if one.computed and known.values.get(key) is None
        and (value := _computed(site, run, plan, one.computed)) is not None
    }  # fmt: skip
    if fresh:
        site.tell("record.computed", run=run.id, record=name, fields=fresh)
        known = look(site, run, name)
    if not known.blank and not _noted(site, run, name, known):
        site.tell(
            "record.filled", run=run.id, record=name, fields=dict(known.values),
            by=dict[str, Json](known.by),
        )  # fmt: skip
    return known


def say(site: Site, run: Run, plan: Plan, item: str, text: str, *, by: str) -> Run:
    """A person's word for a field is in the journal; `item` is RECORD.FIELD.

    Raises: UsageError when it is not of the field's type; PlanError when there is no such field, or
    somebody else fills it.
    """
    from rollback.judge.filling import may_fill, typed, wanted

    name, _, key = item.partition(SEPARATOR)
    record = site.system.records[name]
    declared = record.fields.get(key)
    if declared is None:
        known = tuple(f"{name}{SEPARATOR}{one}" for one in record.fields)
        raise PlanError(f"record {name} has no field {key}", hint=nearest(item, known))
    holder = next((one for one in site.in_force.people.members if one.id == by), None)
    if not may_fill(record, declared, holder.roles if holder else ()):
        raise PlanError(
            f"{item} is for the role {declared.by or record.by} to say",
            hint=f"add --as somebody who is {declared.by or record.by}",
        )
    try:
        value = typed(declared, text, site.in_force.people)
    except ValueError as error:
        raise UsageError(
            f"{item}: {error}",
            hint=f"{declared.title or key}: rollback answer {run.id} {item} '{wanted(declared)}'",
        ) from None
    return site.note(run, "answer.given", item=item, text=text.strip(), value=value, by=by)


def open_fields(site: Site, run: Run, name: str) -> str:
    """What is blank and how it is said, for people."""
    from rollback.judge.filling import wanted

    record = site.system.records[name]
    fields = [
        f"{name}{SEPARATOR}{key} ({wanted(record.fields[key])})" for key in look(site, run, name).blank
    ]  # fmt: skip
    return f"{', '.join(fields)}: rollback answer {run.id} {name}{SEPARATOR}FIELD TEXT"


def settled(site: Site, run: Run, name: str) -> tuple[bool, str]:
    """Whether the record is whole, and who said it or what it lacks."""
    known = look(site, run, name)
    if known.blank:
        return False, f"record {name} lacks {', '.join(known.blank)}"
    who = sorted(set(known.by.values()))
    return True, f"record {name} is filled" + (f" by {', '.join(who)}" if who else "")


def _noted(site: Site, run: Run, name: str, known: Filled) -> bool:
    last = [
        event.data.get("fields") for event in site.journal.events()
        if event.run == run.id and event.kind == "record.filled" and event.data.get("record") == name
    ][-1:]  # fmt: skip
    return last == [dict(known.values)]


def _computed(site: Site, run: Run, plan: Plan, source: str) -> Json:
    """What is known of it by now; None for what is not, or never is: a person says it then."""
    word, _, name = source.partition(" ")
    if word in _MOMENTS:
        moment = run.moments.get(_MOMENTS[word])
        return moment[2] if moment else None
    if word in _TIMES:
        took = elapsed_s(run, _TIMES[word])
        return took[0] if took else None
    if word == "metric" and name in site.system.metrics:
        from rollback.observe.metric import read_all  # only where a record rests on a metric

        return read_all(eyes.of(site, plan.environment), [name])[name].value
    if word == "suite" and name in run.suites:
        found = run.suites[name]
        return f"{found.get('passed')} passed, {found.get('failed')} failed"
    people: list[Json] = [str(one["person"]) for one in run.approvals if one.get("answer") != "no"]
    plain: dict[str, Json] = {
        "now": iso(site.host.clock.now()), "level": plan.level, "incident": run.incident,
        "target": plan.target.label, "reason": plan.reason, "requester": plan.requester,
        "component": plan.component, "approvals": people,
    }  # fmt: skip
    return plain.get(word) or None
