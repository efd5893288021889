"""`rollback monitor`: the agent. It looks, decides by the declared rules, and begins what it may."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, plain_json, safe
from rollback.model.errors import UsageError

if TYPE_CHECKING:
    from rollback.act.site import Site
    from rollback.host.interrupt import Stop
    from rollback.watch.agent import Agent, Looked

LOOPBACK = "127.0.0.1"


@click.command("monitor", short_help="Watch the system, and go back when the rules say so.")
@click.option("--once", is_flag=True, help="One tick, for cron.")
@click.option("--listen", default=None, metavar="PORT",
              help="Take in webhooks of Alertmanager and Grafana at 127.0.0.1:PORT.")  # fmt: skip
@click.option("--unit", is_flag=True, help="Print a unit of systemd that starts it; install that.")
@pass_desk
def command(desk: Desk, once: bool, listen: str | None, unit: bool) -> int:
    """Read the metrics, decide, and begin what the declared autonomy allows; ask for the rest.

    It goes on until SIGTERM or Ctrl-C. With --once exit 4 means that a run waits for an approval,
    and 9 that a person has to look.
    """
    from rollback.host.interrupt import Stop
    from rollback.watch.agent import Agent, alone

    port = None if listen is None else _port(listen)
    if once and port is not None:
        raise UsageError(
            "--once looks once, and has no time to listen", hint="leave one of them out"
        )
    if unit:
        return _print_unit(desk, port)
    with desk.site(listen=desk.live()) as site, alone(site):
        _say_untrusted(desk, site)
        agent = Agent(site)
        if once:
            looked = agent.tick()
            _say(desk, looked, None)
            return _status(looked)
        with Stop() as stop, _listening(desk, agent, stop, port):
            agent.began()
            _go_on(desk, agent, stop)
        return 0


def _say_untrusted(desk: Desk, site: Site) -> None:
    """What would keep the agent from every rollback is said before it is needed."""
    from rollback.act.trusting import unaccepted

    found = unaccepted(site)
    if found is not None:
        desk.bar.clear()
        said = f"it can begin nothing: {safe(found.message)}"
        for line in (paint(said, "yellow", stream=sys.stderr), f"  try: {found.hint}"):
            click.echo(desk.pasted(line), err=True)


def _print_unit(desk: Desk, port: int | None) -> int:
    from rollback.watch.unit import unit

    identity, typed = desk.system.system, shutil.which(sys.argv[0])
    program = Path(typed or Path(sys.executable).with_name("rollback")).absolute()
    text = unit(
        program=program, system=desk.declaration, name=identity.id, title=identity.title, port=port
    )
    desk.out({"unit": text}, text.splitlines)
    return 0


def _port(typed: str) -> int:
    """The port of HOST:PORT or PORT, on this machine only. Raises: UsageError."""
    host, _, number = typed.rpartition(":")
    if host not in ("", LOOPBACK, "localhost"):
        raise UsageError(
            f"--listen {typed}: only {LOOPBACK} is listened at", hint="write --listen 9099"
        )
    if not number.isascii() or not number.isdecimal() or int(number) > 65535:
        raise UsageError(f"--listen {typed}: this is no port", hint="write --listen 9099")
    return int(number)


@contextmanager
def _listening(desk: Desk, agent: Agent, stop: Stop, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from rollback.watch.inbox import PATHS, TOKEN, inbox

    def heard() -> None:
        if (
            agent.site.system.monitor.threshold == 1
        ):  # else the ticks that count would come too soon
            stop.wake()

    with desk.site() as own, inbox(own, port, heard=heard) as found:
        where = " or ".join(f"http://{LOOPBACK}:{found}{path}" for path in PATHS)
        click.echo(f"listens at {where}; the token is in {own.state.path / TOKEN}", err=True)
        yield


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
    lines += [f"  run {run.id} is {run.word}" for run in looked.runs]
    lines += [f"  {part} failed: {safe(error)}" for part, error in looked.failed.items()]
    return lines
