"""What a declaration says about safety that nothing holds yet, so that nobody relies on it.

Hides: where each of these would be enforced.
Never: changes what is enforced; a field leaves this list with the code that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollback.model.level import Level, Procedure
from rollback.model.step import OnFail, Step
from rollback.model.system import System


def unenforced(system: System) -> tuple[tuple[str, str], ...]:
    """Each declared safety that holds nothing back yet, as (where, what happens), in file order."""
    found = [*_ladders(system)]
    for section, named in (("levels", system.levels), ("procedures", system.procedures)):
        for name, level in named.items():
            found += _level(f"{section}.{name}", level)
    return tuple(found)


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
