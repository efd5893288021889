"""`rollback what-if`: replays past readings through the present rules; changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, table
from rollback.model.errors import UsageError
from rollback.model.quantity import spoken

if TYPE_CHECKING:
    from rollback.judge.replay import Replayed


@click.command("what-if", short_help="Replay past readings through the present rules.")
@click.argument("readings", required=False, type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option(
    "--since", default=None, metavar="TIME", help="Only readings of the journal from then on."
)
@pass_desk
def command(desk: Desk, readings: Path | None, since: str | None) -> int:
    """Say when the present triggers would have fired, at which level, and how often wrongly.

    Without FILE.csv the readings of every decision in the journal are taken. A table has columns at,
    one for each metric, and bad (0 or 1) where somebody knows; then precision, recall and the delay
    of detection are told, too.
    """
    from rollback.act.replaying import from_journal, from_table
    from rollback.host.clock import parse_iso

    if readings is not None:
        told = from_table(desk.system, readings)
    else:
        try:
            moment = parse_iso(since) if since else None
        except ValueError:
            raise UsageError(
                f"--since {since} is no UTC time", hint="write 2026-11-20T12:00:00Z"
            ) from None
        with desk.look() as site:
            told = from_journal(site, since=moment)
    desk.out(told.as_json(), lambda: _lines(told))
    return 0


def _lines(told: Replayed) -> list[str]:
    if not told.moments:
        return [
            "no reading to replay",
            "  try: rollback decide, or give a table: rollback what-if FILE.csv",
        ]
    rows = [
        (f"{one.since:%Y-%m-%d %H:%M:%S}", spoken((one.until - one.since).total_seconds()),
         one.trigger, one.said)
        for one in told.alerts
    ]  # fmt: skip
    said = [
        f"{told.moments} moments over {spoken(told.span_s)}, {told.unknown} with something UNKNOWN"
    ]
    said += (
        [*table(("fires at", "for", "rule", "and calls for"), rows)]
        if rows
        else ["nothing would have fired"]
    )
    if told.episodes is None:
        return [safe(line) for line in said]
    share = {"precision": told.precision, "recall": told.recall}
    said += [
        f"{name:<10} {'-' if value is None else f'{value:.2f}'}" for name, value in share.items()
    ]
    delays = sorted(told.delays_s)
    middle = spoken(delays[len(delays) // 2]) if delays else "-"
    said.append(f"noticed    {told.detected} of {told.episodes}, half of them within {middle}")
    if told.false_a_month is not None:
        said.append(f"false      {told.false_a_month:.1f} alerts a month")
    return [safe(line) for line in said]
