"""Step `remove`: the named paths, and nothing else, are gone from the tree and kept in quarantine.

Hides: where the quarantine is.
Never: deletes; moves what its patterns do not name, or what is only ever added to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rollback.act import named
from rollback.host.below import show
from rollback.keep import aside
from rollback.model.component import RelativePath
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import register
from rollback.model.step import Alters, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene

SHOWN_MAX = 200


@register("action", "remove")
class RemoveStep(Step):
    """`paths` below the root; `*`, `?` and `[…]` stop at a slash. What is not there is no error."""

    alters: ClassVar[Alters] = "stored"
    paths: tuple[RelativePath, ...] = Field(min_length=1)

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What stands at the patterns now."""
        found = named.standing(scene, self.paths)
        return {"paths": named.listed(found), "changes": len(found)}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Each path, then how to have it again."""
        found = named.read(scene.bound["paths"])
        if not found:
            return ("nothing stands at " + ", ".join(self.paths),)
        more = [f"… and {len(found) - SHOWN_MAX} more"] if len(found) > SHOWN_MAX else []
        return (
            f"{counted(len(found), 'path')} go to quarantine, where they stay",
            *(f"- {show(path)}" for path in found[:SHOWN_MAX]), *more,
        )  # fmt: skip

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components that the paths are part of."""
        return named.touched(scene, named.read(scene.bound["paths"]))

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Nothing stands at the paths."""
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            moved = aside.put_aside(
                scene.host, scene.state.tree, root, found, named.step_name(scene)
            )
        return {"changed": moved, "quarantine": named.step_name(scene)}

    def probe(self, scene: Scene) -> Finding:
        """Does anything of it still stand?"""
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            left = [path for path in found if root.stat(path) is not None]
        if left:
            return failed(f"{counted(len(left), 'path')} still there, first {show(left[0])}")
        return passed(f"{counted(len(found), 'path')} gone from the tree")

    def undo(self, scene: Scene) -> None:
        """Everything stands where it stood."""
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            aside.take_back(scene.host, scene.state.tree, root, found, named.step_name(scene))

    def undone(self, scene: Scene) -> Finding:
        """Does everything stand where it stood?"""
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            return aside.back(scene.host, scene.state.tree, root, found, named.step_name(scene))
