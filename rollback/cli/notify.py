"""`rollback notify …`: try the channels; deliver what is queued."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, table
from rollback.model.quantity import counted, spoken


@click.group("notify", short_help="Try the channels; deliver what is queued.")
def command() -> None:
    """The channels of the declaration, and the messages that wait for them."""


@command.command("test", short_help="Send a test message on each channel.")
@click.argument("channels", nargs=-1, metavar="[CHANNEL]...")
@pass_desk
def test(desk: Desk, channels: tuple[str, ...]) -> int:
    """Send one message on each channel (or those named), and say what came of it.

    Channels that stand behind another are tried for themselves. Exit 7 when one of them did not work.
    """
    from rollback.act.probing import probe

    with desk.look() as site:
        found = probe(site, channels)
        body = {"ok": all(one.ok for one in found), "channels": [one.as_json() for one in found]}

        def lines() -> list[str]:
            rows = [
                (one.channel, one.kind, "works" if one.ok else "fails", spoken(one.took_s),
                 one.fallback or "-", one.detail)
                for one in found
            ]  # fmt: skip
            if not rows:
                return [
                    "no channel is declared; add one: notify: {channels: {file: {file: {path: …}}}}"
                ]
            return table(("channel", "kind", "", "took", "behind it", "what it said"), rows)

        desk.out(body, lines)
        return 0 if body["ok"] else 7


@command.command("deliver", short_help="Deliver what is queued, now.")
@pass_desk
def deliver(desk: Desk) -> int:
    """Try every channel that a queued message has not reached. A run starts this by itself.

    Ladders and messages that come again are moved on first, so that cron may call it.
    What failed is tried again later, three times in all. Exit 7 when something did not arrive.
    """
    from rollback.act.calling import advance
    from rollback.act.delivering import deliver as carry
    from rollback.act.delivering import waiting

    with desk.site(create=False) as site:
        advance(site)
        found = carry(site)
        still = waiting(site)
        body = {
            "tried": [{**site.journal.hide(one.data()), "ok": one.ok} for one in found],
            "waiting": [str(event.data["id"]) for event in still],
        }  # fmt: skip

        def lines() -> list[str]:
            said = [
                f"  {'✓' if one.ok else '✗'} {safe(one.message)} on {safe(one.channel or 'no channel')}: "
                f"{safe(one.detail)}" + (f" (instead of {safe(one.instead_of)})" if one.instead_of else "")
                for one in found
            ]  # fmt: skip
            last = (
                f"{counted(len(still), 'message')} left to try again"
                if still
                else "nothing is left"
            )
            return [*said, last]

        desk.out(body, lines)
        return 7 if any(not one.ok for one in found) else 0
