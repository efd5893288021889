"""What follows a drive, whatever its end: messages, copies, the report, the anchor.

Hides: the order of these.
Never: changes the outcome: what fails here is noted, and the run stays what it is.
"""

from __future__ import annotations

import json
import os
from typing import Any

from rollback.act import checklist
from rollback.act.calling import advance
from rollback.act.delivering import leave
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.act.standing_by import make_ready
from rollback.act.telling import queue_due
from rollback.host.below import why
from rollback.keep.lease import Lease
from rollback.keep.quarantine import held
from rollback.model.errors import HostError, PlanError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import ENDED, Run, State
from rollback.tell import report


def settle(site: Site, run: Run) -> Run:
    """Every message that is due is on its way, the report stands, count and head are anchored."""
    queue_due(site, run)
    advance(site)
    leave(site)
    _copy(site, run)
    run = site.run(run.id)
    _close_undone(site, run)
    old = site.runs().get(str(run.plan.get("undoes", "")))
    if old is not None and run.state is State.MITIGATED:
        write_report(site, old)  # what it says was lost is not any more
    _close_below(site, run)
    run = _measure_kept(site, run)
    run = _paper(site, run)
    if run.state is State.COMPLETE or _kept(run):
        make_ready(site)
    write_report(site, run)
    site.anchor()
    return run


def _paper(site: Site, run: Run) -> Run:
    """The checklist of a run that is over is filled as far as it is done; its incident may be closed."""
    if not run.steps or not run.over:
        return run
    run = checklist.fill(site, run, plan_of(run), whole=True)
    checklist.close(site, run)
    return run


def _kept(run: Run) -> bool:
    """True when the run ended and one of its steps took a checkpoint that may be gone back to."""
    if run.state not in (*ENDED, State.MITIGATED):
        return False
    taking = [step.index for step in plan_of(run).steps if step.kind in ("checkpoint", "guarded")]
    return any(index in run.steps and run.steps[index].status == "ended" for index in taking)


def _copy(site: Site, run: Run) -> None:
    """What the run kept is where its kind has to be: once nothing waits for the run any more."""
    if not site.system.checkpoints.stores or run.state not in (*ENDED, State.MITIGATED):
        return
    from rollback.act.copying import copies_of, copy_along  # most systems have one place

    if copies_of(site).wanted("safety").stores:
        copy_along(site)


def _measure_kept(site: Site, run: Run) -> Run:
    """What lies in the quarantine of the run's steps is in the journal, as it was counted last."""
    touched = [site.system.components[name].path for name in plan_of(run).touched
               if name in site.system.components]  # fmt: skip
    if not run.steps or not touched:
        return run
    try:
        with site.host.tree(os.fsencode(site.system.root_path.resolve())) as root:
            found = held(site.state.tree, root, map(os.fsencode, touched), run.id)
    except (OSError, HostError) as error:
        return site.note(run, "run.noted", note=f"the quarantine cannot be counted: {why(error)}")
    told: list[Json] = [
        {"step": one.step, "where": one.where, "entries": one.entries, "bytes": one.size_bytes}
        for one in found if one.entries
    ]  # fmt: skip
    last = [e.data["kept"] for e in _mine(site, run) if e.kind == "run.noted" and "kept" in e.data]
    return run if told == (last[-1] if last else []) else site.note(run, "run.noted", kept=told)


def write_report(site: Site, run: Run) -> str:
    """The report of the run, as JSON and Markdown in its folder; the path of the latter.

    Crash: a temporary file may stay; the next report of the run, once it has ended, removes it.
    """
    folder = site.run_folder(run.id)
    body = told_of(site, run)
    text = json.dumps(body, indent=2, sort_keys=True).encode()
    with site.state.tree.lock("report.lock", clock=site.host.clock):
        if run.state in ENDED:  # else a driver may be writing there
            site.state.tree.sweep(f"runs/{run.id}")
        site.state.tree.write(f"runs/{run.id}/report.json", text)
        site.state.tree.write(f"runs/{run.id}/report.md", report.markdown(body).encode())
    return str(folder / "report.md")


def told_of(site: Site, run: Run) -> dict[str, Any]:
    """The report as plain data, by the declaration that the run was planned under.

    By the one in force, where that was not kept.
    """
    try:
        system = site.under(run).system
    except PlanError:
        system = site.system
    return report.build(system, run, site.journal.events())


def _close_undone(site: Site, run: Run) -> None:
    """A run that stopped for a person, and has been taken back, waits for nobody any more."""
    old = site.runs().get(str(run.plan.get("undoes", "")))
    if run.state is not State.MITIGATED or old is None or old.state is not State.NEEDS_OPERATOR:
        return
    with Lease(site.state.tree, site.host, purpose=f"close {old.id}"):
        site.note(site.run(old.id), "run.abandoned", reason=f"taken back by {run.id}")


def _close_below(site: Site, run: Run) -> None:
    """The runs that led on to this one by themselves wait for nobody, once it is proved."""
    below = run
    while run.state is State.COMPLETE:
        begun = next(event for event in _mine(site, below) if event.kind == "run.planned")
        found = site.runs().get(str(begun.data.get("follows", "")))
        if found is None:
            return
        below = found
        if below.state is State.NEEDS_OPERATOR:
            with Lease(site.state.tree, site.host, purpose=f"close {below.id}"):
                said = f"{run.id} at {run.plan['level']} proved what this run could not"
                write_report(site, site.note(site.run(below.id), "run.abandoned", reason=said))


def _mine(site: Site, run: Run) -> list[Event]:
    return [event for event in site.journal.events() if event.run == run.id]
