"""`rollback demo`: boots the demo system, ships it a bad release under load, rolls it back."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("demo", short_help="See a bad release rolled back and proved well.")
@click.option("--level", help="flag, configuration, code, full-restore, component, or a rank.")
@click.option("--fault", help="Ship this kind of bad release instead of the level's own.")
@click.option("--dir", "directory", metavar="DIR", help="Where; a new folder by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.option("--keep", is_flag=True, help="Leave the studio running afterwards.")
@click.option(
    "--agent", is_flag=True, help="The agent notices, decides, asks for a yes, and goes back."
)
@pass_desk
def command(
    desk: Desk, level: str | None, fault: str | None, directory: str | None, as_json: bool, keep: bool,
    agent: bool,
) -> int:  # fmt: skip
    """Boot a studio of agents that really runs, ship it a bad release under load, and go back.

    The level picks the kind of bad release it is for; without one the decision picks the level.
    """
    from rollback.host.interrupt import QUIET, attend

    argv = ["-c", QUIET + "import sys; from drills.demo import main; sys.exit(main())"]
    for option, value in (("--level", level), ("--fault", fault), ("--dir", directory)):
        argv += [f"{option}={value}"] if value is not None else []
    argv += ["--json"] if as_json or desk.as_json else []
    argv += ["--keep"] if keep else []
    argv += ["--agent"] if agent else []
    return attend(argv)
