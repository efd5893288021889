"""A declared metric within limits.

Hides: where the number comes from.
Never: passes when there is no number.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import model_validator

from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.quantity import Limit
from rollback.model.registry import nearest, register
from rollback.model.step import Check, Id
from rollback.observe import metric
from rollback.observe.check import ANY_UNIT
from rollback.observe.expect import Bound, figure
from rollback.observe.view import View

_LIMITS = ("above", "below", "at_least", "at_most", "equals")


@register("check", "metric")
class MetricCheck(Check):
    """`- metric: {name: error_rate, below: 1%}`."""

    name: Id
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: Limit | None = None

    @model_validator(mode="after")
    def _limited(self) -> MetricCheck:
        if not self._limits():
            raise ValueError("no limit is written; write above, below, at_least, at_most or equals")
        return self

    def _limits(self) -> dict[str, float]:
        return {name: value for name in _LIMITS if (value := getattr(self, name)) is not None}

    @property
    def measures(self) -> Mapping[str, str]:
        """The number of the metric."""
        return {ANY_UNIT: "value"}

    def ask(self, view: View) -> Finding:
        """PASS when one reading, taken now, is within the limits."""
        if self.name not in view.system.metrics:
            return unknown(
                f"there is no metric {self.name}; {nearest(self.name, tuple(view.system.metrics))}"
            )
        sample = metric.read(self.name, view)
        if sample.value is None:
            return unknown(f"{self.name} is unknown: {sample.note or 'no reason was given'}")
        if sample.count < 1:
            return unknown(f"{self.name} is {figure(sample.value)}, of no reading at all")
        told = f"{self.name} is {figure(sample.value)} {sample.unit}"
        limits = Bound.model_validate(self._limits())
        details = {"value": sample.value, "count": sample.count}
        if reason := limits.why_not(sample.value):
            finding = failed(f"{told}: {reason}", **details)
            return finding.beyond(limits.broken(self.name, sample.value))
        return passed(f"{told}, of {sample.count} readings", **details)
