"""What a declared service uses, read from the process that holds its lock and all it started.

Hides: how a process is known, and that a figure is a sum over its descendants.
Never: reads a process that is known by its name alone; never says zero for a service that is not there.
"""

from __future__ import annotations

from typing import Literal

from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.registry import register
from rollback.model.step import Id, MetricSource
from rollback.observe.metric import no_number, number
from rollback.observe.service import held_by, usage
from rollback.observe.view import View


@register("metric", "process")
class ProcessMetric(MetricSource):
    """Resident memory in bytes, or the count of open descriptors or of processes, at one moment."""

    service: Id
    uses: Literal["memory", "descriptors", "processes"] = "memory"

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The figure; UNKNOWN when the service does not run, or nobody can say which process it is."""
        with held_by(view, self.service) as holder:
            used = usage(holder.pid) if holder is not None else None
            pid = holder.pid if holder is not None else 0
        if used is None:
            return no_number(view, declared, f"{self.service} does not run")
        figures = {
            "memory": used.memory_bytes,
            "descriptors": used.descriptors,
            "processes": used.processes,
        }
        more = f" and {used.processes - 1} that it started" if used.processes > 1 else ""
        note = f"process {pid}{more}"
        return number(view, declared, float(figures[self.uses]), count=1, note=note)
