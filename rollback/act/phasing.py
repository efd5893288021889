"""A phase that is done is a checkpoint of the declared kind `on: phase`, by itself or on request.

Of work outside of runs somebody says that its phase is done: `rollback checkpoint create PHASE
--kind KIND`. Of a run the engine knows: when the last step of a declared phase has ended. Such a
one stands between two states of the system, so nobody goes back to it unasked.

Hides: how such checkpoints are named.
Never: stops a run, or delays an emergency or what stores nothing, for a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rollback.act.site import Site
from rollback.host.below import why
from rollback.model.errors import RollbackError, UsageError
from rollback.model.event import Event
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import Run
from rollback.model.registry import nearest
from rollback.model.system import HOME, System

if TYPE_CHECKING:
    from rollback.act.plan import Plan
    from rollback.keep.checkpoint import Checkpoint

_DONE = ("ended", "skipped")


def kind_of_phases(system: System) -> str:
    """The id of the declared kind `on: phase`; empty where none is."""
    return next((name for name, one in system.checkpoints.kinds.items() if one.on == "phase"), "")


def known(system: System) -> tuple[str, ...]:
    """The phases that the declaration names: of components, levels and procedures."""
    found = [one.phase for one in system.components.values() if one.phase]
    levels: tuple[Level | Procedure, ...] = (*system.levels.values(), *system.procedures.values())
    for level in levels:
        found += [phase.id for phase in level.phases]
    return tuple(dict.fromkeys(found))


def named(site: Site, phase: str | None) -> str:
    """The name for a checkpoint at the end of this phase now: the phase, then the moment.

    Raises: UsageError where none is named, or the declaration knows others and not this one.
    """
    phases = known(site.system)
    if not phase:
        raise UsageError("which phase is done?",
                         hint=f"rollback checkpoint create PHASE --kind {kind_of_phases(site.system)}"
                         + (f" ({', '.join(phases)})" if phases else ""))  # fmt: skip
    if phases and phase not in phases:
        raise UsageError(f"there is no phase {phase!r}", hint=nearest(phase, phases))
    base = f"{phase}-{site.host.clock.now():%Y%m%d-%H%M%S}"
    taken = {one.name for one in site.checkpoints.list()}
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}.{number}"
    return name


def keep_phases(site: Site, run: Run, plan: Plan) -> Run:
    """Every phase of the run that is done has its checkpoint, or the journal says why not; each once.

    Again, also after a crash: no second one.
    """
    kind = kind_of_phases(site.system)
    if not kind or plan.emergency or plan.environment != HOME or not plan.touched:
        return run
    done = list(_done(site, run, plan))
    if not done:
        return run
    told = {str(event.data.get("phase")) for event in site.journal.events()
            if event.run == run.id and "phase" in event.data}  # fmt: skip
    for phase in done:
        if phase not in told:
            run = _keep(site, run, kind, phase)
    return run


def of_runs(site: Site) -> frozenset[str]:
    """The checkpoints that runs took between their steps."""
    return frozenset(str(event.data.get("checkpoint")) for event in site.journal.events()
                     if _between(event))  # fmt: skip


def _between(event: Event) -> bool:
    return bool(event.run) and event.kind == "checkpoint.created" and "phase" in event.data


def _done(site: Site, run: Run, plan: Plan) -> Iterator[str]:
    """The declared phases all of whose steps have ended, in order; those without a step never are."""
    level = site.system.level(plan.level)
    declared = level[1] if level else site.system.procedures.get(plan.level)
    for phase in declared.phases if declared else ():
        mine = [step for step in plan.steps if step.parameters.get("phase") == phase.id]
        if mine and all(_ended(run, step.index, [one.index for one in step.alternatives])
                        for step in mine):  # fmt: skip
            yield phase.id


def _ended(run: Run, index: str, alternatives: list[str]) -> bool:
    """True when the step has ended, or what stood in for it has."""
    records = [run.steps.get(one) for one in (index, *alternatives)]
    return any(record is not None and record.status in _DONE for record in records)


def _keep(site: Site, run: Run, kind: str, phase: str) -> Run:
    from rollback.act.keeping import components_of

    name = f"{phase}-{run.id}"
    try:
        made: Checkpoint | None = next(
            (one for one in site.checkpoints.list() if one.name == name and one.state == "whole"),
            None,
        )
        made = made or site.checkpoints.create(
            name, kind=kind, components=components_of(site, kind),
            reason=f"phase {phase} of run {run.id} is done",
        )  # fmt: skip
    except (RollbackError, OSError) as error:
        return site.note(run, "run.noted", phase=phase,
                         note=f"phase {phase} is done, and is no checkpoint: {why(error)}")  # fmt: skip
    return site.note(run, "checkpoint.created", checkpoint=made.id, name=made.name,
                     state=made.state, type=kind, phase=phase)  # fmt: skip
