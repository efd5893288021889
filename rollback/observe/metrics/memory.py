"""How many failures are remembered: all of them, those of one pattern, or those like the newest.

Hides: where the memory is.
Never: takes a missing journal for a memory without failures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from rollback.keep.failures import alike, failures_of
from rollback.keep.journal import events_at
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.registry import register
from rollback.model.step import MetricSource, Text
from rollback.observe.metric import no_number, number
from rollback.observe.view import View


@register("metric", "memory")
class MemoryMetric(MetricSource):
    """A count over all time.

    `similar`: of failures like the newest one, itself included, by the fields that the memory names in
    `similar_by`; `all`: of every one, or of those of one `pattern`.
    """

    count: Literal["similar", "all"] = "all"
    pattern: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> MemoryMetric:
        if self.count == "similar" and self.pattern is not None:
            raise ValueError(
                "similar counts those like the newest, and takes no pattern; leave it out"
            )
        return self

    @property
    def deadline_s(self) -> float:
        """Reading a journal takes as long as it is long."""
        return 30.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number; UNKNOWN when there is no journal."""
        events = events_at(view.system.state_path, view.host)
        if events is None:
            return no_number(view, declared, "there is no journal yet")
        failures = failures_of(events)
        found = failures
        if self.pattern is not None:
            found = tuple(one for one in failures if one.known.get("pattern") == self.pattern)
        elif self.count == "similar" and failures:
            found = alike(failures, failures[-1], view.system.memory.similar_by)
        note = f"{len(failures)} remembered"
        return number(view, declared, float(len(found)), count=max(1, len(failures)), note=note)
