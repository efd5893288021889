"""`rollback resume RUN`: a run that was interrupted, waits, or stopped goes on."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("resume", short_help="Go on with a run that was interrupted, waits, or stopped.")
@click.argument("run", default="open")
@click.option("--wait", is_flag=True, help="Stay until it has ended, through every waiting.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who is typing.")
@pass_desk
def command(desk: Desk, run: str, wait: bool, person: str | None) -> int:
    """Go on with RUN (default: the newest that has not ended).

    A step that began and did not end is probed first, never simply repeated. A run that stopped at
    a closed gate asks the gate again.
    """
    from rollback.act.stopping import retry
    from rollback.cli.driving import carry
    from rollback.model.lifecycle import State

    with desk.site(create=False, listen=desk.live()) as site:
        if person:
            desk.person(person)  # a name that nobody has goes on with nothing
        found = site.run(run)
        if found.state is State.NEEDS_OPERATOR:
            found = retry(site, found, by=desk.person(person))
        who = desk.person(person) if found.state is State.PLANNED else ""
        return carry(desk, site, found, person=who, yes=False, wait=wait)
