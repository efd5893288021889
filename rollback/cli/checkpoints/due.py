"""`rollback checkpoint due`: does what is due now: checkpoints, exports, a slice read again; for cron."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollback.cli.checkpoints.copy import lines as copy_lines
from rollback.cli.checkpoints.copy import told as copy_told
from rollback.cli.checkpoints.verify import slice_lines, slice_told
from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, safe, seen, size, table
from rollback.model.quantity import counted, spoken

if TYPE_CHECKING:
    from rollback.act.exporting import Exported, Exporting
    from rollback.act.keeping import Scheduled


@click.command("due", short_help="Take what is scheduled and due now.")
@click.option("--dry-run", is_flag=True, help="Show the schedule; take nothing.")
@pass_desk
def due(desk: Desk, dry_run: bool) -> int:
    """Take every scheduled checkpoint that is due now, export what is due, read a slice again.

    Called every minute it does each once, in time. Where nothing was due it says so on a terminal
    only, since cron mails whatever is said. For cron:

        * * * * *  cd /srv/shop && rollback checkpoint due

        17 3 * * * cd /srv/shop && rollback checkpoint prune
    """
    from rollback.act.exporting import exports
    from rollback.act.keeping import schedule
    from rollback.act.upkeep import Upkeep, upkeep

    with desk.look() if dry_run else desk.site() as site:
        before = schedule(site)
        exported = exports(site) if dry_run else ()
        done = Upkeep() if dry_run else upkeep(site)
        made = done.taken.made
        if made:
            site.anchor()
        changed = bool(made) or any(one.file for one in done.exported) or bool(done.slice.new)
        body = {
            "changed": changed, "schedule": [one.as_json() for one in before],
            "made": [{"id": one.id, "kind": one.kind, "state": one.state} for one in made],
            "standby": dict(done.taken.standby),
            "copied": [copy_told(one) for one in done.taken.copied],
            "exports": [one.as_json() for one in exported],
            "exported": [one.as_json() for one in done.exported],
            "verified": slice_told(done.slice),
        }  # fmt: skip

        def lines() -> list[str]:
            if not dry_run:
                said = [f"{one.kind} {one.id[:12]}: {counted(len(one.components), 'component')}"
                         for one in made]  # fmt: skip
                said += [line for one in done.taken.copied for line in copy_lines(one)]
                said += warnings(before) if made else []
                said += [line for one in done.exported for line in _export_lines(one)]
                said += slice_lines(done.slice) if done.slice.new else []
                return said or ([_nothing(before)] if seen() else [])  # cron mails what it hears
            if not before and not exported:
                return ["no checkpoint is scheduled; declare: checkpoints.kinds, on: schedule"]
            rows = [(one.kind, spoken(one.every_s), one.last[:16] or "never",
                     "due" if one.due else "-") for one in before]  # fmt: skip
            rows += [(f"{one.kind} as tar", f"in {one.place}", one.last[:16] or "never",
                      "due" if one.due else "-") for one in exported]  # fmt: skip
            closer = [f"  closer together than declared: {safe(one.closer)}"
                      for one in before[:1] if one.closer]  # fmt: skip
            late = [*warnings(before), *export_warnings(exported)]
            return [*table(("kind", "every", "last", ""), rows), *closer, *late]

        desk.out(body, lines)
        return 8 if done.slice.damaged else 0


def _nothing(found: tuple[Scheduled, ...]) -> str:
    last = max((one.last for one in found), default="")
    if not found:
        return "nothing was due: no checkpoint is scheduled"
    return (
        f"nothing was due: the last scheduled checkpoint is of {last[:16]}"
        if last
        else "nothing was due"
    )


def warnings(found: tuple[Scheduled, ...]) -> list[str]:
    """A line for each scheduled checkpoint that did not happen."""
    return [
        f"warning: the scheduled checkpoint {one.kind} did not happen: {safe(one.missed)}"
        for one in found
        if one.missed
    ]


def export_warnings(found: tuple[Exporting, ...]) -> list[str]:
    """A line for each kind whose export did not happen, or cannot be looked at."""
    return [f"warning: {one.kind} as tar: {safe(one.problem)}" for one in found if one.problem]


def _export_lines(one: Exported) -> list[str]:
    if one.problem:
        said = f"{one.kind}: {paint('NOT EXPORTED', 'bold')}: {safe(one.problem)}"
        return [said, *([f"  try: {safe(one.hint)}"] if one.hint else [])]
    gone = f", for it {counted(len(one.removed), 'older one')} went" if one.removed else ""
    return [f"{one.kind}: {safe(one.file)}, {size(one.size_bytes)}, read back{gone}"]
