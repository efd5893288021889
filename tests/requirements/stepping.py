"""A run up to where its steps are done: what they do is looked at, the gate is others' business."""

from __future__ import annotations

from rollback.act import authorize
from rollback.act.engine import advance, resting
from rollback.act.plan import Plan
from rollback.act.site import Site
from rollback.model.lifecycle import Run, State


def stepped(site: Site, plan: Plan, *, to: State = State.MITIGATED) -> Run:
    """The run of a plan that ada has approved; it is in the wanted state, and its gate unasked."""
    run = authorize.create(site, plan)
    authorize.approve(site, run, person="ada")
    run = site.run(run.id)
    while run.state is not State.MITIGATED and not resting(site, run):
        run = advance(site, run)
    assert run.state is to, (run.state, run.reason)
    return run
