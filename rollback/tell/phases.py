"""How long the phases of a run took, read from the journal: its own, and those that a level declares.

Hides: which events begin and end a phase.
Never: gives a budget to what the declaration does not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import Run, between, elapsed_s

_OF_A_RUN = (
    ("plan and approval", "run.planned", "run.authorized"),
    ("protect", "run.authorized", "run.protected"),
    ("steps", "run.protected", "run.mitigated"),
    ("prove", "run.mitigated", "gate.opened"),
)
_ENDS = ("step.ended", "step.failed", "step.skipped", "step.undone")


def of_a_run(run: Run) -> list[dict[str, Any]]:
    """The phases that every run has, those that have ended, in order: `phase` and `took_s`."""
    found = []
    for name, since, until in _OF_A_RUN:
        closed = until == "gate.opened" and until not in run.moments
        took = elapsed_s(run, "gate.closed" if closed else until, since=since)
        if took is not None:
            found.append({"phase": name, "took_s": max(0.0, took[0])})
    return found


def phases(
    level: Level | Procedure | None, plan: Mapping[str, Any], events: Iterable[Event]
) -> list[dict[str, Json]]:
    """Each phase in order of the declaration: seconds from its first step's begin to its last end.

    `took_s` is None while none of its steps has ended, and waiting lies in it; `over` is True when
    it took longer than its budget; `open` while a step of it has begun and not ended. Across a
    reboot times are of the wall clock, and `approximate`. `events` are those of the run, in order.
    """
    told = tuple(events)
    found: list[dict[str, Json]] = []
    for phase in level.phases if level else ():
        mine = {
            one["index"]
            for step in plan["steps"]
            if step["parameters"].get("phase") == phase.id
            for one in (step, *step["alternatives"])
        }
        of_it = [event for event in told if event.data.get("index") in mine]
        began = next((event for event in of_it if event.kind == "step.began"), None)
        ended = next((event for event in reversed(of_it) if event.kind in _ENDS), None)
        took_s, approximate = None, False
        if began and ended:
            spent_s, approximate = between(began, ended)
            took_s = round(max(0.0, spent_s), 3)
        found.append({
            "id": phase.id, "title": phase.title or "", "took_s": took_s, "budget_s": phase.within,
            "over": bool(took_s is not None and phase.within and took_s > phase.within),
            "open": bool(began and of_it[-1].kind not in _ENDS), "approximate": approximate,
        })  # fmt: skip
    return found
