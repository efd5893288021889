"""`rollback run LEVEL`: plan, authorise, protect, execute, gate, report."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.model.errors import UsageError


@click.command("run", short_help="Go back: plan, authorise, protect, execute, prove.")
@click.argument("level")
@click.option("--to", "to", default="", metavar="TARGET",
              help="checkpoint:ID, git:REF (a tag, its pattern, a branch, an id), git:/PATTERN "
                   "(over messages), phase:NAME, archive:PATH, last-good, newest, initial.")  # fmt: skip
@click.option("--component", default="", metavar="C", help="The one component to put back.")
@click.option("--variant", default="", help="Which variant of the level.")
@click.option("--reason", default="", help="Why; it stands in the report.")
@click.option("--environment", default="production", show_default=True)
@click.option("--as", "person", default=None, metavar="PERSON", help="Who asks for it.")
@click.option("--yes", is_flag=True, help="Confirm now, without being asked.")
@click.option("--break-glass", "glass", is_flag=True,
              help="Begin alone, past what holds people and time; with --reason.")  # fmt: skip
@click.option(
    "--key", default="", metavar="FILE", help="Your private SSH key, to sign --break-glass with."
)
@click.option("--wait", is_flag=True, help="Stay until it has ended, through every waiting.")
@pass_desk
def command(
    desk: Desk, level: str, to: str, component: str, variant: str, reason: str, environment: str,
    person: str | None, yes: bool, glass: bool, key: str, wait: bool,
) -> int:  # fmt: skip
    """Roll back at LEVEL (an id or a rank), or run a procedure; start and stop are built in.

    COMPLETE (exit 0) means that the verification suites proved it. Exit 4: waits for an approval.
    6: a step failed and everything was taken back. 9: a person is needed now.
    """
    from rollback.act.authorize import break_glass, create
    from rollback.cli.driving import carry, decline_idle
    from rollback.cli.planning import planned

    if key and not glass:
        raise UsageError(f"--key {key} signs nothing here", hint="it is for: --break-glass")
    with desk.site(listen=desk.live()) as site:
        requester = desk.person(person)
        plan = planned(
            desk, site, level, to=to, requester=requester, component=component, variant=variant,
            environment=environment, reason=reason,
        )  # fmt: skip
        if plan.idle:
            return decline_idle(desk, site, plan)
        run = create(site, plan, glass=glass)
        if glass:
            run = break_glass(site, run, person=requester, reason=reason, key=key)
        return carry(desk, site, run, person=requester, yes=yes, wait=wait)
