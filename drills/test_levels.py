"""Each level of the studio against the fault that calls for it, end to end under load, measured.

And once more without the rollback: then the verification must fail, or the drill shows nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from drills import studio_run
from drills.conftest import record
from drills.faults.bad_release import BadRelease
from drills.load import Load
from drills.sandboxes.studio import Studio
from rollback.act import authorize
from rollback.act.deciding import decide_now
from rollback.act.engine import roll_back
from rollback.act.plan import find_level, make_plan
from rollback.act.sealing import ask_suites, seal_checkpoint
from rollback.act.site import Site
from rollback.judge.decision import Decision
from rollback.model.lifecycle import Run, State, elapsed_s

NOTICE_S_MAX = 60.0
LOAD_PER_S = 20.0
CASES = (
    ("flag", "context-leak"),
    ("configuration", "wrong-configuration"),
    ("code", "errors-5xx"),
    ("full-restore", "corrupt-state"),
    ("component", "damaged-knowledge"),
)

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]


@pytest.mark.requirement("MB-67", "MB-68", "MB-69", "MB-70")
@pytest.mark.requirement("PM-01", "PM-03", "PM-05", "PM-07", "PM-30")
@pytest.mark.parametrize(("level", "fault"), CASES, ids=[level for level, _ in CASES])
def test_the_level_repairs_its_fault_within_its_budgets(
    studio: tuple[Studio, Site], tmp_path: Path, level: str, fault: str
) -> None:
    """Noticed by metrics, decided by triggers, rolled back, and COMPLETE by the gate."""
    made, site = studio
    with Load(made.router_url, LOAD_PER_S, counts_file=tmp_path / "load.json"):
        kept = site.checkpoints.create("v1.0.0", kind="release", components=None, reason="drill")
        assert seal_checkpoint(site, kept).green, "the studio was not well to begin with"
        injected_s = time.monotonic()
        proof = _break(made, fault)
        decision = _noticed(site)
        detected_s = time.monotonic() - injected_s
        run = _rolled_back(site, level, fault)
    budgets = find_level(site, level)[1].budgets
    assert budgets is not None, "every level of the studio declares its budgets"
    mitigated, complete = elapsed_s(run, "run.mitigated"), elapsed_s(run, "gate.opened")
    record(
        drill=f"{level}-{fault}", fault=proof, detect_s=round(detected_s, 3),
        decide_s=_between(site, run, "decision.taken", "run.planned"), decided=decision.level,
        rollback_s=mitigated and mitigated[0],
        verify_s=round(complete[0] - mitigated[0], 3) if complete and mitigated else None,
        total_s=round(time.monotonic() - injected_s, 3),
        budgets={"mitigated_s": budgets.mitigated, "complete_s": budgets.complete},
        verdict=str(run.state), reason=run.reason,
    )  # fmt: skip
    assert run.state is State.COMPLETE, run.reason
    assert decision.level == level or level == "component"
    assert mitigated is not None
    assert mitigated[0] <= budgets.mitigated
    assert complete is not None
    assert complete[0] <= budgets.complete


@pytest.mark.parametrize(("level", "fault"), CASES, ids=[level for level, _ in CASES])
def test_without_the_rollback_the_verification_fails(
    studio: tuple[Studio, Site], tmp_path: Path, level: str, fault: str
) -> None:
    """The same fault, and nobody rolls back: some suite must say so."""
    made, site = studio
    with Load(made.router_url, LOAD_PER_S, counts_file=tmp_path / "load.json"):
        kept = site.checkpoints.create("v1.0.0", kind="release", components=None, reason="drill")
        assert seal_checkpoint(site, kept).green, "red before anything was broken shows nothing"
        began_s = time.monotonic()
        proof = _break(made, fault)
        _noticed(site)
        results = ask_suites(site)
    reasons = [reason for result in results for reason in result.reasons]
    red = any(not result.open for result in results)
    record(
        drill=f"{level}-{fault}-left-alone", fault=proof, total_s=round(time.monotonic() - began_s, 3),
        verdict="red" if red else "GREEN", reason=reasons[0] if reasons else "",
    )  # fmt: skip
    assert red, f"with {fault} in force every suite is green: the gate cannot see it"


def _break(made: Studio, fault: str) -> str:
    broken = BadRelease(made, Studio.FAULTS[fault], lambda: _restart(made))
    broken.inject()
    return broken.prove()


def _restart(made: Studio) -> None:
    studio_run.restart(made)


def _noticed(site: Site) -> Decision:
    last: list[Decision] = []

    def bad() -> bool:
        last[:] = [decide_now(site)]
        return last[0].respond == "roll-back"

    assert site.host.clock.poll(bad, within_s=NOTICE_S_MAX, every_s=0.5), last[0].reasoning
    return last[0]


def _rolled_back(site: Site, level: str, fault: str) -> Run:
    component = "knowledge" if level == "component" else ""
    person = site.system.people.members[0].id
    plan = make_plan(
        site, level, run=authorize.next_run_id(site), requester=person, component=component,
        reason=f"drill: {fault}",
    )  # fmt: skip
    run = authorize.create(site, plan)
    authorize.approve(site, run, person=person, note="the drill confirms")
    return roll_back(site, run.id)


def _between(site: Site, run: Run, first: str, second: str) -> Any:
    events = site.journal.events()
    began = [event.boot_s for event in events if event.kind == first]
    ended = [event.boot_s for event in events if event.kind == second and event.run == run.id]
    return round(ended[0] - began[-1], 3) if began and ended else None
