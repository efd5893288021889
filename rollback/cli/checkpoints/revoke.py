"""`rollback checkpoint revoke`: says beside a checkpoint that nobody may go back to it any more."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("revoke", short_help="Never go back to CHECKPOINT any more.")
@click.argument("checkpoint")
@click.option("--reason", required=True, help="Why; it stands beside the checkpoint.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@pass_desk
def revoke(desk: Desk, checkpoint: str, reason: str, person: str | None) -> int:
    """Never go back to CHECKPOINT any more. It stays listed; this is said once and not taken back."""
    from rollback.act import keeping

    with desk.site(create=False) as site:
        made = keeping.revoke(site, checkpoint, reason=reason, by=desk.person(person))
        site.anchor()
        body = {"id": made.id, "name": made.name, "revoked": made.revoked}
        desk.out(body, lambda: [f"checkpoint {made.name or made.id[:12]} is {made.revoked}"])
        return 0
