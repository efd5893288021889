"""`rollback history`: what happened: every run, newest first; or the events of one."""

from __future__ import annotations

from collections.abc import Mapping

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import table
from rollback.model.quantity import spoken


@click.command("history", short_help="What happened: every run, or the events of one.")
@click.argument("run", required=False)
@pass_desk
def command(desk: Desk, run: str | None) -> int:
    """List all runs, the newest first, or every event of RUN in order (--json: all in order)."""
    from rollback.act.plan import plan_of
    from rollback.cli.timeline import clocks, of

    desk.known()
    with desk.look() as site:
        if run:
            found = site.run(run)
            events = [event for event in site.journal.events() if event.run == found.id]
            body = [
                {"seq": e.seq, "at": e.at, "event": e.kind, "data": e.data}
                for e in events
                if e.kind != "run.planned"
            ]
            rows = [(e.seq, e.at[:19], e.kind, _said(e.data)) for e in events]
            desk.out(
                {"run_id": found.id, "events": body},
                lambda: table(("seq", "at", "event", ""), rows),
            )
            return 0
        runs = list(site.runs().values())
        told = [
            {"run_id": r.id, "at": r.moments["run.planned"][2], "level": plan_of(r).level,
             "undoes": plan_of(r).undoes or None, "incident": r.incident,
             "reason": plan_of(r).reason, **clocks(site, r), "state": r.state.value,
             "known_red": [*r.known_red]}
            for r in runs
        ]  # fmt: skip
        told_rows = [
            (t["run_id"], t["at"][:16], of(t), r.word, spoken(t["mitigated_s"]),
             spoken(t["complete_s"]), t["incident"] or "-")
            for r, t in reversed([*zip(runs, told, strict=True)])
        ]  # fmt: skip
        head = ("run", "at", "level", "state", "mitigated", "complete", "incident")
        desk.out({"runs": told}, lambda: table(head, told_rows) if told_rows else ["no run yet"])
        return 0


def _said(data: Mapping[str, object]) -> str:
    for key in ("reason", "what", "because", "id", "suite", "name", "person"):
        if data.get(key):
            return str(data[key])
    return ""
