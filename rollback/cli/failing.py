"""How a call ends that could not do what it was asked: one line, what to type next, a declared status.

Hides: which exception means which exit status.
Never: lets a traceback reach an operator.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from rollback.cli.show import clipped, error_json, error_lines, plain_json, safe, silence
from rollback.host.below import remedy
from rollback.host.interrupt import interrupt_is_answered, interrupts_are_raised
from rollback.model.errors import RollbackError

# by the name of an argument: what says which there are
_NAMED_BY: dict[str | None, str] = {
    "level": "name one of those that are listed by: rollback ready", "run": "rollback history lists them",
    "checkpoint": "rollback checkpoint list shows them",
}  # fmt: skip
_OFTEN_BARE = ("component", "components", "to", "level")  # options that are typed as plain words
INTERRUPTED = "rollback status shows where it stands; rollback resume goes on"


def status_of(
    attempt: Callable[[], object], *, as_json: bool, pasted: Callable[[str], str] = lambda text: text,
    program: str = "rollback", interrupted: str = INTERRUPTED,
) -> int:  # fmt: skip
    """The exit status of the attempt: what it returns, if that is a number, or what its failure means.

    `pasted` makes commands in what is said work where the operator is; `interrupted` is what can
    be typed after an interrupt.
    """
    interrupts_are_raised()
    try:
        result = attempt()
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be written shows here, not at the end of Python
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        interrupt_is_answered()
        said = "interrupted: nothing more was done"
        return _fail(as_json, "interrupted", said, "", 130, pasted(interrupted))
    except click.ClickException as wrong:
        return _typed_wrong(wrong, as_json, program)
    except RollbackError as error:
        if as_json:
            _answer(pasted(plain_json(error_json(error))))
        else:
            _say([pasted(line) for line in error_lines(error)])
        return error.exit_status
    except (BrokenPipeError, SystemExit):  # the latter is how click says the former
        silence()  # whoever read us has seen enough
        return 0
    except OSError as error:
        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
        if not place and not _somewhere():
            return _fail(as_json, "UsageError", "the folder that you are in is not there any more", "", 2,
                         "cd into one that is, then type it again")  # fmt: skip
        hint = remedy(error, os.path.abspath(place) if place else "")
        return _fail(as_json, "OSError", error.strerror or str(error), place, 8,
                     f"{hint}; then type it again")  # fmt: skip
    except Exception as error:
        if os.environ.get("ROLLBACK_TRACEBACK"):
            raise
        said = f"{type(error).__name__}: {error}"
        return _fail(as_json, "bug", f"this is a bug of rollback: {said}", "", 1,
                     "set ROLLBACK_TRACEBACK=1, type it again, and send us what you see")  # fmt: skip
    return result if isinstance(result, int) else 0


def _somewhere() -> bool:
    """True when the current folder is there."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _typed_wrong(wrong: click.ClickException, as_json: bool, program: str) -> int:
    ctx = wrong.ctx if isinstance(wrong, click.UsageError) else None
    if isinstance(wrong, click.exceptions.NoArgsIsHelpError) and ctx is not None:
        if ctx.parent is None and not as_json:  # the program's name alone asks what there is
            _say(wrong.format_message().splitlines())
            return wrong.exit_code
        group = ctx.command
        known = group.list_commands(ctx) if isinstance(group, click.Group) else []
        message = f"{ctx.command_path} needs a command: {', '.join(known)}"
    else:
        message = wrong.format_message()
    where = ctx.command_path if ctx is not None else ""
    hint = _typed_next(wrong, where or program) if isinstance(wrong, click.UsageError) else ""
    return _fail(as_json, "UsageError", message, where, 2, hint)


def _typed_next(wrong: click.UsageError, where: str) -> str:
    """What names what is missing, or how one word too many is written; else the help."""
    helped = f"{where} --help"
    command = wrong.ctx.command if wrong.ctx is not None else None
    if isinstance(wrong, click.MissingParameter) and wrong.param is not None:
        return (
            f"{_NAMED_BY[wrong.param.name]}; {helped}" if wrong.param.name in _NAMED_BY else helped
        )
    if isinstance(wrong, click.NoSuchOption) and wrong.option_name == "--yes":
        return f"nothing is asked here: type it again without --yes; {helped}"
    if command is None or not wrong.message.startswith("Got unexpected extra argument"):
        return helped
    options = [
        one.opts[0]
        for one in command.params
        if isinstance(one, click.Option) and one.name in _OFTEN_BARE
    ]
    return f"write it after {' or '.join(options)}; {helped}" if options else helped


def _fail(as_json: bool, kind: str, message: str, where: str, status: int, hint: str) -> int:
    message, where = clipped(message), clipped(where)
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
