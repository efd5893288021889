"""The stage from MITIGATED to COMPLETE, which only proof can pass.

What was put back still stands, the suites and the witness say the system is well and have said so
for the settling time, and no item of the checklist that gates completion is open.

Hides: where verdicts and marks lie.
Never: opens on absence: no gate result, no COMPLETE.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rollback.act import (
    checklist,
    climbing,
    closer,
    eyes,
    proving,
    settling,
    stopped,
    strength,
    unsettled,
)
from rollback.act.guarding import command_of
from rollback.act.plan import Plan, find_level
from rollback.act.site import Site
from rollback.host.below import why
from rollback.model.errors import RollbackError
from rollback.model.event import canonical
from rollback.model.finding import Json
from rollback.model.level import Level
from rollback.model.lifecycle import Run
from rollback.model.step import Suite

if TYPE_CHECKING:  # the gate costs 30 ms to import, and mitigation needs none of it
    from rollback.observe.view import View
    from rollback.prove.expect import Expectations
    from rollback.prove.seal import Seal
    from rollback.prove.suite import SuiteResult

_MARK = "mitigated.json"


def mark(site: Site, run: Run, plan: Plan) -> None:
    """What stands in the restored components at mitigation is written down."""
    found = {name: site.checkpoints.fingerprints(name) for name in watched(site, plan)}
    site.run_folder(run.id)
    site.state.tree.write(f"runs/{run.id}/{_MARK}", canonical(found))


def stage(site: Site, run: Run, plan: Plan) -> Run:
    """COMPLETE on proof; else the run stops for a person, with every reason, or goes on settling.

    A look while it settles asks smoke alone; when it has settled, everything but the later suites.
    """
    asking = _asking(site, plan)
    settles = settling.begun(site, run)
    if settles:
        run, reasons = _look_again(asking, run)
        if not reasons and settling.left_s(site, run, asking.settle_s):
            return settling.pause(site, run, asking.settle_s)
    else:
        run, reasons = _suites(asking, run)
    reasons = reasons or _besides_suites(asking, run)
    if not reasons and asking.settle_s and not settles:
        run = settling.begin(site, run, asking.settle_s)
        return settling.pause(site, run, asking.settle_s)
    if reasons:
        return _closed(asking, run, reasons)
    left = unsettled.keeps_closed(site, run, plan, asking.view)
    run = checklist.fill(site, run, plan, whole=True)
    paper = checklist.keeps_closed(site, run, plan)
    paper += strength.too_weak(site, run, *find_level(site, plan.level))
    if left or paper:
        return _unsettled(asking, run, left, paper)
    return _opened(asking, run)


@dataclass(frozen=True)
class _Asking:
    """What is the same whenever the gate of a run is asked."""

    site: Site
    plan: Plan
    wanted: Expectations
    sealed: Seal | None
    view: View
    settle_s: float


def _asking(site: Site, plan: Plan) -> _Asking:
    """Logs count since a run last did its steps: this one, or one that came after a closed gate.

    Who puts something right and starts the services again by a run is asked about what runs now.
    """
    _, level = find_level(site, plan.level)
    wanted, sealed = wanted_of(site, plan)
    view = eyes.of(site, plan.environment)
    return _Asking(site, plan, wanted, sealed, view, level.gate.settle if level.gate else 0.0)


def _suites(asking: _Asking, run: Run) -> tuple[Run, list[str]]:
    """Every suite in order, up to the first that stays closed; why it does."""
    for suite in asking.wanted.suites:
        result = _ask(asking, run, suite)
        run = asking.site.note(run, "suite.ended", **_told(result))
        if not result.open:
            return run, [f"{suite}: {reason}" for reason in result.reasons]
    return run, []


def _look_again(asking: _Asking, run: Run) -> tuple[Run, list[str]]:
    """Smoke, once more; a red one that a driver found and did not live to tell of counts too."""
    site = asking.site
    red = settling.red(site, run)
    if red:
        return run, red
    began_s = site.host.clock.boot_s()
    result = _ask(asking, run, "smoke")
    if result.open:
        took_s = site.host.clock.boot_s() - began_s
        return settling.looked(site, run, took_s=took_s, passed=result.passed), []
    run = site.note(run, "suite.ended", **_told(result))
    return run, settling.red(site, run)


def _besides_suites(asking: _Asking, run: Run) -> list[str]:
    """What the core itself sees: the witness, stricter limits after an incident, changed paths."""
    from rollback.prove import gate

    site, plan, view = asking.site, asking.plan, asking.view
    said = gate.witness(
        site.system, site.host, asking.wanted, view.since, view.held, environment=plan.environment,
    )  # fmt: skip
    if said:
        return [*said]
    missed = closer.missed(site, asking.wanted.suites, view)
    if missed:
        return missed
    restored = tuple(watched(site, plan))
    return [*gate.unchanged(site.system, restored, lambda name: _changed(site, run, name))]


def _closed(
    asking: _Asking, run: Run, reasons: list[str], *, climbs: bool = True, **more: Json
) -> Run:
    site, plan = asking.site, asking.plan
    onwards = climbing.not_enough(site, run, plan, _failing(run)) if climbs else climbing.Next()
    return site.note(
        run, "gate.closed", reason=reasons[0], reasons=list(reasons),
        notes=list(asking.wanted.notes), not_asked=[*asking.wanted.not_asked], **onwards.data(), **more,
        down=[*stopped.services(site, plan.environment)],
    )  # fmt: skip


def _unsettled(
    asking: _Asking, run: Run, left: tuple[unsettled.Open, ...], paper: list[str]
) -> Run:
    """It waits for people. Only a divergence leads to the next level: going further back may end that."""
    found: dict[str, Json] = {one.id: one.found for one in left if one.found}
    reasons = [*(one.reason for one in left), *paper]
    return _closed(asking, run, reasons, climbs=bool(found), unsettled=found)


def _opened(asking: _Asking, run: Run) -> Run:
    red = [key for suite in run.suites.values() for key in _list(suite.get("known_red"))]
    said = (*settling.told(asking.site, run), *unsettled.noted(asking.site, run))
    notes: list[Json] = [*asking.wanted.notes, *said]
    from rollback.prove.listed import listed

    return asking.site.note(run, "gate.opened", notes=notes, known_red=red, reason="",
                            not_asked=[*asking.wanted.not_asked],
                            asked=listed(asking.site.system, asking.wanted).as_json())  # fmt: skip


def _failing(run: Run) -> list[str]:
    """The checks that did not pass when the suites ran, but for known failures."""
    return [
        key
        for suite in run.suites.values()
        for key, found in _dict(suite.get("findings")).items()
        if _dict(found).get("outcome") != "pass" and key not in _list(suite.get("known_red"))
    ]


def wanted_of(site: Site, plan: Plan) -> tuple[Expectations, Seal | None]:
    """The required list of the plan's gate, and the seal of its target if there is one."""
    from rollback.prove.expect import expectations

    sealed = proving.seal_of(site.state.tree, site.checkpoints, plan.target)
    _, level = find_level(site, plan.level)
    if not isinstance(level, Level):
        return expectations(site.system, level, sealed, today=site.host.clock.now()), sealed
    return expectations(site.system, plan.level, sealed, today=site.host.clock.now()), sealed


