"""The share of probes that are answered with a 2xx status.

Hides: that the probes go out at the same time.
Never: counts an answer that came too late.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rollback.model.errors import HostUnreachable
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Seconds
from rollback.model.registry import register
from rollback.model.step import MetricSource
from rollback.observe.deadline import together
from rollback.observe.metric import number
from rollback.observe.view import View
from rollback.observe.web import Url, fetch


@register("metric", "probe")
class Probe(MetricSource):
    """`probes` requests; one that nobody answers within `timeout` is a no, and not UNKNOWN."""

    url: Url
    probes: Annotated[int, Field(ge=1, le=100)] = 3
    timeout: Seconds = 5.0

    @property
    def deadline_s(self) -> float:
        """All probes go out together."""
        return self.timeout + 1.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """Nobody answering is 0.0: for availability, silence is the answer."""
        works = [self._answered] * self.probes
        outcomes = together(works, within_s=self.timeout + 0.2, clock=view.host.clock)
        answered = sum(outcome.result is True for outcome in outcomes)
        return number(view, declared, answered / self.probes, count=self.probes)

    def _answered(self) -> bool:
        try:
            answer = fetch(self.url, timeout_s=self.timeout)
        except HostUnreachable:
            return False
        return 200 <= answer.status < 300 and answer.elapsed_s <= self.timeout
