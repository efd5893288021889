"""`rollback trust`: accept the declaration's people and policy as the ones to believe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, safe

if TYPE_CHECKING:
    from rollback.keep.trust import Changed


@click.command("trust", short_help="Accept the declaration's people and policy.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who accepts them.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@click.option("--yes", is_flag=True, help="Accept without being asked.")
@click.option("--dry-run", is_flag=True, help="Only show what has changed.")
@pass_desk
def command(desk: Desk, person: str | None, key: str, yes: bool, dry_run: bool) -> int:
    """Pin who may decide, what is asked before a run and what must be proved, in the state directory.

    Who may change what is pinned is said by what was pinned before. A restore never rewrites it:
    an old declaration cannot bring back an approver. What is not as it was pinned is shown first.
    """
    from rollback.act.trusting import accept, may_accept
    from rollback.keep import trust

    with desk.site() as site:
        before = trust.pinned(site.state.tree)
        now = site.system.authority_digest
        parts = trust.differing(site.system, site.state.tree) if before else ()
        allowed = may_accept(site) if before else tuple(m.id for m in desk.system.people.members)
        if person:
            desk.one_of(allowed, person)  # asked before it is known whether there is anything to do
        found = trust.changes(site.system, site.state.tree, site.hidden) if before != now else ()
        body = {"before": before or None, "now": now, "changed": before != now, "parts": [*parts],
                "difference": [asdict(one) for one in found]}  # fmt: skip
        if before == now:
            desk.out(
                body, lambda: [f"these people and this policy are trusted already ({now[:16]})"]
            )
            return 0
        if not desk.as_json or dry_run:
            desk.out({**body, "changed": False}, lambda: _lines(found))
        if dry_run:
            return 0
        who = desk.one_of(allowed, person)
        named = f" ({', '.join(parts)})" if parts else ""
        question = f"believe policy {now[:16]} instead of {before[:16]}?{named}"
        if before and not yes and not desk.confirm(question):
            desk.out({**body, "changed": False}, lambda: ["nothing was changed"])
            return 4
        accept(site, person=who, key=key)
        desk.out(body, lambda: [f"trusted from now on: {now[:16]}"])
        return 0


def _lines(found: tuple[Changed, ...]) -> list[str]:
    """Part by part, what comes (+), what is another one now (~) and what goes (-); a line for each value."""
    lines: list[str] = []
    for part, changed in groupby(found, key=lambda one: one.part):
        lines.append(paint(safe(part), "bold"))
        for one in changed:
            if not one.known:
                lines.append("  its words were not kept; what is new may be among these:")
            lines += [safe(f"  {line}") for line in _change(one)]
    return lines


def _change(one: Changed) -> Iterator[str]:
    if one.before is None or one.after is None:
        sign, value = ("+", one.after) if one.before is None else ("-", one.before)
        for at, leaf in _leaves(one.at, value):
            yield f"{sign} {at}: {_said(leaf)}" if at else f"{sign} {_said(leaf)}"
    else:
        where = f"{one.at}: " if one.at else ""
        yield f"~ {where}{_said(one.before)} -> {_said(one.after)}"


def _leaves(at: str, value: object) -> Iterator[tuple[str, object]]:
    """Every value of a map that is none itself, at the keys that lead to it; things with ids by these."""
    if isinstance(value, dict) and value:
        inner = [(str(key), one) for key, one in value.items()]
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        inner = [(str(one.get("id", number)), one) for number, one in enumerate(value, start=1)]
    else:
        yield at, value
        return
    for key, one in inner:
        yield from _leaves(f"{at}.{key}" if at else key, one)


def _said(value: object) -> str:
    """A value as a declaration has it in one line; a text that reads like something else in quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_said(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_said, value)) + "]"
    if isinstance(value, str) and not _other(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _other(text: str) -> bool:
    """True for a text that is empty, or would be a number, a truth or a list without its quotes."""
    return not text.strip() or text[0] in "[{\"'" or text in ("true", "false", "null") or (
        text.replace(".", "", 1).lstrip("+-").isdecimal()
    )  # fmt: skip
