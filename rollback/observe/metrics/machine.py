"""A figure of the machine itself: processor, memory or disk.

Hides: psutil; and that processor time is a difference between two looks.
Never: says anything of a single process; that is the source `process`.
"""

from __future__ import annotations

from typing import Literal

from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting, Seconds
from rollback.model.registry import register
from rollback.model.step import MetricSource
from rollback.observe.metric import number
from rollback.observe.place import Place
from rollback.observe.view import View


@register("metric", "machine")
class Machine(MetricSource):
    """`uses` as a share from 0 to 1; `disk-free` and `memory-free` in bytes; `load` per core.

    `path` is where the disk is looked at: the root, unless another place is named. The processor is
    looked at for `over`.
    """

    uses: Literal["cpu", "memory", "disk", "disk-free", "memory-free", "load"]
    path: Place = "."
    over: Seconds = 0.5
    within: Lasting = 10.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The figure, now."""
        import psutil  # 10 ms that most questions do not need

        place = self.path if self.path.startswith("/") else str(view.root / self.path)
        if self.uses == "cpu":
            value = psutil.cpu_percent(interval=self.over) / 100.0
        elif self.uses == "load":
            value = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
        elif self.uses in ("memory", "memory-free"):
            memory = psutil.virtual_memory()
            free = self.uses == "memory-free"
            value = float(memory.available) if free else 1.0 - memory.available / memory.total
        else:
            disk = psutil.disk_usage(place)
            value = float(disk.free) if self.uses == "disk-free" else disk.percent / 100.0
        return number(view, declared, value, count=1, note=place if "disk" in self.uses else "")
