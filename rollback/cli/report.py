"""`rollback report RUN`: the report of a run, from the journal."""

from __future__ import annotations

import json
from typing import Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.given import OneOf


@click.command("report", short_help="The report of a run.")
@click.argument("run", default="last")
@click.argument("kind", type=OneOf(["incident", "timeline", "allure"]), default="incident")
@pass_desk
def command(desk: Desk, run: str, kind: str) -> int:
    """Print the report of RUN (default: the last one); it also stands in the run's folder.

    KIND allure makes one HTML file from what the suites left: steps, evidence, samples, logs. It
    needs Node.js and a checkout; without them it says so, and the results stay in the run's folder.
    """
    from rollback.act.afterwards import told_of, write_report
    from rollback.tell.report import markdown

    desk.known()
    with desk.look() as site:
        found = site.run(run)
        if site.state.writable:  # else it is printed all the same
            write_report(site, found)
        body = told_of(site, found)
        text = markdown(body)
        if kind == "allure":
            return _allure(desk, site, found.id, body, text)
        if kind == "timeline":
            text = text[text.index("## Timeline") :]
        desk.out(json.loads(json.dumps(body)), lambda: text.splitlines())
        return 0


def _allure(desk: Desk, site: Any, run: str, body: dict[str, Any], text: str) -> int:
    from rollback.prove import allure
    from rollback.prove.trend import Dated

    results = site.run_folder(run) / "allure-results"
    identity = site.system.system
    site.state.tree.make_folder(f"runs/{run}/allure-results")
    allure.tell_run(results, site.host, identity.title, body, text)
    if not (results / "executor.json").exists():  # it stopped before a suite was asked
        allure.describe(results, site.host, site.system, {"Run": run, "Level": body["level"]})
    dated = [
        Dated(one.id, one.moments["run.planned"][2], f"{identity.title}: {one.id}, {one.word}",
              site.state.path / "runs" / one.id / "allure-results")
        for one in site.runs().values() if "run.planned" in one.moments
    ]  # fmt: skip
    number = next(n for n, one in enumerate(dated) if one.run == run)
    out = site.run_folder(run) / "allure.html"
    made = allure.page(
        dated[number], site.host, out, system=identity.id, earlier=dated[:number],
        say=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    answer = {"results": str(results), "page": str(made.path or ""), "missing": made.missing}

    def lines() -> list[str]:
        if made.path:
            return [f"page: {made.path}", f"results: {results}"]
        return [f"no page: {made.missing}", f"results: {results}"]

    desk.out(answer, lines)
    return 0
