"""What was typed can mean something, before any command looks at it.

Empty is what a variable leaves that nobody set: `--to "$TARGET"` must not become "no target named".

Hides: where click keeps what was typed, and what only stood there by default.
Never: knows a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click
from click.core import ParameterSource

from rollback.cli.show import clipped
from rollback.model.errors import UsageError
from rollback.model.registry import closest

WORD_MAX = 4096  # no path is longer, and no id
NAME_MAX = 255  # no part of a path is longer
TEXT_MAX = 16_384
PROGRAM_WORD_MAX = 131_072  # as much as the system hands over in one argument
TEXTS = ("reason", "note", "text")  # an operator's own words; they may be empty, too
PROGRAM = ("words",)  # arguments of somebody else's program


class OneOf(click.Choice[str]):
    """One of a few words; a misspelt one is told which was meant."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:  # fmt: skip
        """The word. Raises: BadParameter."""
        if value not in self.choices:
            close = closest(str(value), self.choices)
            meant = f"; did you mean {close}?" if close else ""
            self.fail(f"{value!r} is none of {', '.join(self.choices)}{meant}", param, ctx)
        return str(value)


def no_nul(words: Sequence[str]) -> None:
    """No word holds a NUL byte: nothing that could be named has one. Raises: UsageError."""
    for word in words:
        if "\0" in word:
            raise UsageError(
                f"{clipped(word)!r} holds a NUL byte", hint="type it without, or rollback --help"
            )


def check(ctx: click.Context) -> None:
    """Every word that was typed for this command may be one. Raises: UsageError."""
    for one in ctx.params:
        if ctx.get_parameter_source(one) is not ParameterSource.COMMANDLINE:
            continue
        for value in _words(ctx.params[one]):
            if said := _wrong(one, value):
                raise UsageError(f"{_label(ctx, one)} {said}", hint=f"{ctx.command_path} --help")


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _words(one)


def _wrong(name: str, value: str) -> str:
    if name in TEXTS:
        return f"is longer than {TEXT_MAX} characters" if len(value) > TEXT_MAX else ""
    if not value:
        return "is empty"
    longest = PROGRAM_WORD_MAX if name in PROGRAM else WORD_MAX
    if len(value) > longest:
        return f"is longer than {longest} characters"
    if name not in PROGRAM and any(len(part) > NAME_MAX for part in value.split("/")):
        return f"holds a name longer than {NAME_MAX} characters"
    return ""


def _label(ctx: click.Context, name: str) -> str:
    """The option, or the argument as the help writes it."""
    (found,) = [one for one in ctx.command.params if one.name == name]
    return found.opts[0] if isinstance(found, click.Option) else found.human_readable_name
