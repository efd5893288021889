"""Step `freeze`: components are not written until they are thawed.

Their files and folders lose their write bits, and no other run may change them. This stops other
users, and programs that ask before they write; it does not stop root, a process that opened a file
before, or the owner who gives the bits back. `immutable: true` sets the immutable flag too, which
stops these where the file system has it and the tool runs with the right to set it.

Hides: the list of modes in the state directory.
Never: says frozen while anything of it has a write bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from rollback.act import named
from rollback.host.below import show
from rollback.keep import frozen
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "freeze")
class FreezeStep(Step):
    """`components` by name. Taken back by its undo, or by a step `thaw` of any run.

    `for_repair`: nobody else reads them either, and the steps `repair` of this run still change them.
    """

    alters: ClassVar[Alters] = "running"
    components: tuple[Id, ...] = Field(min_length=1)
    immutable: bool = False
    for_repair: bool = False

    @model_validator(mode="after")
    def _repairable(self) -> FreezeStep:
        if self.immutable and self.for_repair:
            raise ValueError("what is immutable cannot be repaired: write one of the two")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The components are there and not frozen by another run."""
        for name in self.components:
            named.whole(scene, name)
        frozen.refuse(scene.state.tree, self.components, scene.run)
        return {"components": list(self.components)}

    def describe(self, _scene: Scene) -> tuple[str, ...]:
        """What is refused, and what it cannot stop."""
        how = "no write bits" + (", immutable" if self.immutable else "")
        if self.for_repair:
            how = "nobody else may read or write it, until it is good"
        lines = [f"{name} is not written until it is thawed ({how})" for name in self.components]
        if not self.immutable:
            lines.append("! root, and who has a file open to write already, can still write")
        return tuple(lines)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """No stored content: modes come back when it is thawed."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Nothing in the components has a write bit."""
        changed = 0
        with named.root(scene) as root:
            for name in self.components:
                at, scope = named.whole(scene, name)
                changed += frozen.freeze(scene.state.tree, root, name, at, scope, scene.run,
                                         immutable=self.immutable, keeps=self._keeps())  # fmt: skip
        return {"changed": changed}

    def probe(self, scene: Scene) -> Finding:
        """Is each written down as frozen, and without a write bit?"""
        with named.root(scene) as root:
            for name in self.components:
                at, scope = named.whole(scene, name)
                if frozen.read(scene.state.tree, name) is None:
                    return failed(f"{name} is not frozen")
                left = frozen.loose(root, at, scope, self._keeps())
                if left:
                    may = "read or written by others" if self.for_repair else "written"
                    return failed(f"{counted(len(left), 'path')} of {name} can be {may}, "
                                  f"first {show(left[0])}")  # fmt: skip
        return passed(f"{', '.join(self.components)} cannot be written")

    def undo(self, scene: Scene) -> None:
        """Every file and folder has the mode that it had."""
        with named.root(scene) as root:
            for name in self.components:
                found = frozen.read(scene.state.tree, name)
                if found is not None and found.run == scene.run:
                    at, scope = named.whole(scene, name)
                    frozen.thaw(scene.state.tree, root, name, at, scope)

    def undone(self, scene: Scene) -> Finding:
        """Is none of them frozen by this run any more?"""
        held = []
        for name in self.components:
            found = frozen.read(scene.state.tree, name)
            if found is not None and found.run == scene.run:
                held.append(name)
        if held:
            return failed(f"{', '.join(held)} still frozen by run {scene.run}")
        return passed(f"{', '.join(self.components)} not frozen by run {scene.run}")

    def _keeps(self) -> int:
        return frozen.repairable() if self.for_repair else frozen.READABLE