def _ask(asking: _Asking, run: Run, suite: Suite) -> SuiteResult:
    from rollback.prove.suite import run_suite

    site, plan, view = asking.site, asking.plan, asking.view
    folder = site.run_folder(run.id)
    work = folder / "suites" / f"{suite}-{site.host.token(4)}"
    site.state.tree.make_folder(str(work.relative_to(site.state.path)), parents=True)
    return run_suite(
        suite, system=site.system, host=site.host, expectations=asking.wanted,
        environment=plan.environment, since=view.since, work=work,
        leaves=folder, deadline_s=proving.deadline_s(site.system, suite),
        run_id=run.id, level=plan.level, baseline=_baseline(site, asking.sealed), held=view.held,
    )  # fmt: skip


def _baseline(site: Site, sealed: Seal | None) -> Path | None:
    from rollback.prove.seal import path

    return site.state.path / path(sealed.id) if sealed else None


def _told(result: SuiteResult) -> dict[str, Json]:
    findings: dict[str, Json] = {
        key: {name: value for name, value in found.items() if name != "samples"}
        for key, found in result.findings.items()
    }
    return {
        "suite": result.suite, "open": result.open, "passed": result.passed, "failed": result.failed,
        "skipped": result.skipped, "known_red": list(result.known_red),
        "duration_s": round(result.duration_s, 3),
        "reasons": list(result.reasons), "findings": findings, "status": result.status,
    }  # fmt: skip


def watched(site: Site, plan: Plan) -> Iterator[str]:
    """What the plan put there itself; what a guarded command left may go on changing."""
    if command_of(plan):
        return
    for name in plan.touched:
        component = site.system.components[name]
        if not component.volatile and component.content != "append-only":
            yield name


def _changed(site: Site, run: Run, name: str) -> list[str]:
    try:
        then = json.loads(site.state.tree.read(f"runs/{run.id}/{_MARK}")).get(name, {})
        now = site.checkpoints.fingerprints(name)
    except (OSError, ValueError, RollbackError) as error:
        return [f"(cannot be compared: {why(error)})"]
    return sorted(path for path in {*then, *now} if then.get(path) != now.get(path))


def _list(value: object) -> list[Json]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
