"""`rollback approve RUN`: one person's yes, signed where keys are declared."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("approve", short_help="Say yes to a waiting run.")
@click.argument("run", default="open")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@click.option("--note", default="", help="A remark that stands beside the answer.")
@click.option("--break-glass", "glass", is_flag=True,
              help="Say yes for everybody, with --note; others look at it afterwards.")  # fmt: skip
@click.option("--no-drive", is_flag=True, help="Only record it; do not go on with the run.")
@pass_desk
def command(
    desk: Desk, run: str, person: str | None, key: str, note: str, glass: bool, no_drive: bool
) -> int:  # fmt: skip
    """Approve exactly the plan of RUN, on this machine, under this policy.

    RUN: by default the newest that has not ended.
    """
    from rollback.act import authorize
    from rollback.cli.driving import carry, lapsed

    with desk.site(create=False, listen=desk.live()) as site:
        who = desk.person(person)
        found = site.run(run)
        over = lapsed(desk, site, found)
        if over is not None:
            return over
        if glass:
            authorize.break_glass(site, found, person=who, reason=note, key=key)
        else:
            authorize.approve(site, found, person=who, note=note, key=key)
        if no_drive:
            desk.out(
                {"run_id": found.id, "approved_by": who}, lambda: [f"{who} approved {found.id}"]
            )
            return 0
        return carry(desk, site, site.run(found.id), person=who, yes=False, wait=False)
