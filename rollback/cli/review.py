"""`rollback review RUN`: somebody else looks at a run that one person began alone."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("review", short_help="Say what was found about a run whose glass was broken.")
@click.argument("run")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who looked.")
@click.option("--note", required=True, help="What was found.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@pass_desk
def command(desk: Desk, run: str, person: str | None, note: str, key: str) -> int:
    """Record what was found about RUN, which leaves the list of broken glasses with it."""
    from rollback.act.afterwards import settle
    from rollback.act.glass import review

    with desk.site(create=False) as site:
        who = desk.person(person)
        found = review(site, site.run(run), person=who, note=note, key=key)
        settle(site.under(found), found)
        body = {"run_id": found.id, "reviewed_by": who, "note": note}
        desk.out(body, lambda: [f"{who} looked at {found.id}: {note}"])
        return 0
