"""What a declaration says that nothing holds, or nothing reads, so that nobody relies on it.

Hides: where each of these would be enforced.
Never: changes what is enforced; a field leaves this list with the code that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollback.model.level import Level, Procedure
from rollback.model.step import OnFail, Step
from rollback.model.system import System

_PEOPLE = "words for people: the program reads them nowhere"
_RULE = "it stands in the decision; who may say yes to a run is what its level declares"
_TOLD = "it stands in the decision; people are told by notify: alone"
_WORK = "it stands in the declaration; a task is opened with its title, owner and due time"
# What is read by nothing at all, or by nothing but what writes it down; by its place in the file.
UNREAD: Mapping[str, str] = {
    "severity.*.symptoms": f"{_PEOPLE}; what they are is said with when:",
    "people.roles.*.duty": _PEOPLE,
    "people.roles.*.contact": "nobody is called there: channels are declared under notify:",
    "people.members.*.contact": "nobody is called there: channels are declared under notify:",
    "triggers.*.authority": _RULE,
    "triggers.*.inform": _TOLD,
    "decision.tree.*.authority": _RULE,
    "decision.tiers.*.authority": _RULE,
    "decision.tiers.*.consider": _PEOPLE,
    "decision.breakers.*.inform": _TOLD,
    "decision.points.*.options.*.use_when": _PEOPLE,
    **{f"{name}.*.{field}": text for name in ("levels", "procedures") for field, text in (
        ("authority.standing.condition", _PEOPLE), ("authority.also_inform", _TOLD),
        ("use_when", _PEOPLE), ("checklist.*.fulfils", _PEOPLE),
    )},
    "levels.*.not_when": _PEOPLE,
    "levels.*.severity": "how bad a rule is, is said by the rule and by the severity table",
    "reports.*.signatures": "nobody is asked to sign a report",
    "drills.*.success_rate": "a drill is judged by its newest result",
    "drills.*.measures": _PEOPLE,
    "redeploy": "going out again is not built",
    "follow_ups.priorities": _WORK,
    "follow_ups.types": _WORK,
    "follow_ups.tasks.*.priority": _WORK,
    "follow_ups.tasks.*.subtasks": _WORK,
    "patterns.*.symptoms": _PEOPLE,
    "patterns.*.causes": _PEOPLE,
}  # fmt: skip


def unenforced(system: System) -> tuple[tuple[str, str], ...]:
    """Everything declared that holds nothing back yet, or that nothing reads, as (where, what happens).

    Shape: a field that is written several times is named once, by its place with `*` in it.
    """
    found = [*_unread(system), *_ladders(system)]
    for section, named in (("levels", system.levels), ("procedures", system.procedures)):
        for name, level in named.items():
            found += _level(f"{section}.{name}", level)
    return tuple(found)


def _unread(system: System) -> Iterator[tuple[str, str]]:
    for pattern, instead in UNREAD.items():
        places = list(_written(system.source, pattern.split(".")))
        if places:
            yield (places[0] if len(places) == 1 else pattern), instead


def _written(value: Any, pattern: Sequence[str], at: tuple[str, ...] = ()) -> Iterator[str]:
    """Where in the declaration something is written at such a place."""
    if not pattern:
        yield ".".join(at)
        return
    head, *rest = pattern
    inner: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        inner = value
    elif isinstance(value, (list, tuple)):
        inner = dict(enumerate(value))
    for key, one in inner.items():
        if head in ("*", str(key)):
            yield from _written(one, rest, (*at, str(key)))


def _ladders(system: System) -> Iterator[tuple[str, str]]:
    for name, ladder in system.notify.ladders.items():
        if ladder.message is None and any(rung.audience is None for rung in ladder.rungs):
            yield (
                f"notify.ladders.{name}",
                "a call without audience is journalled, and nobody is sent it",
            )


def _level(where: str, level: Level | Procedure) -> Iterator[tuple[str, str]]:
    if level.emergency:
        for number, item in enumerate(level.checklist):
            if item.gates == "start":
                yield f"{where}.checklist.{number}.gates", "an emergency waits for no item"
    steps = [step for step in level.steps if isinstance(step, Step)]
    climbs = any(step.on_fail.otherwise == "climb" for step in steps)
    if level.on_fail and level.gate is None and not climbs:
        yield f"{where}.on_fail", "nothing leads there: it has no gate, and no step that climbs"
    for number, step in enumerate(level.steps):
        if isinstance(step, Step):
            yield from _alternatives(f"{where}.steps.{number}.{step.kind}", step)


def _alternatives(where: str, step: Step) -> Iterator[tuple[str, str]]:
    for number, other in enumerate(step.on_fail.then):
        if isinstance(other, Step) and other.on_fail != OnFail():
            yield (f"{where}.on_fail.then.{number}.{other.kind}.on_fail",
                   "what follows is what the step says that it stands in for")  # fmt: skip
