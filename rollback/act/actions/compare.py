"""Step `compare`: what differs from the last good state, and what that comes from, is with the run.

Hides: nothing.
Never: changes the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.act import repairing
from rollback.act.repairing import base_of, component_of
from rollback.model.errors import HostError, PlanError
from rollback.model.event import canonical
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "compare")
class CompareStep(Step):
    """`component` is compared with the run's target, item by item, and with its transaction log."""

    alters: ClassVar[Alters] = "nothing"
    component: Id

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What is compared with what."""
        name = component_of(scene, self.component)
        if not base_of(scene):
            raise PlanError("this run has no checkpoint to compare with",
                            hint="name one with --to checkpoint:ID")  # fmt: skip
        if not repairing.has_items(scene, name):
            raise PlanError(f"component {name} cannot be compared item by item")
        return {"component": name, "base": base_of(scene),
                "file": f"runs/{scene.run}/differences-{scene.step}.json"}  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What is compared, and where it is written down."""
        return (f"compare {scene.bound['component']} with checkpoint "
                f"{str(scene.bound['base'])[:12]}, into {scene.bound['file']}",)  # fmt: skip

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The differences and their cause are written down."""
        told = self._compared(scene)
        scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
        scene.state.tree.write(str(scene.bound["file"]), canonical(told) + b"\n")
        shown = {name: one[: repairing.SHOWN_MAX] if isinstance(one, list) else one
                 for name, one in told.items()}  # fmt: skip
        return {**shown, "file": str(scene.bound["file"])}

    def probe(self, scene: Scene) -> Finding:
        """Is it written down?"""
        if scene.state.tree.stat(str(scene.bound["file"])) is not None:
            return passed(f"the differences are in {scene.bound['file']}")
        return failed("nothing was written down")

    def undo(self, scene: Scene) -> None:
        """What was seen stays: it is evidence."""

    def _compared(self, scene: Scene) -> dict[str, Json]:
        from rollback.keep.rebuild import cross_check, differing

        name, base = str(scene.bound["component"]), str(scene.bound["base"])
        with scene.checkpoints as kept:
            unreadable, items = differing(kept, name, base)
            nobody: tuple[str, ...] = items
            cause = "nothing differs"
            if unreadable:
                cause = f"it cannot be read: {unreadable}"
            elif items:
                try:
                    found = cross_check(kept, scene.system, name, base)
                    nobody = found.nobody
                    cause = "the transaction log accounts for every difference"
                    if nobody:
                        cause = "changed by something that the transaction log knows nothing of"
                    if "log" not in found.sources:
                        cause = "it cannot be told: it is made from no transaction log"
                except (HostError, PlanError) as error:
                    cause = f"it cannot be told, since there is no log to ask: {error}"
        return {"component": name, "checkpoint": base, "differs": list(items),
                "unaccounted": list(nobody) if items else [], "cause": cause}  # fmt: skip
