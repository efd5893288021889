"""`rollback watch RUN`: follow a run from another terminal until it ends or waits."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk

WATCH_S_MAX = 24 * 3600


@click.command("watch", short_help="Follow a run from another terminal.")
@click.argument("run", default="last")
@click.option("--for", "for_s", type=click.IntRange(0, WATCH_S_MAX), default=WATCH_S_MAX,
              show_default=True, metavar="SECONDS",
              help="Give up watching after this time.")  # fmt: skip
@pass_desk
def command(desk: Desk, run: str, for_s: int) -> int:
    """Print what happens in RUN (default: the last one) as it happens; changes nothing."""
    from rollback.cli.timeline import exit_status, result, result_lines
    from rollback.model.lifecycle import ENDED, State

    with desk.look() as site:
        found = site.run(run)
        say = desk.live()
        seen = 0

        def ended() -> bool:
            nonlocal seen
            events = site.journal.events()
            fresh, seen = events[seen:], len(events)
            for event in fresh:
                if event.run == found.id:
                    say(event)
            now = site.run(found.id)
            return (
                now.state in ENDED
                or now.state is State.WAITING
                or (now.state is State.MITIGATED and not now.gated)
            )

        site.host.clock.poll(ended, within_s=for_s, every_s=0.3)
        last = site.run(found.id)
        desk.out(result(site, last), lambda: result_lines(site, last))
        return exit_status(last)
