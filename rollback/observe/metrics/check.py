"""A check as a number: 1 when it passes, 0 when it fails, UNKNOWN when it cannot say.

Hides: nothing.
Never: takes UNKNOWN for a no.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, model_validator

from rollback.model.finding import Answer, Sample
from rollback.model.policy import MetricDeclared
from rollback.model.registry import Kind, read_item, register
from rollback.model.step import MetricSource
from rollback.observe.check import ask, deadline_s
from rollback.observe.metric import no_number, number
from rollback.observe.view import View


@register("metric", "check")
class CheckMetric(MetricSource):
    """`- check: {http: {...}}`: the check stands inside, as it would in a suite."""

    check: Annotated[
        SerializeAsAny[Kind], BeforeValidator(lambda written: read_item("check", written))
    ]

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, written: Any) -> Any:
        if isinstance(written, dict) and "check" not in written:
            return {"check": written}
        return written

    @property
    def deadline_s(self) -> float:
        """As long as the check may take."""
        return deadline_s(self.check) + 1.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """1.0 or 0.0, with the evidence as the note."""
        finding = ask(self.check, view)
        if finding.answer is Answer.UNKNOWN:
            return no_number(view, declared, finding.evidence)
        value = 1.0 if finding.answer is Answer.PASS else 0.0
        return number(view, declared, value, count=1, note=finding.evidence)
