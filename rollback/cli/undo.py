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
    """Take back what RUN (default: the last one) did, step by step, to its safety checkpoint.

    It is a run of its own, under the same authority; without a gate it ends MITIGATED.
    """
    from rollback.act.authorize import create, next_run_id
    from rollback.act.back import undo_plan
    from rollback.cli.driving import carry, decline_idle

    with desk.site(create=False, listen=desk.live()) as site:
        who = desk.person(person)
        plan = undo_plan(site, site.run(run), run=next_run_id(site), requester=who, reason=reason)
        if plan.idle:
            return decline_idle(desk, site, plan)
        return carry(desk, site, create(site, plan), person=who, yes=yes, wait=False)
