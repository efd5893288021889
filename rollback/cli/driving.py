"""What the commands that move a run have in common: confirm, drive, tell.

Hides: the order of these.
Never: a command.
"""

from __future__ import annotations

from typing import Any

import click

from rollback.act import asked, authorize, climbing, incident, lifeline, stopped
from rollback.act.driving import drive, upwards
from rollback.act.guarding import command_of
from rollback.act.plan import Plan, plan_of
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.cli.desk import Desk
from rollback.cli.planning import plan_lines, terminal
from rollback.cli.show import paint, safe
from rollback.cli.timeline import (
    down_lines,
    exit_status,
    next_lines,
    result,
    result_lines,
    suspended_lines,
)
from rollback.model.lifecycle import ENDED, Run, State

NEEDS_OPERATOR = 9


def decline_idle(desk: Desk, site: Site, plan: Plan) -> int:
    """The target equals the present: said so, and the next level offered; nothing is changed.

    The status is that of a run which needs a person, where one does: it was not proved, nor is this.
    """
    needing = incident.needing(site)
    unproved = needing[-1] if needing and not plan.undoes else None
    about = incident.open_one(site)
    offer = "" if plan.undoes else climbing.onwards(site, plan, about).level
    down = stopped.services(site, plan.environment)
    ill = stopped.suspended(site, plan.environment)
    body = {"changed": False, "level": plan.level, "state": None, "offer": offer or None,
            "not_running": [*down], "suspended": ill,
            "unproved": unproved.id if unproved else None}  # fmt: skip

    def lines() -> list[str]:
        said = [
            f"nothing to roll back here: {plan.level} is already at {plan.target.label or 'its target'}"
        ]
        if unproved is not None:
            said += [f"  but run {unproved.id} needs a person: {safe(unproved.reason)}"]
            said += next_lines(site.under(unproved), unproved)
        said += (suspended_lines(ill, plan.environment) + down_lines(down, plan.environment)) or [
            "  try: ask whether it is well: rollback verify"
        ]
        return said + (
            [f"  if it is not well, the next level is: rollback run {offer}"] if offer else []
        )

    desk.out(body, lines)
    return NEEDS_OPERATOR if unproved is not None else 0


def checklist_of(site: Site, run: Run) -> list[dict[str, Any]]:
    """The items of the run's checklist, as they were filled."""
    return [event.data for event in site.journal.events()
            if event.run == run.id and event.kind == "checklist.item"]  # fmt: skip


def end_lines(site: Site, run: Run) -> list[str]:
    """The end of a run for people; of a guard also what was kept, its checklist, and every way back."""
    said, step = result_lines(site, run), command_of(plan_of(run))
    if step is None:
        return said
    kept = site.checkpoints.get(run.safety) if run.safety else None
    items = checklist_of(site, run)
    if kept:
        said.append(f"  kept before it: checkpoint {kept.name} {kept.id[:12]}")
    said += ["  checklist"] if items else []
    said += [f"    {paint('✓', 'green') if one['done'] else '·'} {safe(one['item'])}: "
             f"{safe(one['evidence'])}" for one in items]  # fmt: skip
    if kept and exit_status(run) != 0:
        said.append(f"  to go back: rollback undo {run.id}")
        back = step.bound["way_back"]
        assert isinstance(back, list)
        said += [f"    or: {safe(line)}" for line in back[1:]]
    return said


def carry(desk: Desk, site: Site, run: Run, *, person: str, yes: bool, wait: bool) -> int:
    """The run goes as far as it can, and up where that is declared; the end is told.

    The status is that of the last run; while that has not proved the system well, a person is needed
    for the first one too.
    """
    there = site.under(run)
    if run.state is State.PLANNED:
        run = confirm(desk, there, run, person=person, yes=yes)
    lifeline.arm(there, run)
    runs = upwards(site, drive(there, run, wait=wait), wait=wait)
    told = [result(site.under(one), one) for one in runs]
    body = {**told[-1], "climbed_from": told[:-1]}
    desk.out(body, lambda: [line for one in runs for line in end_lines(site.under(one), one)])
    return NEEDS_OPERATOR if runs[1:] and exit_status(runs[-1]) else exit_status(runs[-1])


def lapsed(desk: Desk, site: Site, run: Run) -> int | None:
    """None while people may still answer; else what follows has been done and told: the status."""
    if run.state in ENDED or not asked.overdue(site.under(run), run):
        return None
    run = drive(site, run, wait=False)
    desk.out(result(site, run), lambda: result_lines(site, run))
    return exit_status(run)


def confirm(
    desk: Desk, site: Site, run: Run, *, person: str, yes: bool, question: str = "go back now?"
) -> Run:
    """The operator's own confirmation is recorded, where the level lets the requester speak."""
    plan = plan_of(run)
    authority = asked.declared(site, plan)
    needed = authorize.standing(site, run, plan)
    if needed.enough:
        return run
    if not authority.alone or person not in authorize.may_approve(site, run):
        return run  # somebody else has to say yes; --yes is not a second person
    if not yes:
        if desk.as_json or not terminal():
            return run
        for line in plan_lines(plan):
            click.echo(safe(line) if "\x1b" not in line else line, err=True)
        if not click.confirm(question, err=True, default=False):
            return abort(site, run, by=person, reason="not confirmed at the terminal")
    declared = next((m for m in site.system.people.members if m.id == person), None)
    if declared and declared.key:
        return run  # keys are declared: it takes a signed approval
    authorize.approve(
        site, run, person=person, note="--yes" if yes else "confirmed at the terminal"
    )
    return site.run(run.id)
