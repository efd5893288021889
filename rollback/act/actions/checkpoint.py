"""Step `checkpoint`: a checkpoint of the present, under a name that nothing else has.

Hides: how it is known again after a crash.
Never: takes a PARTIAL one for done; takes a checkpoint away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rollback.model.errors import PlanError, StoreError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "checkpoint")
class CheckpointStep(Step):
    """`components` by name, or all; `retained_as` is the declared kind whose retention it has.

    `name` may hold {date}, {time} and {run}; two checkpoints never have one name.
    """

    alters: ClassVar[Alters] = "running"
    components: Literal["all"] | tuple[Id, ...] = "all"
    name: Text | None = None
    retained_as: Id = "manual"

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Its name and its components."""
        known = scene.system.components
        chosen = tuple(known) if self.components == "all" else self.components
        for one in chosen:
            if one not in known:
                raise PlanError(f"there is no component {one}", hint=nearest(one, tuple(known)))
        pattern = self.name or f"{scene.level}-{self.id or scene.step}-{{run}}"
        return {"name": scene.named(pattern), "components": list(chosen)}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What is kept under which name."""
        return (f"checkpoint {scene.bound['name']} of {', '.join(_components(scene))}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The checkpoint is listed and proved."""
        name = str(scene.bound["name"])
        with scene.checkpoints as kept:
            found = next((one for one in kept.list() if one.name == name and one.target), None)
            made = found or kept.create(
                name, kind=self.retained_as, components=_components(scene),
                reason=f"{scene.level}, step {scene.step} of run {scene.run}",
            )  # fmt: skip
        return {"checkpoint": made.id, "name": name, "size_bytes": made.size_bytes,
                "changed": int(found is None)}  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """Is it there, and something to go back to?"""
        name = str(scene.bound["name"])
        with scene.checkpoints as kept:
            try:
                found = next((one for one in kept.list() if one.name == name and one.target), None)
            except StoreError as error:
                return failed(str(error))
        if found is None:
            return failed(f"there is no whole checkpoint {name}")
        return passed(f"checkpoint {found.id[:12]} {name}")

    def undo(self, scene: Scene) -> None:
        """The checkpoint stays: it changed nothing of the system."""


def _components(scene: Scene) -> tuple[str, ...]:
    found = scene.bound["components"]
    assert isinstance(found, list)
    return tuple(map(str, found))
