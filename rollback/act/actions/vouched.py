"""Step `vouched`: every item of a component is vouched for by its checkpoint and its transaction log.

What neither vouches for fails the step. What only one of the two does is named in a task for a
person: work since the checkpoint stands in the log alone, and work that is lost in the checkpoint
alone, and no program can tell which of them is right.

Hides: nothing.
Never: changes the system; says nothing of an item for which there is one witness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.act import repairing
from rollback.act.moment import mark, marked
from rollback.model.errors import HostError
from rollback.model.finding import Answer, Finding, Json, failed
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene

NAMED_MAX = 5


@register("action", "vouched")
class VouchedStep(Step):
    """`component` is compared with the run's target and its log, item by item, and its checks asked."""

    alters: ClassVar[Alters] = "nothing"
    component: Id

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Which component."""
        name = repairing.component_of(scene, self.component)
        repairing.may_be_shown(scene, name)
        return {"component": name}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What has to hold."""
        return (f"compare every item of {scene.bound['component']} with the checkpoint and the log; "
                "what only one of them vouches for is a person's to look at",)  # fmt: skip

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Every item is vouched for, and what has one witness is a task.

        Raises: HostError naming the first item that nobody vouches for.
        """
        name = str(scene.bound["component"])
        finding = repairing.sound(scene, name)
        if finding.answer is not Answer.PASS:
            raise HostError(finding.evidence, where=name)
        once = finding.details["once"]
        assert isinstance(once, dict)
        if once:
            alone = "; ".join(_said(source, items) for source, items in once.items())
            scene.note("task.opened", {
                "name": self.id or f"vouched-{scene.step}", "items": once,
                "title": f"Look at what only one source vouches for in {name}: {alone}",
                "owner": scene.system.people.owner,
                "because": f"two sources are asked for, and step {scene.step} found one",
            })  # fmt: skip
        mark(scene)
        return {"says": finding.evidence, **finding.details}

    def probe(self, scene: Scene) -> Finding:
        """Was it so, and is it so now?"""
        if not marked(scene):
            return failed("nobody has looked yet; looking again does no harm")
        return repairing.sound(scene, str(scene.bound["component"]))

    def undo(self, scene: Scene) -> None:
        """Looking leaves no trace."""


def _said(source: str, items: Json) -> str:
    assert isinstance(items, list)
    more = f" and {len(items) - NAMED_MAX} more" if len(items) > NAMED_MAX else ""
    return f"{', '.join(map(str, items[:NAMED_MAX]))}{more} (the {source} alone)"
