"""What of a gate's list has been seen to pass: when its gate opened, was sealed, or was verified.

Hides: which of these moments counts for which check.
Never: takes a check for seen whose declaration, or a test file whose bytes, were others then; waits
for a pass that normal operation cannot give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollback.act.sealed import known_red, seals
from rollback.act.site import Site
from rollback.model.level import Level
from rollback.model.lifecycle import State
from rollback.model.system import HOME, System

if TYPE_CHECKING:
    from rollback.prove.expect import Expectations
    from rollback.prove.listed import Listed

VERIFIED = "suites.passed"


@dataclass(frozen=True, slots=True)
class Seen:
    """Since when all of the list has been seen to pass, "" if not; what of it never was; how much it is.

    `after` was not seen either, and holds only once the level is in force: nobody can see it before.
    """

    at: str
    never: tuple[str, ...]
    count: int
    after: tuple[str, ...] = ()


def seen(site: Site, key: str, level: Level) -> Seen:
    """How much of what this level's gate would ask now has passed when it was last asked.

    The moment is that of the check that was seen longest ago.
    """
    from rollback.prove.expect import expectations
    from rollback.prove.listed import listed

    wanted = expectations(site.system, level, today=site.host.clock.now())
    now = listed(site.system, wanted)
    moments = [*_moments(site, key, known_red(site, level))]
    checks = {
        one: max((at for at, then in moments if then.checks.get(one) == mark), default="")
        for one, mark in now.checks.items()
    }
    files = {
        path: max((at for at, then in moments if then.files.get(path) == mark), default="")
        for path, mark in now.files.items()
    }
    found = checks | files
    late = _only_after(site.system, level, wanted)
    after = tuple(one for one, at in found.items() if not at and one in late)
    never = tuple(one for one, at in found.items() if not at and one not in late)
    past = [at for one, at in found.items() if one not in after]
    return Seen("" if never else min(past, default=""), never, len(found), after)


def elsewhere(level: Level) -> bool:
    """True for a level after which the system is meant to answer otherwise than in normal operation."""
    return level.gate is not None and any(one != "pass" for one in level.gate.expect.values())


def in_force(site: Site, key: str, environment: str) -> bool:
    """True when the last level that was gone back to there is this one, and nobody took it back."""
    gone = [run for run in site.runs().values()
            if run.plan.get("level") in site.system.levels and "run.mitigated" in run.moments
            and run.plan.get("environment", HOME) == environment]  # fmt: skip
    if not gone or gone[-1].plan.get("undoes"):
        return False
    back = gone[-1].state in (State.UNDOING, State.UNDONE)
    return gone[-1].plan["level"] == key and not back


def _only_after(system: System, level: Level, wanted: Expectations) -> frozenset[str]:
    """What is only to be collected: what has to fail, and what such a level alone asks."""
    from rollback.prove.expect import declared

    limited = {key for _, key, check in declared(system) if getattr(check, "levels", ())}
    return frozenset(
        key for key, one in wanted.checks.items()
        if one.wanted == "fail" or (key in limited and elsewhere(level))
    )  # fmt: skip


def _moments(site: Site, key: str, may_be_red: frozenset[str]) -> Iterator[tuple[str, Listed]]:
    """When something passed, and the list of what did."""
    from rollback.prove.listed import Listed

    for run in site.runs().values():
        here = run.plan.get("environment", HOME) == site.system.environment_name
        if run.plan.get("level") == key and here and "gate.opened" in run.moments:
            yield run.moments["gate.opened"][2], Listed.read(run.verdict.get("asked"))
    for event in site.journal.events():
        if event.kind == VERIFIED and event.data.get("level") in ("", key):
            yield event.at, Listed.read(event.data.get("asked"))
    for seal in seals(site) or ():
        passed = {one for one, found in seal.findings.items()
                  if found.answer == "pass" or (found.answer == "fail" and one in may_be_red)}  # fmt: skip
        told = Listed.read(seal.asked)
        tests = [how for suite in seal.tests.values() for how in suite.values()]
        files = told.files if all(how == "passed" for how in tests) else {}
        yield (
            seal.at,
            Listed({one: mark for one, mark in told.checks.items() if one in passed}, files),
        )
