"""`rollback failure …`: the memory of failures, which no rollback takes back."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.event import pairs
from rollback.cli.show import safe, table
from rollback.model.quantity import counted


@click.group("failure", short_help="Remember a failure; find those that were.")
def command() -> None:
    """The memory of failures: what happened before, why, and what was to prevent it."""


@command.command("add", short_help="Remember a failure by its pattern.")
@click.argument("pattern")
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says it.")
@pass_desk
def add(desk: Desk, pattern: str, fields: tuple[str, ...], person: str | None) -> int:
    """Remember that PATTERN happened, with the fields that `memory:` declares.

    What was remembered of PATTERN before is shown, and what the declaration says helps. Which failures
    are alike, and count towards `systemic_after`, is said by `memory: {similar_by: […]}`.
    """
    from rollback.learn.remembering import remember

    with desk.site() as site:
        who = desk.person(person) if person else desk.asker()
        found = remember(site, pattern, pairs(fields), by=who)

        def lines() -> list[str]:
            said = [f"{safe(pattern)}: remembered by {who}"]
            if found.pattern is None:
                said.append("  no pattern of the declaration has this name")
            if found.before:
                last = found.before[-1]
                times = counted(len(found.before), "time")
                when = f"last at {last.at[:16]} by {safe(last.by)}"
                said.append(f"  it was remembered {times} before, {when}")
                said += [f"    {name}: {safe(text)}" for name, text in last.known.items()]
            if found.pattern is not None:
                said += [f"  helps: {one}" for one in found.pattern.remedy]
                said += [f"  prevents it: {one}" for one in found.pattern.prevention]
            if found.opened:
                said.append(f"  opened the task {safe(found.opened)!r}")
            if found.unwritten:
                said.append(f"  in the journal, but not in its file yet: {safe(found.unwritten)}")
            return said

        desk.out(found.as_json(), lines)
        return 0


@command.command("list", short_help="What is remembered, or of one pattern.")
@click.argument("pattern", default="")
@pass_desk
def listed(desk: Desk, pattern: str) -> int:
    """List every failure that is remembered, the newest first, or those of PATTERN."""
    from rollback.learn.remembering import recall

    with desk.look() as site:
        found = recall(site, pattern)
        names = site.system.memory.fields
        body = {"failures": [one.as_json() for one in found]}

        def lines() -> list[str]:
            if not found:
                what = f" of {safe(pattern)}" if pattern else ""
                return [f"no failure{what} is remembered; add one: rollback failure add PATTERN"]
            rows = [
                (one.at[:16], *(safe(one.known.get(name, "")) for name in names), safe(one.by))
                for one in reversed(found)
            ]
            return table(("at", *names, "by"), rows)

        desk.out(body, lines)
        return 0
