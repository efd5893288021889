"""`rollback report RUN`: the report of a run, from the journal."""

from __future__ import annotations

import json

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("report", short_help="The report of a run.")
@click.argument("run", default="last")
@click.argument("kind", type=click.Choice(["incident", "timeline"]), default="incident")
@pass_desk
def command(desk: Desk, run: str, kind: str) -> int:
    """Print the report of RUN (default: the last one); it also stands in the run's folder."""
    from rollback.act.afterwards import write_report
    from rollback.tell.report import build, markdown

    with desk.site(create=False) as site:
        found = site.run(run)
        write_report(site, found)
        body = build(site.system, found, site.journal.events())
        text = markdown(body)
        if kind == "timeline":
            text = text[text.index("## Timeline") :]
        desk.out(json.loads(json.dumps(body)), lambda: text.splitlines())
        return 0
