"""What a plan loses and whom it concerns, in words: the same in a plan as in its report.

In a report it is said first whether any of that stands: a run may have taken no step, or been taken back.

Hides: which figures of an impact are worth a line.
Never: measures anything; says nothing of a figure that was not taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rollback.model.event import Event
from rollback.model.lifecycle import FINAL, State
from rollback.model.quantity import counted

COMMITS_MAX = 10
TABLES_MAX = 20
_PATHS = (("adds", "come back"), ("modifies", "change"), ("removes", "go away"),
          ("attributes", "get another mode or time"))  # fmt: skip


def loss(impact: Mapping[str, Any]) -> list[str]:
    """A line for each thing that is lost, put right or concerned; plain text."""
    return [f"lost: {impact['data_loss'] or 'nothing that is declared'}",
            *_paths(impact), *_rows(impact), *_commits(impact), *_concerned(impact),
            *_in_use(impact)]  # fmt: skip


def taken_back_by(run: str, events: Iterable[Event]) -> str:
    """The run that took all of this one back since; "" when none did."""
    begun: set[str] = set()
    for event in events:
        plan = event.data.get("plan")
        if event.kind == "run.planned" and isinstance(plan, dict) and plan.get("undoes") == run:
            begun.add(event.run)
        elif event.kind == "run.mitigated" and event.run in begun:
            return event.run
    return ""


def stands(report: Mapping[str, Any]) -> bool:
    """True when the run took a step, and what it did has not been taken back."""
    taken = any(step["status"] for step in report["steps"])
    return taken and report["state"] != State.UNDONE and not report["taken_back_by"]


def measured(report: Mapping[str, Any]) -> str:
    """What the lines of `loss` are for this run: what it cost, or what it would have."""
    when = "when the run began" if report.get("impact_at") == "start" else "for the plan"
    if stands(report):
        return f"As it was measured {when}:"
    if report["taken_back_by"]:
        said = f"Run {report['taken_back_by']} took back what this run did."
    elif any(step["status"] for step in report["steps"]):
        said = "What the run did was taken back; what stays of a step is said with it, above."
    elif report["state"] in FINAL:
        said = "The run took no step."
    else:
        return f"The run has taken no step yet. It would cost, as it was measured {when}:"
    return f"{said} It would have cost, as it was measured {when}:"


def _paths(impact: Mapping[str, Any]) -> Iterator[str]:
    if impact["files"]:
        found = impact.get("paths", {})
        kinds = ", ".join(f"{found[name]} {does}" for name, does in _PATHS if found.get(name))
        where = ", ".join(impact["components"])
        yield f"{counted(impact['files'], 'file')} to put right in {where}" + (
            f": {kinds}" if kinds else "")  # fmt: skip


def _rows(impact: Mapping[str, Any]) -> Iterator[str]:
    tables = [(name, one) for name, found in impact.get("rows", {}).items() for one in found]
    for name, one in tables[:TABLES_MAX]:
        now, then = ("no such table" if count is None else counted(count, "row")
                     for count in (one["now"], one["then"]))  # fmt: skip
        yield f"{name}, table {one['table']}: {now} now, {then} then{_which(one)}"
    if len(tables) > TABLES_MAX:
        yield f"and {len(tables) - TABLES_MAX} more tables"


def _which(one: Mapping[str, Any]) -> str:
    if one["lost"] is None:
        return "; which of them differ is not measured"
    return (
        f"; lost: {counted(one['lost'], 'row')} written since, back: {counted(one['back'], 'row')}"
    )


def _commits(impact: Mapping[str, Any]) -> Iterator[str]:
    lost = impact["lost_commits"]
    for commit in lost[:COMMITS_MAX]:
        yield f"leaves the branch, stays reachable: {commit}"
    if len(lost) > COMMITS_MAX:
        yield f"and {len(lost) - COMMITS_MAX} more commits leave the branch"


def _concerned(impact: Mapping[str, Any]) -> Iterator[str]:
    for name, count in impact["open_items"].items():
        yield f"open in {name}: {count}"
    if impact.get("alone"):
        yield str(impact["alone"])
    if impact["dependents"]:
        yield f"depend on it: {', '.join(impact['dependents'])}"
    if impact.get("services"):
        yield f"services that use it, as they start: {', '.join(impact['services'])}"
    if impact.get("order"):
        does = (f"{one['does']} {', '.join(one['names'])}" for one in impact["order"])
        yield f"in this order: {'; '.join(does)}"
    if impact.get("untold"):
        yield f"use it and are neither stopped nor told: {', '.join(impact['untold'])}"


def _in_use(impact: Mapping[str, Any]) -> Iterator[str]:
    for one in impact.get("in_use", ()):
        first = f"stop {one['service']}: rollback run stop" if one["service"] else "close it there"
        yield (f"{one['component']}: held open by {one['program']} ({one['pid']}), and put back only while "
               f"nobody has it open; first {first}")  # fmt: skip
