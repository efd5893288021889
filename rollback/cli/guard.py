"""`rollback guard -- COMMAND`: the present is kept, then the risky command runs, then it is proved."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext

import click

from rollback.cli.desk import Desk, pass_desk

NO_PROGRAM = 127


@click.command(
    "guard",
    short_help="Keep the present, run a risky command, prove the system well.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--reason", default="", help="Why; it stands in the report.")
@click.option("--environment", default="production", show_default=True)
@click.option("--as", "person", default=None, metavar="PERSON", help="Who asks for it.")
@click.option("--yes", is_flag=True, help="Confirm now, without being asked.")
@click.option("--dry-run", is_flag=True, help="Show what would be kept and run; change nothing.")
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND…", type=click.UNPROCESSED)
@pass_desk
def command(
    desk: Desk, reason: str, environment: str, person: str | None, yes: bool, dry_run: bool,
    words: tuple[str, ...],
) -> int:  # fmt: skip
    """A run like any other: nothing else starts meanwhile, and nothing of it goes unrecorded.

    A declared procedure named guard says what must hold before, which steps stand around the
    command, and what is on the checklist after it. A command that fails passes its status on.
    """
    from rollback.act.authorize import create, next_run_id
    from rollback.act.built_in import GUARD
    from rollback.act.driving import drive, upwards
    from rollback.act.guarding import command_of, status_of
    from rollback.act.plan import make_plan, plan_of
    from rollback.cli.driving import checklist_of, confirm, end_lines
    from rollback.cli.planning import plan_lines
    from rollback.cli.timeline import exit_status, result
    from rollback.host.attended import said_aside
    from rollback.model.errors import PlanError

    if shutil.which(words[0]) is None:
        return _no_program(desk, words[0])
    with desk.look() if dry_run else desk.site(listen=desk.live()) as site:
        who = desk.asker() if dry_run else desk.person(person)
        plan = make_plan(
            site, GUARD, run=next_run_id(site), requester=who, environment=environment,
            reason=reason, command=words, folder=os.getcwd(),
        )  # fmt: skip
        step = command_of(plan)
        if step is None:
            raise PlanError("the declared procedure guard has no step guarded",
                            hint="add to its steps: - guarded: {}")  # fmt: skip
        if dry_run:
            desk.out({**plan.as_json(), "digest": plan.digest()}, lambda: plan_lines(plan))
            return 0
        run = create(site, plan)
        home, site = site, site.under(run)
        run = confirm(desk, site, run, person=who, yes=yes, question="run it now?")
        with said_aside() if desk.as_json else nullcontext():
            run = drive(site, run, wait=False)
            above = upwards(home, run, wait=False)[1:]
        failed = status_of(run, plan_of(run))
        kept = site.checkpoints.get(run.safety) if run.safety else None
        items = checklist_of(site, run)
        body = {
            **result(site, run), "command_status": failed if failed is not None else
            (0 if run.steps.get(step.index) and run.steps[step.index].status == "ended" else None),
            "checkpoint": kept.id if kept else None, "way_back": step.bound["way_back"],
            "checklist": items, "climbs": [result(home.under(one), one) for one in above],
        }  # fmt: skip

        def lines() -> list[str]:
            ends = [(site, run), *((home.under(one), one) for one in above)]
            return [line for there, one in ends for line in end_lines(there, one)]

        desk.out(body, lines)
        return failed or exit_status(run)


def _no_program(desk: Desk, word: str) -> int:
    """Said as a shell says it, with its status; nothing was kept, and no run is open."""
    from rollback.cli.show import error_json, error_lines, plain_json
    from rollback.model.errors import UsageError

    error = UsageError(f"{word} cannot be started: no such program, or it may not be run",
                       hint="correct the command, then type it again")  # fmt: skip
    body = error_json(error)
    body["error"]["exit_status"] = NO_PROGRAM
    said = [plain_json(body)] if desk.as_json else error_lines(error)
    for line in said:
        click.echo(line, err=not desk.as_json)
    return NO_PROGRAM
