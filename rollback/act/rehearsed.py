"""Which declared drills were rehearsed, when, and which are overdue, from what the journal was told.

A rehearsal runs on a copy and tells the journal of the system that it was for: `rollback event drill
id=leak passed=true mitigated=12s`. One that failed is known and rehearses nothing.

Hides: when a drill that was never run becomes due.
Never: runs one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rollback.act.site import Site
from rollback.host.clock import iso, parse_iso
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.operations import Drill
from rollback.model.quantity import spoken
from rollback.model.system import System

EVENT = "drill"
ENDED = ("drill.passed", "drill.failed")
FIELDS = {"id": "text", "passed": "bool", "mitigated": "duration", "complete": "duration"}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How a drill went. Units: `mitigated_s` and `complete_s` in seconds; None: not told."""

    drill: str
    at: datetime
    passed: bool
    mitigated_s: float | None = None
    complete_s: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a declared drill stands now. `why` is empty unless it is overdue."""

    drill: Drill
    last: Rehearsal | None
    why: str = ""

    @property
    def said(self) -> str:
        """One line for people."""
        if self.last is None:
            return self.why or "not rehearsed yet"
        word = "passed" if self.last.passed else "failed"
        took = f", mitigated in {spoken(self.last.mitigated_s)}" if self.last.mitigated_s else ""
        late = f"; {self.why}" if self.why else ""
        return f"{word} at {iso(self.last.at)[:16]}{took}{late}"

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        last = self.last
        return {"drill": self.drill.id, "fault": self.drill.fault, "overdue": bool(self.why),
                "why": self.why,
                "last": None if last is None else {
                    "at": iso(last.at), "passed": last.passed, "mitigated_s": last.mitigated_s,
                    "complete_s": last.complete_s}}  # fmt: skip


def rehearsals(events: Iterable[Event]) -> tuple[Rehearsal, ...]:
    """Everything that was told of drills, oldest first."""
    found = []
    for event in events:
        fields = event.data.get("fields")
        if event.kind in ENDED and isinstance(fields, dict):
            found.append(Rehearsal(
                str(fields.get("id")), parse_iso(event.at), event.kind == ENDED[0],
                _number(fields.get("mitigated")), _number(fields.get("complete")),
            ))  # fmt: skip
    return tuple(found)


def standings(site: Site) -> tuple[Standing, ...]:
    """Where each declared drill stands at this moment, in the order of the declaration."""
    events = site.journal.events()
    now = site.host.clock.now()
    told = rehearsals(events)
    changed = _last_told(events)
    return tuple(_standing(site.system, one, told, changed, now) for one in site.system.drills)


def _standing(
    system: System, drill: Drill, told: Iterable[Rehearsal], changed: Mapping[str, datetime],
    now: datetime,
) -> Standing:  # fmt: skip
    mine = [one for one in told if one.drill == drill.id]
    last = mine[-1] if mine else None
    green = next((one for one in reversed(mine) if one.passed), None)
    since = [name for name in drill.after
             if name in changed and (green is None or changed[name] > green.at)]  # fmt: skip
    age_s = (now - green.at).total_seconds() if green else 0.0
    if last is not None and not last.passed:
        why = "the last rehearsal failed"
    elif since:
        why = f"not rehearsed since {system.events[since[0]].title or since[0]}"
    elif drill.every is not None and green is None:
        why = f"never rehearsed, and due every {spoken(drill.every)}"
    elif drill.every is not None and age_s > drill.every:
        why = f"due every {spoken(drill.every)}, and the last was {spoken(age_s)} ago"
    else:
        why = _too_slow(drill, green)
    return Standing(drill, last, why)


def _too_slow(drill: Drill, green: Rehearsal | None) -> str:
    for word, limit_s, took_s in (
        ("mitigated", drill.mitigated_within, green.mitigated_s if green else None),
        ("complete", drill.complete_within, green.complete_s if green else None),
    ):
        if limit_s is not None and took_s is not None and took_s > limit_s:
            return f"{word} took {spoken(took_s)}, and {spoken(limit_s)} are allowed"
    return ""


def _last_told(events: Iterable[Event]) -> dict[str, datetime]:
    return {str(event.data.get("event")): parse_iso(event.at)
            for event in events if event.kind == "event.told"}  # fmt: skip


def _number(value: Json) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and isinstance(value, (int, float)) else None
