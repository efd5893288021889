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
    """Record TEXT as the answer to ITEM of RUN's checklist.

    The item is settled by a TEXT that begins with yes or done, and stays open after any other one.
    The last answer counts.
    """
    from rollback.act.stopping import answer
    from rollback.model.level import settles

    with desk.site(create=False) as site:
        who = desk.person(person)
        found = answer(site, site.run(run), item=item, text=text, by=who)
        done = settles(text)
        body = {"run_id": found.id, "item": item, "by": who, "settled": done}
        word = "settled" if done else "noted, and it stays open until somebody says yes or done"
        follows = f"  try: rollback {'resume' if done else 'answer'} {found.id}" + (
            "" if done else f" {item} yes"
        )
        desk.out(body, lambda: [f"{item} of {found.id}: said by {who}: {word}", follows])
        return 0
