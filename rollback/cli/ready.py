"""`rollback ready`: could we go back right now, level by level; and how well failures are prevented."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, safe, table
from rollback.model.quantity import counted

if TYPE_CHECKING:
    from rollback.act.practices import Practised
    from rollback.act.readiness import Readiness
    from rollback.act.row import Row


@click.command("ready", short_help="Could we go back right now, level by level?")
@click.argument("levels", nargs=-1, metavar="[LEVEL]...")
@pass_desk
def command(desk: Desk, levels: tuple[str, ...]) -> int:
    """Plan each level (or those named) and ask what its plan would meet; nothing is changed.

    Exit 7 when a level is not known to be ready. Then come rehearsals and practices, and when the
    declaration is due for review.
    """
    from rollback.act import readiness, rehearsed
    from rollback.act.practices import practices

    with desk.look() as site:
        who = desk.asker()
        found = [one for level in levels for one in readiness.named(site, level, requester=who)] \
            if levels else [*readiness.every_level(site, requester=who)]  # fmt: skip
        practised = () if levels else practices(site)
        drills = () if levels else rehearsed.standings(site)
        review = readiness.review(site)
        ready = all(one.ready for one in found)
        body = {
            "ready": ready, "levels": [one.as_json() for one in found],
            "drills": [one.as_json() for one in drills],
            "practices": [one.as_json() for one in practised],
            "declaration": {"version": site.system.system.version,
                            "next_review": str(site.system.system.next_review),
                            "overdue": review.finding.answer != "pass"},
        }  # fmt: skip

        def lines() -> list[str]:
            said = [line for one in found for line in _level(one, whole=bool(levels))]
            overdue = [one for one in drills if one.why]
            if overdue:
                said += ["", paint(f"{counted(len(overdue), 'drill')} overdue", "bold"),
                         *(f"  {one.drill.id} ({safe(one.drill.fault)}): {safe(one.said)}"
                           for one in overdue)]  # fmt: skip
            return [*said, *_practices(practised), "", *_row(review)]

        desk.out(body, lines)
        return 0 if ready else 7


def _level(one: Readiness, *, whole: bool) -> list[str]:
    """The level, and what it lacks; `whole`: everything that was asked."""
    alone = f", {one.component} alone" if one.component else ""
    word = "ready" if one.ready else "NOT READY" if one.blocked else "NOT KNOWN TO BE READY"
    rows = [row for row in one.rows if whole or (row.needed and row.finding.answer.value != "pass")]
    return [paint(f"{one.rank} {one.level}{alone}: {word}", "green" if one.ready else "red"),
            *(line for row in rows for line in _row(row))]  # fmt: skip


def _row(row: Row) -> list[str]:
    mark = {"pass": "✓", "fail": "✗" if row.needed else "!", "unknown": "?"}[
        row.finding.answer.value
    ]
    said = [f"  {mark} {row.what:<12} {safe(row.finding.evidence)}"]
    return said + ([f"      try: {safe(row.hint)}"] if row.hint else [])


def _practices(found: tuple[Practised, ...]) -> list[str]:
    if not found:
        return []
    kept = sum(one.finding.answer.value == "pass" for one in found)
    rows = [(one.practice.id, one.finding.answer.value, "" if one.hours is None else f"{one.hours:g} h",
             safe(one.finding.evidence)) for one in found]  # fmt: skip
    return ["", paint(f"{kept} of {counted(len(found), 'practice')} shown", "bold"),
            *table(("practice", "shown", "costs", ""), rows, indent="  ")]  # fmt: skip
