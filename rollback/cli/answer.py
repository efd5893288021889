"""`rollback answer RUN ITEM TEXT`: a person's word on an item of the checklist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.model.errors import RollbackError, UsageError

if TYPE_CHECKING:
    from rollback.act.site import Site
    from rollback.model.lifecycle import Run


@click.command("answer", short_help="Say what a run asks of a person.")
@click.argument("run", default="open")
@click.argument("item", default="")
@click.argument("text", default="")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@pass_desk
def command(desk: Desk, run: str, item: str, text: str, person: str | None) -> int:
    """Record TEXT as the answer to ITEM of RUN: of its checklist, of a step that asks, RECORD.FIELD.

    An item of the checklist is settled by a TEXT that begins with yes or done, and stays open after any
    other one. The last answer counts. An effect that cannot be taken back is settled by one that begins with
    compensated or acknowledged, a divergence by acknowledged. Without TEXT, what RUN asks is named.
    """
    from rollback.act import unsettled
    from rollback.act.authorize import may_wake
    from rollback.act.stopping import answer
    from rollback.model.level import settles

    with desk.site(create=False) as site:
        asked = site.run(run)
        who = desk.person(person) if text or person else ""
        if not text:
            raise _nothing_said(site, asked, item)
        found = answer(site, asked, item=item, text=text, by=who)
        waits = found.waiting_for
        plain = "." not in item and not waits.get("choices")
        done = settles(text) or unsettled.knows(site, item) if plain else True
        body = {"run_id": found.id, "item": item, "by": who, "settled": done}
        word = "settled" if done else "noted, and it stays open until somebody says yes or done"
        if not plain:
            word = "noted"
        onwards = done and (plain or may_wake(site, found))
        follows = f"  try: rollback {'resume' if onwards else 'answer'} {found.id}"
        follows += (
            ""
            if onwards
            else f" {item} yes"
            if plain
            else f"   (it waits for {waits.get('what', '')})"
        )
        told = [f"{item} of {found.id}: said by {who}: {word}"]
        if not (found.final and (done or not plain)):  # one that has ended goes nowhere by it
            told.append(follows)
        desk.out(body, lambda: told)
        return 0


def _nothing_said(site: Site, run: Run, item: str) -> RollbackError:
    """That nothing was answered, with what could be."""
    from rollback.act.stopping import asks, unasked

    found = asks(site, run)
    if item and item not in found:
        return unasked(site, run, item)
    if not found:
        return UsageError(f"run {run.id} asks nothing of a person: it is {run.state}",
                          hint="rollback status says what is open")  # fmt: skip
    if item:
        return UsageError(f"{item} of run {run.id} has no answer yet: {found[item]}",
                          hint=f"say it: rollback answer {run.id} {item} TEXT")  # fmt: skip
    said = "; ".join(f"{name} ({what})" for name, what in found.items())
    return UsageError(f"what is answered? run {run.id} asks: {said}",
                      hint=f"rollback answer {run.id} {next(iter(found))} TEXT")  # fmt: skip
