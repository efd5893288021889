"""`rollback undo RUN`: a run back to the checkpoint that was made before RUN."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("undo", short_help="Take back what a run did.")
@click.argument("run", default="last")
@click.option("--reason", default="", help="Why; it stands in the report.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who asks for it.")
@click.option("--yes", is_flag=True, help="Confirm now, without being asked.")
@pass_desk
def command(desk: Desk, run: str, reason: str, person: str | None, yes: bool) -> int:
    """Take back what RUN did, step by step, to its safety checkpoint.

    Without RUN: the last one that changed something and was not taken back.

    It is a run of its own, under the authority of RUN, level or procedure; without a gate it ends
    MITIGATED.
    """
    from rollback.act.authorize import create, next_run_id
    from rollback.act.back import last_done, undo_plan
    from rollback.act.stopping import abort
    from rollback.cli.driving import carry, decline_idle
    from rollback.model.lifecycle import State

    with desk.site(create=False, listen=desk.live()) as site:
        who = desk.person(person)
        old = last_done(site) if run == "last" else site.run(run)
        plan = undo_plan(site, old, run=next_run_id(site), requester=who, reason=reason)
        if plan.idle:
            if old.state is State.NEEDS_OPERATOR:
                abort(
                    site,
                    old,
                    by=who,
                    reason="nothing that it did is left to take back",
                    as_it_is=True,
                )
            return decline_idle(desk, site, plan)
        return carry(desk, site, create(site, plan), person=who, yes=yes, wait=False)
