"""`rollback watch RUN`: follow a run from another terminal until it ends, or nobody drives it.

Hides: how it is seen that nobody does.
Never: moves a run on.
"""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe

WATCH_S_MAX = 24 * 3600
LEFT_S = 3.0  # between two commands, or before its first step, a run has no driver for a moment


@click.command("watch", short_help="Follow a run from another terminal.")
@click.argument("run", default="last")
@click.option("--for", "for_s", type=click.IntRange(0, WATCH_S_MAX), default=WATCH_S_MAX,
              show_default=True, metavar="SECONDS",
              help="Give up watching after this time.")  # fmt: skip
@click.option("--once", is_flag=True, help="Say how it stands now, and end.")
@pass_desk
def command(desk: Desk, run: str, for_s: int, once: bool) -> int:
    """Print what happens in RUN (default: the last one) as it happens; changes nothing.

    It ends when the run has ended, or when nobody drives it any more; while the run waits for
    somebody it goes on watching.
    """
    from rollback.cli.timeline import exit_status, next_lines, result, result_lines
    from rollback.keep import lease
    from rollback.model.lifecycle import ENDED, State

    desk.known()
    with desk.look() as site:
        found = site.run(run)
        say = desk.live()
        seen, left_s = 0, site.host.clock.boot_s()

        def over() -> bool:
            nonlocal seen, left_s
            events = site.journal.events()
            fresh = [event for event in events[seen:] if event.run == found.id]
            seen = len(events)
            for event in fresh:
                say(event)
            now = site.run(found.id)
            waits = now.state is State.WAITING
            if waits and not once and any(event.kind == "run.waiting" for event in fresh):
                _advise(desk, next_lines(site, now))
            if waits or lease.held(site.state.tree):
                left_s = site.host.clock.boot_s()
            ended = now.state in ENDED or (now.state is State.MITIGATED and not now.gated)
            return ended or once or site.host.clock.boot_s() - left_s >= LEFT_S

        site.host.clock.poll(over, within_s=for_s, every_s=0.3)
        last = site.run(found.id)
        desk.out(result(site, last), lambda: result_lines(site, last))
        return exit_status(last)


def _advise(desk: Desk, lines: list[str]) -> None:
    for line in lines if not desk.as_json else ():
        click.echo(desk.pasted(safe(line)), err=True)
