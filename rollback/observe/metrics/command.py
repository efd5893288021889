"""A number that a program prints.

Hides: how it is read out of the output.
Never: believes a program that ended badly.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rollback.model.component import Argv, RelativePath
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting
from rollback.model.registry import register
from rollback.model.step import MetricSource
from rollback.observe.expect import is_number, shown
from rollback.observe.metric import no_number, number
from rollback.observe.reading import printed, program
from rollback.observe.view import View


@register("metric", "command")
class Command(MetricSource):
    """What the program prints is the number."""

    argv: Argv
    cwd: RelativePath = "."
    environment: dict[str, str] = Field(default_factory=dict)
    number: Literal["stdout"] = "stdout"
    within: Lasting = 10.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The printed number; UNKNOWN when it prints anything else or ends badly."""
        done = program(
            view, self.argv, timeout_s=self.within, cwd=self.cwd, environment=self.environment
        )
        value = printed(done)
        if not is_number(value):
            return no_number(view, declared, f"printed {shown(value, limit=60)!r}, no number")
        return number(view, declared, float(value), count=1)  # type: ignore[arg-type]
