"""The top command: finds its subcommands in this folder.

Hides: where subcommands are found, and when they are imported.
Never: does what a command does.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from rollback import VERSION
from rollback.cli import given
from rollback.cli.desk import Desk
from rollback.cli.failing import status_of
from rollback.cli.pasted import commands
from rollback.model.registry import nearest

LATER = ("redeploy",)
_GLOBAL = ("--system", "--state")


class _Commands(click.Group):
    """Subcommands are the modules of this folder, imported only when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return commands()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        module = name.replace("-", "_")
        module += "_" if module in ("import",) else ""
        found = importlib.import_module(f"rollback.cli.{module}").command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            if args[0] in LATER:
                said = "yet: it is designed, and not built"
                raise click.UsageError(f"there is no command {args[0]} {said}", ctx)
            hint = nearest(args[0], tuple(self.list_commands(ctx)))
            raise click.UsageError(f"there is no command {args[0]}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def run(self, argv: Sequence[str]) -> int:
        """The exit status of one call."""
        as_json, words = _hoisted(argv)
        desk = Desk()

        def called() -> Any:
            given.no_nul(words)
            return self.main(args=words, prog_name="rollback", standalone_mode=False, obj=desk)

        return status_of(called, as_json=as_json, pasted=desk.pasted)


def _hoisted(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether JSON is wanted, and the words with what holds for every command in front.

    It may stand anywhere but behind two dashes, or in a guarded command that is typed without them.
    """
    words = list(argv)
    end = len(words)
    if "--" in words:
        end = words.index("--")
    elif "guard" in words:
        end = words.index("guard")
    as_json = False
    front: list[str] = []
    kept: list[str] = []
    left = iter(words[:end])
    for word in left:
        if word in _GLOBAL:
            value = next(left, None)
            (kept if value is None else front).extend([word] if value is None else [word, value])
        elif word.startswith(tuple(f"{name}=" for name in _GLOBAL)):
            front.append(word)
        elif word == "--json":
            as_json = True
        else:
            kept.append(word)
    return as_json, [*(["--json"] if as_json else []), *front, *kept, *words[end:]]


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--system", "declaration", metavar="FILE", envvar="ROLLBACK_SYSTEM",
              help="The declaration [default: ./rollback.yaml].")  # fmt: skip
@click.option("--state", metavar="DIR", help="The state directory [default: as declared].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.version_option(VERSION, prog_name="rollback", message="%(prog)s %(version)s")
@click.pass_context
def _cli(ctx: click.Context, declaration: str | None, state: str | None, as_json: bool) -> None:
    """Take verified checkpoints, go back when a release goes wrong, and prove that it worked."""
    given.check(ctx)
    ctx.ensure_object(Desk).take(declaration=declaration, state=state, as_json=as_json)


assert isinstance(_cli, _Commands)
cli: Any = _cli
