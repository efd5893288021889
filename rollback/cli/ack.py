"""`rollback ack`: somebody has taken it, and no further person is called about it."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("ack", short_help="Say that you have taken it: nobody else is called.")
@click.argument("name", default="", metavar="[INCIDENT|RUN|MESSAGE]")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who has taken it.")
@pass_desk
def command(desk: Desk, name: str, person: str | None) -> int:
    """Acknowledge what people are called about: by default everything that is open.

    It stops ladders and ends calls. It is no approval, and sends no run on.
    """
    from rollback.act.calling import look
    from rollback.act.ladders import acknowledge
    from rollback.cli.show import safe

    with desk.site(create=False) as site:
        who = desk.person(person)
        look(site)  # who was to be called before this moment was called
        event = acknowledge(site, name, by=who)
        found = event.data if event is not None else {"ladders": [], "messages": []}
        body = {"changed": event is not None, "by": who, "ladders": found["ladders"],
                "messages": found["messages"], "at": event.at if event else None}  # fmt: skip

        def lines() -> list[str]:
            if event is None:
                return [f"{safe(name)} was acknowledged before: nothing changes"]
            ladders = body["ladders"]
            what = (
                ", ".join(map(str, ladders))
                if isinstance(ladders, list) and ladders
                else "the call"
            )
            return [f"{who} has taken it: {safe(what)}; nobody else is called",
                    "  see what is open: rollback status"]  # fmt: skip

        desk.out(body, lines)
        return 0
