"""What `rollback guard` keeps before a risky command, in how many places, and the way back from it.

Hides: how the declared kind `on: risky` is found.
Never: lets a command start whose checkpoint is in fewer places than declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback.act.site import Site
from rollback.model.finding import Json
from rollback.model.lifecycle import Run
from rollback.model.quantity import counted
from rollback.model.system import System

if TYPE_CHECKING:
    from rollback.act.plan import Plan, PlannedStep
    from rollback.keep.checkpoint import Checkpoint
    from rollback.keep.state import StateDir
    from rollback.model.level import Level


def risky(system: System) -> str:
    """The declared kind that is taken before something risky; `risky` where none is."""
    kinds = system.checkpoints.kinds
    return next((name for name, one in kinds.items() if one.on == "risky"), "risky")


def components(system: System) -> tuple[str, ...]:
    """What a checkpoint before something risky holds."""
    return held_by(system, risky(system))


def held_by(system: System, kind: str) -> tuple[str, ...]:
    """What a checkpoint of a kind holds."""
    from rollback.keep.retention import kind_of

    found = kind_of(kind, system.checkpoints.kinds)
    if found is not None and found.components != "all":
        return found.components
    return tuple(name for name, one in system.components.items() if one.planned is None)


def way_back(system: System, checkpoint: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The rollback plan that lies in a checkpoint of these components: its steps, and what to type."""
    stops = [name for name, one in system.services.items() if set(one.components) & set(names)]
    steps = [f"stop {', '.join(stops)}"] if stops else []
    steps += [f"put back {', '.join(names)}"]
    steps += [f"start {', '.join(stops)}"] if stops else []
    levels = [key for key, one in system.levels.items() if _goes_back_by(system, one, names)]
    return (
        "; ".join(steps), f"rollback checkpoint restore {checkpoint}",
        *(f"rollback run {key} --to checkpoint:{checkpoint}" for key in levels),
    )  # fmt: skip


def _goes_back_by(system: System, level: Level, names: tuple[str, ...]) -> bool:
    """True when the level takes checkpoints for a target, and one of these components is enough."""
    from rollback.act.target import needed_by

    if level.target is None or level.component is not None:
        return False
    takes = any(one.checkpoint or one.phase for one in level.target.sources)
    return takes and set(needed_by(system, level, variant=level.variant or "")) <= set(names)


def with_way_back(reason: str, lines: tuple[str, ...]) -> str:
    """Why a checkpoint is made, and behind that the way back to it."""
    return f"{reason}; the way back: {' | '.join(lines)}"


def command_of(plan: Plan) -> PlannedStep | None:
    """The guarded command of a plan, if it has one."""
    return next((step for step in plan.steps if step.kind == "guarded"), None)


def kept_as(plan: Plan) -> tuple[str, str, str]:
    """Of the checkpoint of the present: its kind, the first word of its name, and why it is made.

    What is kept before a command is good; what is kept before a rollback is a broken present.
    """
    step = command_of(plan)
    if step is None:
        return "safety", "safety", f"before run {plan.stamp['run']}"
    words, back = step.bound["argv"], step.bound["way_back"]
    assert isinstance(words, list)
    assert isinstance(back, list)
    said = f"before: {' '.join(map(str, words))}"
    if step.bound.get("with_plan", True):
        said = with_way_back(said, tuple(map(str, back)))
    return str(step.bound["checkpoint"]), "before", said


def elsewhere(site: Site, made: Checkpoint) -> tuple[dict[str, Json], str]:
    """The checkpoint is copied to its further places: where it is, and why that is not enough."""
    from rollback.act.copying import copies_of, copy_along  # the store: a flag needs none

    copied = copy_along(site)
    standing, _ = copies_of(site).standing([made])
    stands = standing[made.id]
    told: dict[str, Json] = {"places": stands.there}
    if stands.enough:
        return told, ""
    why = "; ".join(f"{one.store}: {one.problem}" for one in copied if one.problem)
    return told, (
        f"the checkpoint is in {stands.there} of {counted(stands.needed, 'place')}"
        + (f" ({why})" if why else "")
    )


def status_of(run: Run, plan: Plan) -> int | None:
    """How the guarded command ended, as a shell would say; None where it did not end, or well."""
    step = command_of(plan)
    record = run.steps.get(step.index) if step else None
    found = record.evidence.get("status") if record and record.status == "failed" else None
    if not isinstance(found, int):
        return None
    return 128 - found if found < 0 else found


def lock_of(state: StateDir, run: str) -> str:
    """The file that the guarded command of a run, and whatever it started, holds locked while it lives."""
    return str(state.path / "runs" / run / "command.lock")


def still_runs(site: Site, run: Run) -> str:
    """That the guarded command of the run lives now, and as which processes; "" where it does not."""
    from rollback.act.plan import plan_of
    from rollback.host import processes

    step, lock = command_of(plan_of(run)), lock_of(site.state, run.id)
    if step is None or not processes.held(lock):
        return ""
    words = step.bound["argv"]
    assert isinstance(words, list)
    pids = processes.carriers(lock)
    kind = "process" if len(pids) == 1 else "processes"
    who = f"{kind} {', '.join(map(str, pids))}" if pids else f"look with: fuser -v {lock}"
    return f"the command {words[0]} still runs: {who}"
