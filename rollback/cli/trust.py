"""`rollback trust`: accept the declaration's people and policy as the ones to believe."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("trust", short_help="Accept the declaration's people and policy.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who accepts them.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@click.option("--yes", is_flag=True, help="Accept without being asked.")
@pass_desk
def command(desk: Desk, person: str | None, key: str, yes: bool) -> int:
    """Pin who may decide, what is asked before a run and what must be proved, in the state directory.

    Who may change what is pinned is said by what was pinned before. A restore never rewrites it:
    an old declaration cannot bring back an approver.
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
        body = {"before": before or None, "now": now, "changed": before != now, "parts": [*parts]}
        if before == now:
            desk.out(
                body, lambda: [f"these people and this policy are trusted already ({now[:16]})"]
            )
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
