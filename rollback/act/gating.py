"""The stage from MITIGATED to COMPLETE, which only proof can pass.

What was put back still stands, the suites and the witness say the system is well, and no item of
the checklist that gates completion is open.

Hides: where verdicts and marks lie.
Never: opens on absence: no gate result, no COMPLETE.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rollback.act import climbing, closer, eyes, proving, records, starting, stopped
from rollback.act.guarding import command_of
from rollback.act.plan import Plan, find_level
from rollback.act.site import Site
from rollback.host.below import why
from rollback.model.errors import RollbackError
from rollback.model.event import canonical
from rollback.model.finding import Json
from rollback.model.level import ChecklistItem, Level
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
    found = {name: site.checkpoints.fingerprints(name) for name in _watched(site, plan)}
    site.run_folder(run.id)
    site.state.tree.write(f"runs/{run.id}/{_MARK}", canonical(found))


def stage(site: Site, run: Run, plan: Plan) -> Run:
    """COMPLETE on proof; else the run stops for a person, with every reason."""
    from rollback.prove import gate

    _, level = find_level(site, plan.level)
    wanted, sealed = wanted_of(site, plan)
    # since a run last did its steps: this one, or one that came after a closed gate; who puts
    # something right and starts the services again by a run is asked about what runs now
    view = eyes.of(site, plan.environment)
    reasons: list[str] = []
    notes = list(wanted.notes)
    for suite in wanted.suites:
        result = _ask(site, run, plan, wanted, suite, view, sealed)
        run = site.note(run, "suite.ended", **_told(result))
        if not result.open:
            reasons += [f"{suite}: {reason}" for reason in result.reasons]
            break
    if not reasons:
        reasons += gate.witness(
            site.system, site.host, wanted, view.since, view.held, environment=plan.environment,
        )  # fmt: skip
    if not reasons:
        reasons += closer.missed(site, wanted.suites, view)
    if not reasons:
        watched = tuple(_watched(site, plan))
        reasons += gate.unchanged(site.system, watched, lambda name: _changed(site, run, name))
        items, still_open = checklist(site, run, plan, level.checklist)
        for item in items:
            run = site.note(run, "checklist.item", **item)
        reasons += still_open
    if reasons:
        onwards = climbing.not_enough(site, run, plan, _failing(run))
        return site.note(
            run, "gate.closed", reason=reasons[0], reasons=list(reasons), notes=list(notes),
            **onwards.data(), down=[*stopped.services(site, plan.environment)],
        )  # fmt: skip
    red = [key for key, one in wanted.checks.items() if one.wanted == "known-red"]
    return site.note(run, "gate.opened", notes=list(notes), known_red=list(red), reason="")


def _failing(run: Run) -> list[str]:
    """The checks that did not pass when the suites ran."""
    return [
        key
        for suite in run.suites.values()
        for key, found in _dict(suite.get("findings")).items()
        if _dict(found).get("outcome") != "pass"
    ]


def wanted_of(site: Site, plan: Plan) -> tuple[Expectations, Seal | None]:
    """The required list of the plan's gate, and the seal of its target if there is one."""
    from rollback.prove.expect import expectations

    sealed = proving.seal_of(site.state.tree, site.checkpoints, plan.target)
    _, level = find_level(site, plan.level)
    if not isinstance(level, Level):
        return expectations(site.system, level, sealed, today=site.host.clock.now()), sealed
    return expectations(site.system, plan.level, sealed, today=site.host.clock.now()), sealed


def checklist(
    site: Site, run: Run, plan: Plan, items: tuple[ChecklistItem, ...]
) -> tuple[list[dict[str, Json]], list[str]]:
    """Each item with its state and evidence, and the reasons of those that keep the gate closed."""
    told: list[dict[str, Json]] = []
    reasons: list[str] = []
    for item in items:
        done, evidence = _item(site, run, plan, item)
        told.append({
            "id": item.id, "item": item.item, "done": done, "evidence": evidence,
            "gates": item.gates, "due_s": item.due,
        })  # fmt: skip
        if not done and item.gates == "complete":
            reasons.append(f"checklist: {item.item}: {evidence}")
    return told, reasons


def _item(site: Site, run: Run, plan: Plan, item: ChecklistItem) -> tuple[bool, str]:
    if item.step:
        index = next((step.index for step in plan.every_step() if step.id == item.step), "")
        record = run.steps.get(index)
        return bool(
            record and record.status == "ended"
        ), f"step {item.step} is {record.status if record else 'not taken'}"
    events = [event for event in site.journal.events() if event.run == run.id]
    noted = [e for e in events if e.kind == "checklist.item" and e.data.get("id") == item.id]
    if item.gates == "start" and noted:  # settled before the first step, and not asked again
        return bool(noted[0].data["done"]), str(noted[0].data["evidence"])
    if item.message:
        sent = [
            e for e in events if e.kind == "message.queued" and e.data.get("name") == item.message
        ]
        return bool(sent), f"message {item.message} {'is on its way' if sent else 'was not sent'}"
    if item.check:
        suites = [
            result for result in run.suites.values() if item.check in _dict(result.get("findings"))
        ]
        answer = (
            _dict(_dict(suites[-1].get("findings")).get(item.check)).get("outcome")
            if suites
            else None
        )
        return answer == "pass", f"check {item.check} answered {answer or 'nothing'}"
    if item.record:
        records.collect(site, run, plan, item.record)
        return records.settled(site, run, item.record)
    wanted = item.attest or item.follow_up
    done, said = starting.answered(site, run, item.id)
    return done, f"{said}; it is for {wanted} to say"


def _ask(
    site: Site, run: Run, plan: Plan, wanted: Expectations, suite: Suite, view: View,
    sealed: Seal | None,
) -> SuiteResult:  # fmt: skip
    from rollback.prove.suite import run_suite

    folder = site.run_folder(run.id)
    work = folder / "suites" / f"{suite}-{site.host.token(4)}"
    site.state.tree.make_folder(str(work.relative_to(site.state.path)), parents=True)
    return run_suite(
        suite, system=site.system, host=site.host, expectations=wanted, environment=plan.environment,
        since=view.since, work=work, allure=folder / "allure-results",
        deadline_s=proving.deadline_s(site.system, suite), run_id=run.id, level=plan.level,
        baseline=_baseline(site, sealed), held=view.held,
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
        "skipped": result.skipped, "duration_s": round(result.duration_s, 3),
        "reasons": list(result.reasons), "findings": findings, "status": result.status,
    }  # fmt: skip


def _watched(site: Site, plan: Plan) -> Iterator[str]:
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


def _dict(value: object) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}
