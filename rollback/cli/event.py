"""`rollback event KIND [NAME=VALUE …]`: tells the journal what happened outside of the tool."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.model.errors import UsageError


@click.command("event", short_help="Tell the journal of a deployment, a veto, a violation …")
@click.argument("kind")
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--id", "identity", default="", help="Told twice with the same id, it is told once.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who tells it.")
@pass_desk
def command(
    desk: Desk, kind: str, fields: tuple[str, ...], identity: str, person: str | None
) -> int:
    """Record that a declared event KIND happened now, with its declared fields.

    Triggers count events. A deployment is refused while a run is open.
    """
    from rollback.act.told import tell_event

    with desk.site() as site:
        who = desk.person(person) if person else desk.asker()
        told = tell_event(site, kind, pairs(fields), by=who, identity=identity)
        body = {"event": kind, "told": told is not None, "seq": told.seq if told else None}
        said = f"{kind}: told by {who}" if told else f"{kind}: told before, with the id {identity}"
        desk.out(body, lambda: [said])
        return 0


def pairs(words: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE by name. Raises: UsageError."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{word!r} has no value", hint="write name=value")
        found[name] = value
    return found
