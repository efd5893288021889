"""The top command: finds its subcommands in this folder, and turns every failure into one line.

Hides: how errors become exit statuses.
Never: lets a traceback reach an operator.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from rollback.cli.desk import Desk
from rollback.cli.pasted import commands
from rollback.cli.show import error_json, error_lines, plain_json, safe, silence
from rollback.model.errors import RollbackError
from rollback.model.registry import nearest


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
            hint = nearest(args[0], tuple(self.list_commands(ctx)))
            raise click.UsageError(f"there is no command {args[0]}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def run(self, argv: Sequence[str]) -> int:
        """The exit status of one call."""
        as_json, words = _hoisted(argv)
        desk = Desk()
        try:
            result = self.main(args=words, prog_name="rollback", standalone_mode=False, obj=desk)
            if sys.stdout is not None:
                sys.stdout.flush()  # what cannot be written shows here, not at the end of Python
        except click.exceptions.Exit as done:
            return done.exit_code
        except (click.Abort, KeyboardInterrupt):
            hint = desk.pasted("rollback status shows where it stands; rollback resume goes on")
            return _fail(
                as_json, "interrupted", "interrupted: nothing more was done", "", 130, hint
            )
        except click.ClickException as wrong:
            if not words:  # `rollback` alone asks what there is
                _say(wrong.format_message().splitlines())
                return wrong.exit_code
            where = (
                wrong.ctx.command_path if isinstance(wrong, click.UsageError) and wrong.ctx else ""
            )
            hint = f"{where or 'rollback'} --help" if isinstance(wrong, click.UsageError) else ""
            return _fail(as_json, "UsageError", wrong.format_message(), where, 2, hint)
        except RollbackError as error:
            if as_json:
                _answer(desk.pasted(plain_json(error_json(error))))
            else:
                _say([desk.pasted(line) for line in error_lines(error)])
            return error.exit_status
        except (BrokenPipeError, SystemExit):  # the latter is how click says the former
            silence()  # whoever read us has seen enough
            return 0
        except OSError as error:
            place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
            return _fail(as_json, "OSError", error.strerror or str(error), place, 8,
                         "make room, or correct the permissions there, then type it again")  # fmt: skip
        except Exception as error:
            if os.environ.get("ROLLBACK_TRACEBACK"):
                raise
            said = f"{type(error).__name__}: {error}"
            return _fail(as_json, "bug", f"this is a bug of rollback: {said}", "", 1,
                         "set ROLLBACK_TRACEBACK=1, type it again, and send us what you see")  # fmt: skip
        return result if isinstance(result, int) else 0


def _hoisted(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether JSON is wanted, and the words with `--json` in front: it may stand anywhere."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    if "--json" not in words[:end]:
        return False, words
    kept = [word for word in words[:end] if word != "--json"]
    return True, ["--json", *kept, *words[end:]]


def _fail(as_json: bool, kind: str, message: str, where: str, status: int, hint: str) -> int:
    if as_json:
        body = {
            "kind": kind,
            "message": message,
            "where": where,
            "hint": hint,
            "exit_status": status,
        }
        _answer(plain_json({"error": body}))
    else:
        place = f"{where}: " if where and kind == "OSError" else ""
        said = safe(f"rollback: {place}{message}")
        _say([said, *([f"  try: {safe(hint)}"] if hint else [])])
    return status


def _answer(document: str) -> None:
    try:
        click.echo(document)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        silence()  # standard output is closed; the exit status still tells


def _say(lines: list[str]) -> None:
    try:
        click.echo("\n".join(lines), err=True)
    except OSError:
        return  # standard error is closed; the exit status still tells


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--system", "declaration", metavar="FILE", envvar="ROLLBACK_SYSTEM",
              help="The declaration [default: ./rollback.yaml].")  # fmt: skip
@click.option("--state", metavar="DIR", help="The state directory [default: as declared].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
@click.pass_context
def _cli(ctx: click.Context, declaration: str | None, state: str | None, as_json: bool) -> None:
    """Take verified checkpoints, go back when a release goes wrong, and prove that it worked."""
    ctx.ensure_object(Desk).take(declaration=declaration, state=state, as_json=as_json)


assert isinstance(_cli, _Commands)
cli: Any = _cli
