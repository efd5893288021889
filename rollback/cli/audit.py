"""`rollback audit verify`: proves the journal whole, against its anchor."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.model.quantity import counted


@click.group("audit", short_help="Prove the journal whole.")
def command() -> None:
    """The journal: is it what was written, and all of it?"""


@command.command("verify", short_help="Check every hash, the chain and the anchor.")
@pass_desk
def verify(desk: Desk) -> int:
    """Check every event's hash and chain, and the count and head against the anchor."""
    desk.known()
    with desk.site(create=False) as site:
        count, head, anchors = site.journal.verify()
        body = {"whole": True, "events": count, "head": head, "anchors_agree": anchors}

        def lines() -> list[str]:
            against = f"{counted(anchors, 'anchored head')} checked, and right"
            if not anchors:
                missing = (
                    "nothing is anchored yet" if site.journal.anchored else "no anchor is declared"
                )
                against = f"{missing}: a cut tail would not show"
            return [f"the journal is whole: {counted(count, 'event')}, head {head[:16]}; {against}"]

        desk.out(body, lines)
        return 0
