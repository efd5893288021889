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
    from rollback.act.ladders import acknowledge, ladders, named, over, taken
    from rollback.cli.show import safe

    with desk.site(create=False) as site:
        who = desk.person(person)
        look(site)  # who was to be called before this moment was called
        event = acknowledge(site, name, by=who)
        found = event.data if event is not None else {"ladders": [], "messages": []}
        first = taken(site, name) if event is None else None
        before = {"by": first.data["by"], "at": first.at} if first is not None else None
        body = {"changed": event is not None, "by": who, "ladders": found["ladders"],
                "messages": found["messages"], "at": event.at if event else None,
                "before": before}  # fmt: skip

        def lines() -> list[str]:
            if before is not None:
                took = f"{safe(before['by'])} took {safe(name)} at {str(before['at'])[:16]}Z"
                return [f"{took}: nothing changes"]
            if event is None:
                return [f"nobody is called about {safe(name)} any more: {safe(over(site, name))}"]
            mine = found["ladders"] if isinstance(found["ladders"], list) else []
            known = [named(site, one) for one in ladders(site.journal.events()) if one.id in mine]
            what = "; ".join(known) or "the call"
            return [f"{who} has taken it: {safe(what)}; nobody else is called",
                    "  see what is open: rollback status"]  # fmt: skip

        desk.out(body, lines)
        return 0
