"""Step `vouched`: every item of a component is vouched for by a checkpoint or by its transaction log.

Hides: nothing.
Never: changes the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.act import repairing
from rollback.model.errors import HostError
from rollback.model.finding import Answer, Finding, Json
from rollback.model.registry import register
from rollback.model.step import Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "vouched")
class VouchedStep(Step):
    """`component` is compared with the run's target and its log, item by item, and its checks asked."""

    stores_nothing: ClassVar[bool] = True
    changes_nothing: ClassVar[bool] = True
    component: Id

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Which component."""
        name = repairing.component_of(scene, self.component)
        repairing.may_be_shown(scene, name)
        return {"component": name}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What has to hold."""
        return (
            f"compare every item of {scene.bound['component']} with the checkpoint and the log",
        )

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Every item is vouched for. Raises: HostError naming the first that is not."""
        finding = repairing.sound(scene, str(scene.bound["component"]))
        if finding.answer is not Answer.PASS:
            raise HostError(finding.evidence, where=str(scene.bound["component"]))
        return {"says": finding.evidence, **finding.details}

    def probe(self, scene: Scene) -> Finding:
        """Is it so now?"""
        return repairing.sound(scene, str(scene.bound["component"]))

    def undo(self, scene: Scene) -> None:
        """Looking leaves no trace."""
