"""`rollback answer RUN ITEM TEXT`: a person's word on an item of the checklist."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("answer", short_help="Say what a run asks of a person.")
@click.argument("run")
@click.argument("item")
@click.argument("text")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@pass_desk
def command(desk: Desk, run: str, item: str, text: str, person: str | None) -> int:
    """Record TEXT as the answer to ITEM of RUN's checklist."""
    from rollback.act.stopping import answer

    with desk.site(create=False) as site:
        who = desk.person(person)
        found = answer(site, site.run(run), item=item, text=text, by=who)
        body = {"run_id": found.id, "item": item, "by": who}
        desk.out(body, lambda: [f"{item} of {found.id}: said by {who}"])
        return 0
