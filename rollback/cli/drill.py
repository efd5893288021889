"""`rollback drill …`: rehearsals on a throw-away, really running copy; the same as `python -m drills`."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.host.interrupt import QUIET

_START = QUIET + "import sys; from drills.__main__ import run; sys.exit(run('rollback drill'))"


@click.command(
    "drill",
    short_help="Rehearse: boot, break, sweep, take down.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_desk
def command(desk: Desk, arguments: tuple[str, ...]) -> int:
    """Run `python -m drills ARGUMENTS`: up, break, down, sweep, strength (each has its own --help)."""
    from rollback.host.interrupt import attend

    return attend(["-c", _START, *arguments, *(["--json"] if desk.as_json else [])])
