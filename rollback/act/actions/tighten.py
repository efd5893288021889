"""Step `tighten`: for a time it is looked more closely, by the factors of `monitor.tightening`.

Hides: where the factors are kept: they are state of the run's incident.
Never: edits the declaration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.act import incident
from rollback.act.moment import mark, marked
from rollback.model.errors import PlanError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import spoken
from rollback.model.registry import register
from rollback.model.step import Alters, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "tighten")
class TightenStep(Step):
    """Ticks and scheduled checkpoints come closer, metric checks of a gate want more, as declared."""

    alters: ClassVar[Alters] = "nothing"

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The factors, and for how long. Raises: PlanError where none are declared."""
        declared = scene.system.monitor.tightening
        if declared is None or not declared.lasts:
            raise PlanError(
                "nothing says how much more closely, or for how long",
                hint="declare monitor: {tightening: {interval: 0.5, checkpoints: 0.5, lasts: 7d}}",
            )
        return incident.factors(declared, 0.0)

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The factors in words."""
        each = (
            ("ticks", "interval", "of their interval"), ("checkpoints", "checkpoints", "of theirs"),
            ("metric checks of a gate", "thresholds", "of their limits"),
        )  # fmt: skip
        said = [f"{what} at {scene.bound[name]} {of}" for what, name, of in each]
        return (f"{', '.join(said)}, for {spoken(float(str(scene.bound['closer_s'])))}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """It holds from now on."""
        scene.note("tightening.begun", {"name": self.id or f"tighten-{scene.step}", **scene.bound})
        mark(scene)
        return dict(scene.bound)

    def probe(self, scene: Scene) -> Finding:
        """Does it hold?"""
        if marked(scene):
            return passed("it is looked more closely")
        return failed("it is not looked more closely yet; doing it again does no harm")

    def undo(self, scene: Scene) -> None:
        """To look closely does no harm."""
