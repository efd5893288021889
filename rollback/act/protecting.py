"""The present as checkpoints of its own: before a run changes it, and when people may have since.

Hides: how these are named; when one that a killed driver made is still the present.
Never: takes a checkpoint for the present that is not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rollback.act.guarding import kept_as
from rollback.act.plan import Plan, PlannedStep, plan_of
from rollback.act.site import Site
from rollback.host.clock import parse_iso
from rollback.model.errors import RollbackError
from rollback.model.lifecycle import Run, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rollback.keep.checkpoint import Checkpoint

FORGOTTEN_S = 60.0  # a driver that died is followed within seconds by whoever watches it


def present(site: Site, run: Run, touched: tuple[str, ...], *, where: str = "") -> Checkpoint:
    """The components as they stand are a checkpoint; `where` is the environment, if not the run's.

    Again: the same one while it still is the present, else another. Raises: StoreError, OSError.
    """
    listed = site.checkpoints.list()
    newest = next(_made(listed, run, where), None)
    if newest is not None and _stands(site, newest, touched):
        return newest
    kind, _, _ = kept_as(plan_of(run))
    return site.checkpoints.create(
        _free(listed, _name(run, where)), kind=kind, components=touched, reason=_reason(run, where)
    )


def safety_of(site: Site, run: Run, plan: Plan, step: PlannedStep) -> str:
    """The checkpoint of the present of the environment that the step works in; "" for none."""
    if step.environment == plan.environment or not step.touches:
        return run.safety
    found = next(_made(site.checkpoints.list(), run, step.environment), None)
    return found.id if found else ""


def forgotten(site: Site, run: Run) -> bool:
    """True when nobody drove the run for so long that people may have worked on the system since.

    That somebody sends a stopped run on ends that time, and is no work of the run.
    """
    if run.state not in (State.PROTECTED, State.RUNNING, State.UNDOING) or not run.steps:
        return False
    mine = [e for e in site.journal.events() if e.run == run.id and e.kind != "run.retried"]
    idle_s = (site.host.clock.now() - parse_iso(mine[-1].at)).total_seconds()
    return idle_s > FORGOTTEN_S or idle_s < 0


def keep_left(site: Site, run: Run, plan: Plan, name: str) -> None:
    """What stands in the components of the run is a checkpoint of this name; once."""
    if plan.touched and not any(one.name == name for one in site.checkpoints.list()):
        site.checkpoints.create(
            name, kind="safety", components=plan.touched, reason=f"as run {run.id} was found"
        )


def _name(run: Run, where: str) -> str:
    return f"{kept_as(plan_of(run))[1]}-{run.id}" + (f"-{where}" if where else "")


def _free(listed: Iterable[Checkpoint], name: str) -> str:
    """The name, with a number where another checkpoint has it."""
    taken = {one.name for one in listed}
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _reason(run: Run, where: str) -> str:
    return kept_as(plan_of(run))[2] + (f", of {where}" if where else "")


def _made(listed: Iterable[Checkpoint], run: Run, where: str) -> Iterator[Checkpoint]:
    """The whole ones that were made before this run, the newest first."""
    name = re.compile(re.escape(_name(run, where)) + r"(-[0-9]+)?")
    for one in listed:
        if one.state == "whole" and name.fullmatch(one.name) and one.reason == _reason(run, where):
            yield one


def _stands(site: Site, found: Checkpoint, touched: tuple[str, ...]) -> bool:
    """True when the components are as they were captured; what cannot be compared is not."""
    try:
        return set(touched) <= set(found.parts) and not any(
            site.checkpoints.diff(found.id, name) for name in touched
        )
    except (RollbackError, OSError):
        return False
