"""What the fields of a message are filled with: facts of the system, of a run, of its incident.

Everything is read from the declaration and the journal. What is not known is said to be not known;
what has no meaning where the message is sent stays unfilled, and such a message is refused.

Hides: in which event each fact stands.
Never: guesses; says that something was done which the journal does not say was done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rollback.judge.authority import present
from rollback.judge.severity import rules
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import Run, State, elapsed_s
from rollback.model.operations import Message
from rollback.model.quantity import counted, spoken
from rollback.model.system import System
from rollback.model.wording import FIELDS
from rollback.tell.message import moment

UNKNOWN = "not known"
OPEN = ("cause", "impact", "issue", "failure")  # what people say of these counts more than we know
_SAMPLES_MAX = 8
_ACTIONS_MAX = 20


def facts(
    system: System, *, now: datetime, state: Path, message: Message | None = None
) -> dict[str, str]:
    """What may be said where no run is spoken of; `now` is aware UTC, `state` the state directory."""
    said = moment(now.isoformat())
    found = {
        "title": system.system.title, "system": system.system.id,
        "version": system.system.version, "owner": system.people.owner,
        "contact": holders(system, system.people.owner, now), "now": said, "at": said,
        "date": f"{now:%Y-%m-%d}", "time": f"{now:%H:%M}", "environment": system.environment_name,
        "run": "none", "incident": "none", "level": "none", "action": "none", "state": "no run is open",
        "reason": UNKNOWN, "issue": UNKNOWN, "failure": UNKNOWN, "cause": "not known yet",
        "impact": UNKNOWN, "requester": "nobody", "approver": "nobody", "trigger": "none",
        "urgency": "not declared", "samples": "none", "decision": "none",
        "target": "none", "target_at": UNKNOWN, "target_id": "none",
        "component": "none", "components": "none", "starts_at": said,
        "ends_at": UNKNOWN, "window": UNKNOWN, "duration": UNKNOWN, "budget": "not declared",
        "review_at": UNKNOWN, "context": "{}", "actions": "nothing was changed",
        "report": "none", "log": str(state / "journal" / "events.jsonl"),
        "verify_command": "rollback verify", "ack_command": "rollback ack --as PERSON",
    }  # fmt: skip
    if message is not None and message.every:
        found["next_update"] = moment((now + timedelta(seconds=message.every)).isoformat())
    return found


def of_run(
    system: System, run: Run, events: Sequence[Event], *, now: datetime, state: Path,
    message: Message | None = None,
) -> dict[str, str]:  # fmt: skip
    """What may be said of a run. `events` are those of the journal, oldest first."""
    plan: dict[str, Any] = dict(run.plan)
    level = system.levels.get(plan["level"]) or system.procedures.get(plan["level"])
    mine = [event for event in events if event.run == run.id]
    begun = _decision(mine, events)
    why = str(plan["reason"]) or (run.trigger and f"{run.trigger} called for it") or ""
    why = why or "no reason was given"
    target = plan["target"]
    names = [str(one) for one in plan["impact"].get("components") or ()]
    took = elapsed_s(run, "gate.opened") or elapsed_s(run, "run.mitigated")
    yes = [str(one["person"]) for one in run.approvals if one.get("answer") != "no"]
    found = {
        **facts(system, now=now, state=state, message=message),
        "date": str(plan["stamp"].get("date", "")), "time": str(plan["stamp"].get("time", "")),
        "run": run.id, "incident": run.incident or "none", "level": str(plan["level"]),
        "action": str(plan["title"]), "state": run.word, "reason": run.reason or why,
        "issue": why, "failure": why, "impact": _impact(plan, names),
        "requester": str(plan["requester"]),
        "approver": ", ".join(dict.fromkeys(yes)) or ("the declared rules" if run.unasked else "nobody yet"),
        "trigger": run.trigger or f"begun by {plan['requester']}",
        "urgency": _urgency(begun), "samples": _samples(begun),
        "decision": f"{begun.get('respond')} {begun.get('what')}" if begun else "none",
        "target": str(target["label"]) or "none", "target_at": moment(str(target["at"])) or UNKNOWN,
        "target_id": str(target["id"]) or "none", "component": str(plan["component"]) or
        (", ".join(names) or "none"), "components": ", ".join(names) or "none",
        "environment": str(plan["environment"]),
        "duration": spoken(took[0]) if took else f"{_since(mine, now)} so far",
        "context": _context(run, plan, begun), "actions": _actions(run, plan),
        "report": str(state / "runs" / run.id / "report.md"),
        "ack_command": f"rollback ack {run.id} --as PERSON",
    }  # fmt: skip
    found |= _times(system, level, mine, now)
    own = _told(system, run, events) | _said_by_people(system, run, mine)
    found |= {name: text for name, text in own.items() if name in OPEN or name not in FIELDS}
    return {name: text for name, text in found.items() if text}


def context_of(ladder: str, cause: Event | None) -> str:
    """What is known of a call that is about no run, as JSON: the event that was its cause."""
    known: dict[str, Json] = {"ladder": ladder}
    if cause is not None:
        known |= {"event": cause.kind, **cause.data}
    return json.dumps(known, sort_keys=True)


def holders(system: System, role: str, now: datetime) -> str:
    """A role as people are told of it: its title, and who of it is there by the declared hours."""
    declared = system.people.roles.get(role)
    there = [one.id for one in present(system.people, now) if role in one.roles]
    title = declared.title if declared is not None and declared.title else role
    return f"{title} ({', '.join(there)})" if there else title


# -- inside --------------------------------------------------------------------------------


def _decision(mine: Sequence[Event], events: Sequence[Event]) -> Mapping[str, Any]:
    """The decision that a run was begun for; empty when a person began it."""
    seq = mine[0].data.get("decision") if mine else None
    if isinstance(seq, int) and 0 < seq <= len(events) and events[seq - 1].seq == seq:
        return events[seq - 1].data
    return {}


def _urgency(decision: Mapping[str, Any]) -> str:
    found = decision.get("urgency_s")
    return spoken(float(found)) if isinstance(found, (int, float)) else "not declared"


def _samples(decision: Mapping[str, Any]) -> str:
    found = decision.get("samples")
    told = [
        f"{one.get('metric')} {'UNKNOWN' if one.get('value') is None else one.get('value')}"
        for one in (found if isinstance(found, list) else ())[:_SAMPLES_MAX] if isinstance(one, dict)
    ]  # fmt: skip
    return "; ".join(told) or "none"


def _impact(plan: Mapping[str, Any], names: Sequence[str]) -> str:
    loss = str(plan["impact"].get("data_loss") or "")
    concerned = ", ".join(names) or "no stored component"
    return f"{concerned}; lost: {loss}" if loss else concerned


def _since(mine: Sequence[Event], now: datetime) -> str:
    if not mine:
        return "0 s"
    return spoken(max(0.0, (now - datetime.fromisoformat(mine[0].at)).total_seconds()))


def _times(
    system: System, level: Level | Procedure | None, mine: Sequence[Event], now: datetime
) -> dict[str, str]:
    """When the run began, when its budget ends, and when its review is due, in this order."""
    begins = datetime.fromisoformat(mine[0].at) if mine else now
    found = {"starts_at": moment(begins.isoformat())}
    budgets = level.budgets if level is not None else None
    longest = budgets.complete or budgets.mitigated if budgets is not None else None
    if longest:
        ends = begins + timedelta(seconds=longest)
        found |= {
            "budget": spoken(longest), "ends_at": moment(ends.isoformat()),
            "window": f"{begins:%H:%M}-{ends:%H:%M} UTC",
        }  # fmt: skip
    due = [(name, one.due) for name, one in system.reports.items() if one.due]
    named = [due_s for name, due_s in due if "review" in name or "mortem" in name]
    latest = max(named or [due_s for _, due_s in due], default=None)
    if latest:
        found["review_at"] = moment((begins + timedelta(seconds=latest)).isoformat())
    return found


def _context(run: Run, plan: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    known: dict[str, Json] = {
        "run": run.id, "incident": run.incident, "level": str(plan["level"]),
        "state": run.state.value, "known_red": [*run.known_red],
        "target": str(plan["target"]["label"]), "trigger": run.trigger,
        "stopped_for": run.reason, "steps": {one.index: one.status for one in run.steps.values()},
        "suites": {name: bool(found.get("open")) for name, found in run.suites.items()},
        "unknown": decision.get("unknown") or [],
    }  # fmt: skip
    return json.dumps(known, sort_keys=True)


def _actions(run: Run, plan: Mapping[str, Any]) -> str:
    """What the journal says was done, and nothing that was only planned."""
    said = [f"the present is kept as checkpoint {run.safety[:12]}"] if run.safety else []
    for step in plan["steps"]:
        record = run.steps.get(str(step["index"]))
        if record is not None and record.status in ("ended", "failed", "undone"):
            word = {"ended": "done", "failed": "failed", "undone": "taken back"}[record.status]
            said.append(f"{step['kind']} {word}")
    said += [
        f"suite {name} {found.get('passed')} passed, {found.get('failed')} failed"
        for name, found in run.suites.items()
    ]  # fmt: skip
    if run.state is State.NEEDS_OPERATOR:
        said.append("stopped: nothing goes on by itself")
    more = f"; and {counted(len(said) - _ACTIONS_MAX, 'more')}" if len(said) > _ACTIONS_MAX else ""
    return "; ".join(said[:_ACTIONS_MAX]) + more if said else "nothing was changed"


def _said_by_people(system: System, run: Run, mine: Sequence[Event]) -> dict[str, str]:
    """What was said in the records of the run, by the name of the field; the last word counts."""
    found: dict[str, str] = {}
    for event in mine:
        values: Mapping[str, Any] = {}
        if event.kind in ("record.computed", "record.filled"):
            told = event.data.get("fields")
            values = told if isinstance(told, dict) else {}
        elif event.kind == "answer.given":
            record, _, key = str(event.data.get("item", "")).partition(".")
            if record in system.records and key:
                values = {key: event.data.get("value")}
        found |= {_spelt(name): _shown(value) for name, value in values.items()}
    return found


def _told(system: System, run: Run, events: Sequence[Event]) -> dict[str, str]:
    """The fields of the event that the run's trigger waits for, as it was told last before the run."""
    rule = next((one for one in rules(system) if one.id == run.trigger), None)
    if rule is None:
        return {}
    wanted = {one.event for one in _conditions(rule.when) if one.event}
    for event in reversed(events):
        fields = event.data.get("fields")
        if (
            event.kind == "event.told"
            and event.data.get("event") in wanted
            and isinstance(fields, dict)
        ):
            return {_spelt(name): _shown(value) for name, value in fields.items()}
    return {}


def _conditions(condition: Any) -> list[Any]:
    found = [condition]
    for inner in (*(condition.all or ()), *(condition.any or ())):
        found += _conditions(inner)
    return found


def _spelt(name: str) -> str:
    return name.replace("-", "_")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
