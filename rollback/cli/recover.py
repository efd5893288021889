"""`rollback recover corrupted` and `rollback recover lost-work`: two procedures, each a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.given import OneOf

if TYPE_CHECKING:
    from rollback.act.plan import Plan
    from rollback.act.site import Site


@click.group("recover", short_help="Repair corrupted state; get lost work back.")
def command() -> None:
    """Repair a corrupted component, or get lost work back; each is a run of its own."""


def _given(function: Callable[..., int]) -> Callable[..., int]:
    """The options that both have."""
    for option in (
        click.option("--yes", is_flag=True, help="Confirm now, without being asked."),
        click.option("--as", "person", default=None, metavar="PERSON", help="Who asks for it."),
        click.option("--reason", default="", help="Why; it stands in the report."),
        click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing."),
        click.option("--to", "to", default="", metavar="CHECKPOINT",
                     help="The last good state [default: the newest good checkpoint]."),
        click.option("--component", default="", metavar="C",
                     help="Which component [default: the one with a transaction log]."),
    ):  # fmt: skip
        function = option(function)
    return function


@command.command("corrupted", short_help="Repair a component, attempt by attempt.")
@_given
@pass_desk
def corrupted(
    desk: Desk, component: str, to: str, dry_run: bool, reason: str, person: str | None, yes: bool
) -> int:
    """Isolate, diagnose, repair (program, checkpoint, log, at last a person), validate, prevent."""
    from rollback.act import recovery

    def plan(site: Site, **given: Any) -> Plan:
        return recovery.corrupted(site, component, to=to, reason=reason, **given)

    return _carried(desk, plan, dry_run=dry_run, person=person, yes=yes)


@command.command("lost-work", short_help="Get work back, from checkpoint or log.")
@click.option("--priority", type=OneOf(["time", "quality", "balanced"]), default="balanced",
              show_default=True, help="What matters most: how soon, that nothing is lost, or both.",
              )  # fmt: skip
@_given
@pass_desk
def lost_work(
    desk: Desk, priority: Any, component: str, to: str, dry_run: bool, reason: str,
    person: str | None, yes: bool,
) -> int:  # fmt: skip
    """Get work back: from the checkpoint (time), from it and the log (balanced), or from the log alone."""
    from rollback.act import recovery

    def plan(site: Site, **given: Any) -> Plan:
        return recovery.lost_work(site, component, priority=priority, to=to, reason=reason, **given)

    return _carried(desk, plan, dry_run=dry_run, person=person, yes=yes)


def _carried(
    desk: Desk, make: Callable[..., Plan], *, dry_run: bool, person: str | None, yes: bool
) -> int:
    from rollback.act.authorize import create, next_run_id
    from rollback.cli.driving import carry
    from rollback.cli.planning import plan_lines

    with desk.site(listen=desk.live()) as site:
        who = desk.person(person)
        plan = make(site, run=next_run_id(site), requester=who)
        if dry_run:
            body = {**plan.as_json(), "digest": plan.digest(), "changes_anything": True}
            desk.out(body, lambda: plan_lines(plan))
            return 0
        return carry(desk, site, create(site, plan), person=who, yes=yes, wait=False)
