"""What became of the system between the plan of a run and its first step.

An approval is about a plan. Who waited for one may find that another run has changed the same component
since, that nothing is left to be done, or that more would be lost by now.

Hides: how a plan is measured again.
Never: changes what the plan does; holds a run up because a living system went on living.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rollback.act.impact import measured
from rollback.act.plan import Plan, PlannedStep, plan_of
from rollback.act.scene import Scene
from rollback.act.site import Site
from rollback.model.errors import RollbackError
from rollback.model.event import Event
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import Run, State
from rollback.model.quantity import listed

MEASURED = "impact.measured"
Seen = Callable[[PlannedStep], Scene]  # what a step of the plan sees now


def why_not(site: Site, run: Run, plan: Plan, seen: Seen) -> str:
    """Why a plan that has taken no step is no longer to be carried out; "" when it still is.

    What it would cost by now is in the journal, where that is not what its plan said.
    """
    if not run.waits:
        return ""  # its plan is from a moment ago
    events = _since(site, run)
    other = _changed(site, run, plan, events)
    if other or plan.emergency:  # an emergency is not measured again
        return other
    try:
        now = _again(site, plan, seen)
    except (RollbackError, OSError):
        return ""  # the step itself will say so, and what follows from it
    if now.idle and not plan.idle:
        return "nothing is left to be done: everything is already as the plan would make it"
    told = [
        event.data["impact"] for event in events if event.run == run.id and event.kind == MEASURED
    ]
    if now.impact != (told[-1] if told else plan.impact):
        site.tell(MEASURED, run=run.id, impact=now.impact)
    return ""


def _since(site: Site, run: Run) -> list[Event]:
    """What happened after the run was planned."""
    events = iter(site.journal.events())
    for event in events:
        if event.run == run.id and event.kind == "run.planned":
            break
    return list(events)


def _changed(site: Site, run: Run, plan: Plan, events: list[Event]) -> str:
    """Which other run has taken steps on a component of the plan, and has not taken them back."""
    began = dict.fromkeys(e.run for e in events if e.kind == "step.ended" and e.run != run.id)
    for name in began:
        other = site.run(name)
        both = [one for one in plan_of(other).touched_in(plan.environment) if one in plan.touched]
        if both and other.state is not State.UNDONE:
            return f"{other.id} has changed {listed(both)} since this was planned; plan it anew"
    return ""


def _again(site: Site, plan: Plan, seen: Seen) -> Plan:
    """The plan as it would be measured now; its steps, target and gate are the same."""
    steps = tuple(replace(step, bound=dict(step.action().bind(seen(step)))) for step in plan.steps)
    system = site.system
    level: Level | Procedure = system.levels.get(plan.level) or system.procedures[plan.level]
    return replace(plan, steps=steps, impact=measured(seen(plan.steps[0]), level, steps))


__all__ = ["MEASURED", "why_not"]
