"""A check as a number: what it measures; else 1 when it passes, 0 when it fails. UNKNOWN stays that.

Hides: which of a check's details is the number that is meant.
Never: takes UNKNOWN for a no; a yes or no for the number that the check would have measured.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, model_validator

from rollback.model.finding import Answer, Sample
from rollback.model.policy import MetricDeclared
from rollback.model.registry import Kind, read_item, register
from rollback.model.step import MetricSource
from rollback.observe.check import ANY_UNIT, ask, deadline_s, measures
from rollback.observe.expect import is_number
from rollback.observe.metric import no_number, number
from rollback.observe.view import View

_PLAIN = ("boolean", "fraction", "count", "ratio", "score")  # in which 1 and 0 mean something


@register("metric", "check")
class CheckMetric(MetricSource):
    """`- check: {http: {...}}`: the check stands inside, as it would in a suite.

    With `unit: boolean` its answer, 1 or 0. With another unit what it measures in that, whether it passes
    or not (the depth of a queue, the answer of a query, the milliseconds of a request); a check that
    measures nothing in it answers 1 or 0 there, too.
    """

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
    def units(self) -> tuple[str, ...]:
        """Those of yes and no, and those in which the check measures something."""
        found = measures(self.check)
        return () if ANY_UNIT in found else tuple(dict.fromkeys((*_PLAIN, *found)))

    @property
    def deadline_s(self) -> float:
        """As long as the check may take."""
        return deadline_s(self.check) + 1.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """What was measured, or 1.0 or 0.0, with the evidence as the note."""
        finding = ask(self.check, view)
        if finding.answer is Answer.UNKNOWN:
            return no_number(view, declared, finding.evidence)
        found = measures(self.check)
        name = found.get(declared.unit, found.get(ANY_UNIT))
        if declared.unit != "boolean" and name is not None:
            measured = finding.details.get(name)
            if not is_number(measured):
                why = f"the check measured no number: {finding.evidence}"
                return no_number(view, declared, why)
            return number(view, declared, float(measured), count=1, note=finding.evidence)  # type: ignore[arg-type]
        value = 1.0 if finding.answer is Answer.PASS else 0.0
        return number(view, declared, value, count=1, note=finding.evidence)
