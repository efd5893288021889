"""What the gate asks for: the required list, made from the declaration and never from collection.

Hides: how levels, retirement, seals and known failures meet.
Never: asks a check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from rollback.model.finding import Answer, Measured
from rollback.model.level import Gate, Level, Procedure
from rollback.model.operations import Tolerance
from rollback.model.registry import Kind, Planned
from rollback.model.step import SUITES, Check, Suite
from rollback.model.system import System
from rollback.prove.likeness import SHARE, Likeness, another
from rollback.prove.seal import Seal

Wanted = Literal["pass", "fail", "absent", "known-red"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is wanted of one check. `missing` says why it cannot be asked, if it cannot.

    `fingerprint` and `measured` are of the known failure; `share` and `floor` how much worse it may be.
    """

    id: str
    suite: Suite
    wanted: Wanted
    fingerprint: str = ""
    missing: str = ""
    measured: tuple[Measured, ...] = ()
    share: float = SHARE
    floor: float = 0.0


@dataclass(frozen=True)
class Expectations:
    """The required list: every check by id, and the suites that are run. `level` is "" for none.

    `notes` are remarks for the report: known failures, checks that are no longer declared. `tests` are
    those of the team, by suite, that passed when it was sealed: each has to be there still. `not_asked`
    are suites that were sealed, and that this gate does not ask.
    """

    suites: tuple[Suite, ...]
    checks: Mapping[str, Expected]
    level: str = ""
    notes: tuple[str, ...] = ()
    tests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    not_asked: tuple[Suite, ...] = ()

    def of(self, suite: str) -> dict[str, Expected]:
        """The expectations of one suite."""
        return {key: one for key, one in self.checks.items() if one.suite == suite}

    @property
    def outcomes(self) -> dict[str, Wanted]:
        """What is wanted, by check id."""
        return {key: one.wanted for key, one in self.checks.items()}


def declared(system: System) -> Iterator[tuple[Suite, str, Kind]]:
    """Every declared check with its suite and id; one without an id has its suite and place."""
    for suite in SUITES:
        for place, check in enumerate(getattr(system.verification, suite), 1):
            yield suite, _id(check, f"{suite}-{place}"), check


def expectations(
    system: System, level: str | Level | Procedure | None = None, seal: Seal | None = None,
    *, today: datetime | None = None, suites: tuple[Suite, ...] | None = None,
) -> Expectations:  # fmt: skip
    """What the gate of this level wants; without a level, every check that is not limited to one.

    `suites` are asked instead of those of the gate, and are expected to be as it says.

    A check whose `levels` name other levels is neither wanted nor run. A check that was red in
    the seal and is declared `known_red` and not expired may stay red in the same way, where the
    level allows known failures.
    """
    name, found = _level(system, level)
    gate = found.gate if found is not None else Gate(suites=SUITES)
    if suites is not None:
        gate = (gate or Gate()).model_copy(update={"suites": suites, "checks": ()})
    if gate is None:
        return Expectations((), {}, name)
    retired = {one.id for one in system.verification.retired}
    known = _known_red(system, seal, today) if gate.known_red == "allowed" else {}
    checks: dict[str, Expected] = {}
    for suite, key, check in declared(system):
        limited = check.levels if isinstance(check, Check) else ()
        outcome: Wanted = gate.expect.get(key, "pass")
        by_name = key in gate.checks or (key in gate.expect and outcome != "absent")
        wanted = suite in gate.suites or by_name
        if key in retired or not wanted or (limited and name not in limited):
            continue
        missing = f"not built yet: {check.missing}" if isinstance(check, Planned) else ""
        checks[key] = Expected(key, suite, outcome, missing=missing)
        if key in known and outcome == "pass":
            checks[key] = replace(known[key], suite=suite, missing=missing)
    suites = tuple(
        s for s in SUITES if s in gate.suites or any(c.suite == s for c in checks.values())
    )
    sealed = _sealed_suites(seal)
    return Expectations(
        suites, checks, name, _notes(system, seal, checks, retired),
        _tests(seal, gate.suites, retired), tuple(s for s in sealed if s not in suites),
    )  # fmt: skip


def shortfall(expected: Expected, answer: str, like: Likeness, evidence: str) -> str:
    """Why this answer is not the one that was wanted; "" when it is. UNKNOWN never is."""
    said = f"check {expected.id} answered {answer.upper()}"
    if answer == Answer.UNKNOWN:
        return f"{said}, which proves nothing: {evidence}"
    if expected.wanted == "known-red":
        known = Likeness(expected.fingerprint, expected.measured)
        why = another(known, like, share=expected.share, floor=expected.floor)
        return f"{said} {why}: {evidence}" if answer == Answer.FAIL and why else ""
    if answer != expected.wanted:
        return f"{said}, wanted {expected.wanted}: {evidence}"
    return ""


def _id(check: Kind, otherwise: str) -> str:
    if isinstance(check, Planned):
        return str(check.parameters.get("id", otherwise))
    return str(getattr(check, "id", None) or otherwise)


def _level(
    system: System, level: str | Level | Procedure | None
) -> tuple[str, Level | Procedure | None]:
    if level is None or level == "":
        return "", None
    if isinstance(level, Level | Procedure):
        named = {**system.procedures, **system.levels}
        return next((key for key, one in named.items() if one == level), ""), level
    return level, system.levels[level]


def _known_red(system: System, seal: Seal | None, today: datetime | None) -> dict[str, Expected]:
    """Declared, unexpired known failures as the seal saw them, by check id."""
    if seal is None or today is None:
        return {}
    day, found = today.date().isoformat(), {}
    for one in system.verification.known_red:
        sealed = seal.findings.get(one.id)
        if one.expires >= day and sealed is not None and sealed.answer == "fail":
            bound = system.verification.tolerances.get(one.id, Tolerance())
            found[one.id] = Expected(
                one.id, "smoke", "known-red", sealed.fingerprint, measured=sealed.measured,
                share=SHARE if bound.ratio is None else bound.ratio, floor=bound.floor or 0.0,
            )  # fmt: skip
    return found


def _tests(
    seal: Seal | None, suites: Iterable[Suite], retired: set[str]
) -> dict[str, tuple[str, ...]]:
    """The tests of the team that passed in the seal and are not retired, alone or by their file."""
    found = seal.tests if seal is not None else {}
    return {
        suite: tuple(
            name for name, outcome in found[suite].items()
            if outcome == "passed" and not {name, name.partition("::")[0]} & retired
        )
        for suite in suites if suite in found
    }  # fmt: skip


def _sealed_suites(seal: Seal | None) -> tuple[Suite, ...]:
    if seal is None:
        return ()
    found = {one.suite for one in seal.findings.values()} | {*seal.tests}
    return tuple(suite for suite in SUITES if suite in found)


def _notes(
    system: System, seal: Seal | None, checks: Mapping[str, Expected], retired: set[str]
) -> tuple[str, ...]:
    if seal is None:
        return ("no baseline: nothing is sealed for this target",)
    known = {key for _suite, key, _check in declared(system)}
    gone = sorted(
        key for key, one in seal.findings.items()
        if one.answer == "pass" and key not in known and key not in retired
    )  # fmt: skip
    red = [key for key, one in checks.items() if one.wanted == "known-red"]
    notes = [f"passed when sealed, no longer declared: {', '.join(gone)}"] if gone else []
    notes += [f"known failures allowed: {', '.join(red)}"] if red else []
    return tuple(notes)
