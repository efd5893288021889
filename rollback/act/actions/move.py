"""Step `move`: what stands at the named paths stands in another folder; of two names both are kept.

Hides: how a free name is found.
Never: moves over something; moves what is only ever added to.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rollback.act import named
from rollback.host.below import show
from rollback.keep import aside
from rollback.model.component import RelativePath
from rollback.model.errors import PlanError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import register
from rollback.model.step import Alters, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "move")
class MoveStep(Step):
    """`paths` (patterns below the root) go into the folder `to`, which comes into being.

    Where the name is taken, `.2` is added to it.
    """

    alters: ClassVar[Alters] = "stored"
    paths: tuple[RelativePath, ...] = Field(min_length=1)
    to: RelativePath

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Each path with the one that it gets."""
        folder = os.fsencode(self.to)
        taken: list[bytes] = []
        found = [path for path in named.standing(scene, self.paths)
                 if (os.path.dirname(path) or b".") != folder]  # fmt: skip
        with named.root(scene) as root:
            for path in found:
                if folder == path or folder.startswith(path + b"/"):
                    raise PlanError(f"{show(path)} cannot go into itself", where=self.to)
                taken.append(aside.free_name(root, folder, os.path.basename(path), taken))
        return {"from": named.listed(found), "to": named.listed(taken), "changes": len(found)}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Each path and where it goes."""
        pairs = named.pairs(scene)
        if not pairs:
            return ("nothing to move from " + ", ".join(self.paths),)
        return tuple(f"{show(source)} -> {show(target)}" for source, target in pairs)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components that lose something, and the one that gets it."""
        pairs = named.pairs(scene) if "from" in scene.bound else []
        return named.touched(scene, [path for pair in pairs for path in pair])

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Everything stands where it was bound to go."""
        with named.root(scene) as root:
            return {"changed": aside.move_all(root, named.pairs(scene))}

    def probe(self, scene: Scene) -> Finding:
        """Is any of them still where it was, or lost?"""
        pairs = named.pairs(scene)
        with named.root(scene) as root:
            left = [source for source, _ in pairs if root.stat(source) is not None]
            lost = [target for _, target in pairs if root.stat(target) is None]
        if left or lost:
            return failed(f"{counted(len(left or lost), 'path')} not moved, "
                          f"first {show((left or lost)[0])}")  # fmt: skip
        return passed(f"{counted(len(pairs), 'path')} moved to {self.to}")

    def undo(self, scene: Scene) -> None:
        """Everything stands where it stood."""
        with named.root(scene) as root:
            aside.move_all(root, [(target, source) for source, target in named.pairs(scene)])

    def undone(self, scene: Scene) -> Finding:
        """Does everything stand where it stood?"""
        return named.back(scene)
