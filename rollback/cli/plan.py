"""`rollback plan LEVEL`: what would be done, in order, and its impact; changes nothing."""

from __future__ import annotations

from dataclasses import replace

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("plan", short_help="What would be done, in order, and its impact; changes nothing.")
@click.argument("level")
@click.option("--to", "to", default="", metavar="TARGET",
              help="checkpoint:ID, git:REF (a tag, its pattern, a branch, an id), git:/PATTERN "
                   "(over messages), phase:NAME, archive:PATH, last-good, newest, initial.")  # fmt: skip
@click.option("--component", default="", metavar="C", help="The one component to put back.")
@click.option("--variant", default="", help="Which variant of the level.")
@click.option("--environment", default="production", show_default=True)
@click.option("--all", "every", is_flag=True, help="Name every path, on a terminal too.")
@pass_desk
def command(
    desk: Desk, level: str, to: str, component: str, variant: str, environment: str, every: bool
) -> int:  # fmt: skip
    """Print the plan of LEVEL (an id or a rank): the same object that `run` would execute.

    Beside it: the targets that were looked at, and the smallest level that covers what fails now.
    """
    from rollback.act.holding import shown
    from rollback.act.offering import standing
    from rollback.act.target import sized
    from rollback.act.trusting import unaccepted
    from rollback.cli.planning import plan_lines, planned, standing_lines, trust_lines

    with desk.look() as site:
        plan = planned(
            desk, site, level, to=to, requester=desk.asker(), component=component, variant=variant,
            environment=environment,
        )  # fmt: skip
        here = site.there(environment)
        plan = replace(plan, candidates=sized(here, plan.candidates))
        now = standing(here)
        candidates = [
            {"source": c.source, "id": c.id, "label": c.label, "at": c.at, "valid": c.valid,
             "why_not": c.why_not, "size_bytes": c.size_bytes}
            for c in plan.candidates
        ]  # fmt: skip
        body = {**plan.as_json(), "digest": plan.digest(), "changes_anything": not plan.idle,
                "trusted": unaccepted(site) is None, "candidates": candidates,
                "failing": list(now.failing),
                "smallest_scope": now.offer.command if now.offer else None}  # fmt: skip

        def lines() -> list[str]:
            idle = ["  nothing to roll back here: the target is the present"] if plan.idle else []
            first = trust_lines(site)
            return [*plan_lines(plan, every=every), *standing_lines(now), *idle, *first]

        shown(site, plan, to=to)
        desk.out(body, lines)
        return 0
