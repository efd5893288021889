"""`rollback checkpoint fetch`: checkpoints come back from a copy."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe
from rollback.model.quantity import counted


@click.command("fetch", short_help="Bring checkpoints back from a further place.")
@click.argument("store")
@click.argument("checkpoint", required=False)
@pass_desk
def fetch(desk: Desk, store: str, checkpoint: str | None) -> int:
    """Bring the checkpoints (or one) that lie in STORE back here, each pack hashed on its way."""
    from rollback.act.copying import copies_of
    from rollback.keep.fetch import fetch as bring

    with desk.site() as site:
        done = bring(site.checkpoints, copies_of(site), site.system.system.id, store, checkpoint)
        if done.checkpoints:
            site.tell("checkpoint.fetched", store=store, checkpoints=list(done.checkpoints))

        def lines() -> list[str]:
            said = [f"{counted(len(done.checkpoints), 'checkpoint')} fetched from {store}"]
            return [*said, *(f"  not fetched: {safe(line)}" for line in done.problems)]

        body = {"store": store, "fetched": list(done.checkpoints), "problems": list(done.problems)}
        desk.out({**body, "changed": bool(done.checkpoints)}, lines)
        return 8 if done.problems else 0
