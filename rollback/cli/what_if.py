"""`rollback what-if`: replays past readings through the present rules; changes nothing."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, table
from rollback.model.errors import UsageError
from rollback.model.quantity import counted, duration_s, spoken

if TYPE_CHECKING:
    from rollback.judge.replay import Replayed
    from rollback.model.system import System

_A_DAY = timedelta(days=1)


@click.command("what-if", short_help="Replay past readings through the present rules.")
@click.argument("readings", required=False, type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--prometheus", is_flag=True,
              help="Ask the servers of the declared prometheus metrics for their past readings.")  # fmt: skip
@click.option("--since", default=None, metavar="TIME",
              help="Only readings from then on; with --prometheus a day ago unless given.")  # fmt: skip
@click.option(
    "--until", default=None, metavar="TIME", help="With --prometheus: up to then, not now."
)
@click.option("--step", default=None, metavar="TIME",
              help="With --prometheus: one reading every so often, not at the agent's interval.")  # fmt: skip
@pass_desk
def command(
    desk: Desk, readings: Path | None, prometheus: bool, since: str | None, until: str | None,
    step: str | None,
) -> int:  # fmt: skip
    """Say when the present triggers would have fired, at which level, and how often wrongly.

    Without FILE.csv the readings of every decision in the journal are taken; with --prometheus those
    that the servers of the prometheus metrics still have. A table has columns at, one for each metric,
    and bad (0 or 1) where somebody knows; then precision, recall and the delay of detection are told, too.
    """
    from rollback.act.replaying import from_journal, from_table

    if readings is not None and (prometheus or since):
        raise UsageError(
            "a table is replayed whole", hint="leave out --prometheus and --since, or the table"
        )
    if not prometheus and (until or step):
        raise UsageError(
            "--until and --step are for --prometheus", hint="rollback what-if --prometheus"
        )
    if prometheus:
        told = _from_servers(desk, _time("--since", since), _time("--until", until), step)
    elif readings is not None:
        told = from_table(desk.system, readings)
    else:
        with desk.look() as site:
            told = from_journal(site, since=_time("--since", since))
    kept = os.path.lexists(desk.system.state_path)
    desk.out(
        told.as_json(),
        lambda: _lines(told) if told.moments else _nothing(desk.system, kept, since, readings),
    )
    return 0


def _nothing(system: System, kept: bool, since: str | None, table: Path | None) -> list[str]:
    """Why there was no reading to replay, and what to type."""
    from rollback.cli.decide import NO_METRIC, NO_TRIGGER
    from rollback.judge.decision import NO_RULE, ruled

    if not system.metrics:
        return ["no metric is declared, so there is no reading to replay", NO_METRIC]
    if not ruled(system):
        return [NO_RULE, NO_TRIGGER]
    if table is not None:
        return [
            f"{table} holds no row to replay",
            "  try: another table: rollback what-if FILE.csv",
        ]
    others = "; or give a table: rollback what-if FILE.csv"
    if any(one.source.kind == "prometheus" for one in system.metrics.values()):
        others = f"; or ask the servers: rollback what-if --prometheus{others}"
    if since:
        return [f"the journal holds no reading since {since}", f"  try: an earlier --since{others}"]
    if not kept:
        return ["nothing was ever kept here, so there is no reading to replay",
                f"  try: rollback checkpoint create NAME, then rollback decide{others}"]  # fmt: skip
    return ["the journal holds no reading to replay", f"  try: rollback decide{others}"]


def _from_servers(
    desk: Desk, since: datetime | None, until: datetime | None, step: str | None
) -> Replayed:
    from rollback.act.replaying import from_servers
    from rollback.observe.view import View

    end = until or desk.host.clock.now().replace(microsecond=0)
    try:
        step_s = duration_s(step) if step else desk.system.monitor.interval
    except ValueError as error:
        raise UsageError(f"--step {step}: {error}", hint="write --step 1m") from None
    if step_s <= 0:
        raise UsageError(f"--step {step} is no time", hint="write --step 1m")
    return from_servers(
        View(desk.system, desk.host), since=since or end - _A_DAY, until=end, step_s=step_s
    )


def _time(option: str, written: str | None) -> datetime | None:
    from rollback.host.clock import parse_iso

    try:
        return parse_iso(written) if written else None
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {written} is no UTC time", hint="write 2026-11-20T12:00:00Z"
        ) from None


def _lines(told: Replayed) -> list[str]:
    rows = [
        (f"{one.since:%Y-%m-%d %H:%M:%S}", spoken((one.until - one.since).total_seconds()),
         one.trigger, one.said)
        for one in told.alerts
    ]  # fmt: skip
    said = [
        f"{counted(told.moments, 'moment')} over {spoken(told.span_s)}, {told.unknown} with something UNKNOWN"
    ]
    said += (
        [*table(("fires at", "for", "rule", "and calls for"), rows)]
        if rows
        else ["nothing would have fired"]
    )
    said += _held_back(told)
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


def _held_back(told: Replayed) -> list[str]:
    """What was called for too few times in a row, the longest row of each rule."""
    said = []
    for trigger in dict.fromkeys(one.trigger for one in told.held_back):
        mine = [one for one in told.held_back if one.trigger == trigger]
        most = max(mine, key=lambda one: one.row)
        times = f", {len(mine)} times" if len(mine) > 1 else ""
        said.append(f"held back by monitor.threshold: {trigger}, {most.row} of {told.threshold} in a row, "
                    f"from {most.since:%Y-%m-%d %H:%M:%S}{times}")  # fmt: skip
    return said
