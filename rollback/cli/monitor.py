"""`rollback monitor`: the agent. It looks, decides by the declared rules, and begins what it may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, plain_json, safe

if TYPE_CHECKING:
    from rollback.host.interrupt import Stop
    from rollback.watch.agent import Agent, Looked


@click.command("monitor", short_help="Watch the system, and go back when the rules say so.")
@click.option("--once", is_flag=True, help="One tick, for cron.")
@pass_desk
def command(desk: Desk, once: bool) -> int:
    """Read the metrics, decide, and begin what the declared autonomy allows; ask for the rest.

    It goes on until SIGTERM or Ctrl-C. With --once exit 4 means that a run waits for an approval,
    and 9 that a person has to look.
    """
    from rollback.host.interrupt import Stop
    from rollback.watch.agent import Agent, alone

    with desk.site(listen=desk.live()) as site, alone(site):
        agent = Agent(site)
        if once:
            looked = agent.tick()
            _say(desk, looked, None)
            return _status(looked)
        with Stop() as stop:
            agent.began()
            _go_on(desk, agent, stop)
        return 0


def _go_on(desk: Desk, agent: Agent, stop: Stop) -> None:
    before: Looked | None = None
    while not stop.asked:
        looked = agent.tick()
        _say(desk, looked, before)
        before = looked
        stop.wait(agent.wait_s())
    agent.ended(stop.because)


def _status(looked: Looked) -> int:
    from rollback.cli.timeline import exit_status

    if looked.runs:
        return max(exit_status(run) for run in looked.runs)
    if looked.person or looked.failed:
        return 9
    return 0


def _say(desk: Desk, looked: Looked, before: Looked | None) -> None:
    """One line of JSON for each tick; for people one line whenever something is another than before."""
    if desk.as_json:
        desk.bar.clear()
        click.echo(plain_json(looked.as_json(), indent=None))
        return
    lines = _lines(looked)
    if before is None or lines != _lines(before):
        for line in lines:
            click.echo(f"{looked.at[11:19]} {desk.pasted(line)}")


def _lines(looked: Looked) -> list[str]:
    lines = []
    found = looked.decision
    if found is not None:
        word = found.respond + (f" at {found.level}" if found.level else f" {safe(found.what)}")
        lines.append(paint(word.strip(), "bold") + (f"  {found.trigger}" if found.trigger else ""))
        lines += [f"  UNKNOWN: {', '.join(found.unknown)}"] if found.unknown else []
    if looked.held:
        lines.append(f"  nothing is begun: {safe(looked.held)}")
    lines += [f"  run {run.id} is {run.state}" for run in looked.runs]
    lines += [f"  {part} failed: {safe(error)}" for part, error in looked.failed.items()]
    return lines
