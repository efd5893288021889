"""`rollback abort RUN`: give a run up; what it did is taken back."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("abort", short_help="Give a run up; what it did is taken back.")
@click.argument("run", default="open")
@click.option("--reason", default="given up", help="Why; it stands in the report.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who is typing.")
@click.option(
    "--as-it-is", is_flag=True, help="Of a run that stopped for a person: take nothing back."
)
@click.option("--yes", is_flag=True, help="Taken and not needed: nothing is asked.")
@pass_desk
def command(
    desk: Desk, run: str, reason: str, person: str | None, as_it_is: bool, yes: bool
) -> int:  # fmt: skip
    """Give RUN up (default: the newest that has not ended).

    Before its first effect it is ABANDONED; later its steps are taken back and it ends UNDONE. What
    cannot be taken back, like the command of a guard, needs a person: exit status 9.
    """
    from rollback.act.driving import drive
    from rollback.act.stopping import abort
    from rollback.cli.driving import NEEDS_OPERATOR, end_lines
    from rollback.cli.timeline import result
    from rollback.model.lifecycle import State

    with desk.site(create=False, listen=desk.live()) as site:
        who = desk.person(person)
        ended = abort(site, site.run(run), by=who, reason=reason, as_it_is=as_it_is)
        if ended.state is State.UNDOING:
            ended = drive(site, ended, wait=False)
        desk.out(result(site, ended), lambda: end_lines(site.under(ended), ended))
        return NEEDS_OPERATOR if ended.state is State.NEEDS_OPERATOR else 0
