"""Step `thaw`: frozen components can be written again.

Hides: the list of modes in the state directory.
Never: gives back a mode that somebody has changed since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from rollback.act import named
from rollback.keep import frozen
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "thaw")
class ThawStep(Step):
    """`components` by name, whichever run froze them."""

    alters: ClassVar[Alters] = "running"
    components: tuple[Id, ...] = Field(min_length=1)

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Who froze each of them, and with what."""
        held: dict[str, Json] = {}
        for name in self.components:
            named.whole(scene, name)
            found = frozen.read(scene.state.tree, name)
            if found is not None:
                held[name] = {"run": found.run, "immutable": found.immutable,
                              "keeps": found.keeps}  # fmt: skip
        return {"frozen": held}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What can be written again."""
        held = scene.bound["frozen"]
        assert isinstance(held, dict)
        return tuple(f"{name} can be written again" if name in held else f"{name} is not frozen"
                     for name in self.components)  # fmt: skip

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """No stored content."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Every file and folder has the mode that it had."""
        changed = 0
        with named.root(scene) as root:
            for name in self.components:
                at, scope = named.whole(scene, name)
                changed += frozen.thaw(scene.state.tree, root, name, at, scope)
        return {"changed": changed}

    def probe(self, scene: Scene) -> Finding:
        """Is none of them frozen?"""
        held = [name for name in self.components
                if frozen.read(scene.state.tree, name) is not None]  # fmt: skip
        if held:
            return failed(f"{', '.join(held)} still frozen")
        return passed(f"{', '.join(self.components)} can be written")

    def undo(self, scene: Scene) -> None:
        """What was frozen is frozen again, for the run that had done it."""
        held = scene.bound["frozen"]
        assert isinstance(held, dict)
        with named.root(scene) as root:
            for name, how in held.items():
                assert isinstance(how, dict)
                at, scope = named.whole(scene, name)
                frozen.freeze(scene.state.tree, root, name, at, scope, str(how["run"]),
                              immutable=bool(how["immutable"]),
                              keeps=int(str(how.get("keeps", frozen.READABLE))))  # fmt: skip

    def undone(self, scene: Scene) -> Finding:
        """Is what was frozen frozen again?"""
        held = scene.bound["frozen"]
        assert isinstance(held, dict)
        with named.root(scene) as root:
            for name in held:
                at, scope = named.whole(scene, name)
                if frozen.read(scene.state.tree, name) is None or frozen.loose(root, at, scope):
                    return failed(f"{name} can be written")
        return passed(f"{', '.join(held) or 'nothing'} frozen as before the run")
