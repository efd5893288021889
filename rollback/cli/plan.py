"""`rollback plan LEVEL`: what would be done, in order, and its impact; changes nothing."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("plan", short_help="What would be done, in order, and its impact; changes nothing.")
@click.argument("level")
@click.option("--to", "to", default="", metavar="TARGET",
              help="checkpoint:ID, git:REF, phase:NAME, archive:PATH, last-good, newest, "
                   "initial.")  # fmt: skip
@click.option("--component", default="", metavar="C", help="The one component to put back.")
@click.option("--variant", default="", help="Which variant of the level.")
@click.option("--environment", default="production", show_default=True)
@pass_desk
def command(
    desk: Desk, level: str, to: str, component: str, variant: str, environment: str
) -> int:  # fmt: skip
    """Print the plan of LEVEL (an id or a rank): the same object that `run` would execute."""
    from rollback.act.authorize import next_run_id
    from rollback.act.plan import make_plan
    from rollback.cli.timeline import plan_lines

    with desk.look() as site:
        plan = make_plan(
            site, level, run=next_run_id(site), requester=desk.asker(), to=to,
            component=component, variant=variant, environment=environment,
        )  # fmt: skip
        candidates = [
            {"source": c.source, "id": c.id, "label": c.label, "at": c.at, "valid": c.valid,
             "why_not": c.why_not, "size_bytes": c.size_bytes}
            for c in plan.candidates
        ]  # fmt: skip
        body = {**plan.as_json(), "digest": plan.digest(), "changes_anything": not plan.idle,
                "candidates": candidates}  # fmt: skip

        def lines() -> list[str]:
            idle = ["  nothing to roll back here: the target is the present"] if plan.idle else []
            return [*plan_lines(plan), *idle]

        desk.out(body, lines)
        return 0
