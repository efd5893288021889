"""What a program says, and how it ends.

Hides: the process.
Never: a shell; and a program that does not end in time has not answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from rollback.host.processes import Completed
from rollback.model.component import Argv, RelativePath
from rollback.model.errors import CommandFailed
from rollback.model.finding import Finding, Json, failed, passed, unknown
from rollback.model.quantity import Limit, spoken
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.check import ANY_UNIT
from rollback.observe.expect import Bound, Expected, is_number, regular, shown, why_not
from rollback.observe.reading import printed, program, tail
from rollback.observe.view import View


@register("check", "command")
class Command(Check):
    """The program ends with `exit`, and what it printed (both streams) is as declared.

    `counts` are numbers by regular expression: the last match's first group where the pattern
    has one, else how often it matches. `number: stdout` reads what it printed as the number
    that above, below, at_least, at_most and equals are about.
    """

    argv: Argv
    cwd: RelativePath = "."
    environment: dict[str, str] = Field(default_factory=dict)
    exit: Annotated[int, Field(ge=0, le=255)] = 0
    contains: Text | tuple[Text, ...] = ()
    absent: Text | tuple[Text, ...] = ()
    counts: dict[Annotated[str, AfterValidator(regular)], Expected] = Field(default_factory=dict)
    number: Literal["stdout"] | None = None
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: Limit | None = None

    @model_validator(mode="after")
    def _limited(self) -> Command:
        if self._limits() and self.number is None:
            raise ValueError("limits are about a number: write number: stdout beside them")
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """The number that it prints, where it prints one."""
        return {ANY_UNIT: "value"} if self.number is not None else {}

    def ask(self, view: View) -> Finding:
        """PASS when it ended as declared and said what was declared."""
        try:
            done = program(
                view, self.argv, timeout_s=self.within, cwd=self.cwd, environment=self.environment
            )
        except CommandFailed as error:
            return unknown(f"{self.argv[0]} {error.message}")
        name = shown(" ".join(self.argv), limit=100)
        if done.timed_out:
            return unknown(f"{name}: did not end within {spoken(self.within)}")
        wrong = self._wrong(done)
        details: dict[str, Json] = {"exit": done.status}
        if self.number is not None and done.status == self.exit:
            details["value"] = _number(done)
        if wrong:
            return failed(f"{name}: {'; '.join(wrong[:5])}", **details)
        return passed(f"{name} ended with {done.status}", **details)

    def read_value(self, view: View) -> Json:
        """What the program printed: JSON if it is JSON, else the text. Raises: HostUnreachable."""
        return printed(program(
            view, self.argv, timeout_s=self.within, cwd=self.cwd, environment=self.environment
        ))  # fmt: skip

    def _limits(self) -> dict[str, float]:
        named = ("above", "below", "at_least", "at_most", "equals")
        return {name: value for name in named if (value := getattr(self, name)) is not None}

    def _wrong(self, done: Completed) -> list[str]:
        if done.status != self.exit:
            return [f"ended with {done.status}, not {self.exit}: {tail(done)}"]
        said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
        wrong = []
        if self.absent and not said.strip():
            wrong.append("said nothing at all, of which nothing can be absent")
        wrong += [f"did not say {shown(part)!r}" for part in _several(self.contains)
                 if part not in said]  # fmt: skip
        wrong += [f"said {shown(part)!r}" for part in _several(self.absent) if part in said]
        for pattern, expected in self.counts.items():
            if reason := why_not(_count(pattern, said), expected):
                wrong.append(f"{shown(pattern)}: {reason}")
        if self.number is not None:
            value = _number(done)
            if value is None:
                wrong.append(
                    f"printed {shown(done.stdout.decode('utf-8', 'replace'))!r}, no number"
                )
            elif reason := Bound.model_validate(self._limits()).why_not(value):
                wrong.append(reason)
        return wrong


def _number(done: Completed) -> float | None:
    try:
        value = float(done.stdout.decode("ascii").strip())
    except ValueError:
        return None
    return value if is_number(value) else None


def _count(pattern: str, said: str) -> Json:
    found = list(re.finditer(pattern, said, re.MULTILINE))
    if not found or not found[-1].re.groups:
        return len(found)
    try:
        return float(found[-1][1])
    except (TypeError, ValueError):
        return found[-1][1]


def _several(written: str | tuple[str, ...]) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else written
