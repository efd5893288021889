"""`rollback checkpoint due`: takes the scheduled checkpoints that are due now; made for cron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollback.cli.checkpoints.copy import lines as copy_lines
from rollback.cli.checkpoints.copy import told as copy_told
from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, table
from rollback.model.quantity import counted, spoken

if TYPE_CHECKING:
    from rollback.act.keeping import Scheduled


@click.command("due")
@click.option("--dry-run", is_flag=True, help="Show the schedule; take nothing.")
@pass_desk
def due(desk: Desk, dry_run: bool) -> int:
    """Take every scheduled checkpoint that is due now.

    Called every minute it takes each one once, in time. For cron:

        * * * * *  cd /srv/shop && rollback checkpoint due

        17 3 * * * cd /srv/shop && rollback checkpoint prune
    """
    from rollback.act.keeping import Taken, schedule, take_due

    with desk.look() if dry_run else desk.site() as site:
        before = schedule(site)
        taken = Taken() if dry_run else take_due(site)
        made = taken.made
        if made:
            site.anchor()
        body = {
            "changed": bool(made), "schedule": [one.as_json() for one in before],
            "made": [{"id": one.id, "kind": one.kind, "state": one.state} for one in made],
            "standby": dict(taken.standby), "copied": [copy_told(one) for one in taken.copied],
        }  # fmt: skip

        def lines() -> list[str]:
            if not before:
                return ["no checkpoint is scheduled; declare: checkpoints.kinds, on: schedule"]
            if not dry_run:
                said = [f"{one.kind} {one.id[:12]}: {counted(len(one.components), 'component')}"
                         for one in made]  # fmt: skip
                said += [line for one in taken.copied for line in copy_lines(one)]
                return [*said, *warnings(before)] if made else []
            rows = [(one.kind, spoken(one.every_s), one.last[:16] or "never",
                     "due" if one.due else "-") for one in before]  # fmt: skip
            return [*table(("kind", "every", "last", ""), rows), *warnings(before)]

        desk.out(body, lines)
        return 0


def warnings(found: tuple[Scheduled, ...]) -> list[str]:
    """A line for each scheduled checkpoint that did not happen."""
    return [
        f"warning: the scheduled checkpoint {one.kind} did not happen: {safe(one.missed)}"
        for one in found
        if one.missed
    ]
