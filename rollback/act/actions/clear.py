"""Step `clear`: a place or a component is rid of what does not belong there, which is kept aside.

Of a place: the entries that match a pattern, where its `may` says clear. Of a component: everything
beyond its declared `initial` content, which is `empty`.

Hides: where the quarantine is.
Never: deletes; touches an entry of a place that the pattern does not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from rollback.act import before, named
from rollback.host.below import show
from rollback.keep import aside
from rollback.keep.entry import Entry
from rollback.keep.outside import place, present
from rollback.model.component import RelativePath
from rollback.model.errors import PlanError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


class _Empty:
    """A folder with nothing in it, as a source."""

    def entries(self) -> Iterable[Entry]:
        return (Entry(b".", "folder"),)

    def read(self, entry: Entry) -> Iterator[bytes]:
        raise AssertionError(f"{entry.path!r} is no file")


@register("action", "clear")
class ClearStep(Step):
    """One of `place` (with `pattern`, one name without a slash) and `component`."""

    alters: ClassVar[Alters] = "stored"
    place: Id | None = None
    pattern: RelativePath | None = None
    component: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> ClearStep:
        if (self.place is None) == (self.component is None):
            raise ValueError("clear takes one of: place, component")
        if (self.place is None) != (self.pattern is None):
            raise ValueError(
                "a pattern belongs to a place; write place: NAME, and leave component out"
            )
        if self.pattern is not None and ("/" in self.pattern or self.pattern.strip("*") == ""):
            raise ValueError(
                "a pattern names entries of the place itself, and not all; write one like tmp-*"
            )
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What goes, by its path."""
        if self.component is not None:
            self._initial(scene)
            with scene.checkpoints as kept:
                said = kept.put(self.component, _Empty(), step=named.step_name(scene), dry_run=True)
            return {"paths": named.listed(one.path for one in said), "changes": len(said)}
        assert self.place is not None
        assert self.pattern is not None
        found: list[bytes] = []
        if present(scene.system, self.place, "clear"):
            with place(scene.system, scene.host, self.place, "clear") as tree:
                found = aside.expand(tree, self.pattern)
                held = {path for path in found if _holds_ours(scene, tree.place(path))}
                found = [path for path in found if path not in held]
        return {"paths": named.listed(found), "changes": len(found)}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Each entry that goes."""
        found = named.read(scene.bound["paths"])
        where = self.component or f"place {self.place}"
        if not found:
            return (f"{where} is clear already",)
        return (f"{counted(len(found), 'entry', 'entries')} of {where} go to quarantine",
                *(f"- {show(path)}" for path in found))  # fmt: skip

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """The component, where it is one."""
        return (self.component,) if self.component is not None else ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Nothing of it is there."""
        mine = named.step_name(scene)
        if self.component is not None:
            with scene.checkpoints as kept:
                done = kept.put(self.component, _Empty(), step=mine)
            return {"changed": len(done), "quarantine": mine}
        found = named.read(scene.bound["paths"])
        if not found:
            return {"changed": 0}
        assert self.place is not None
        with place(scene.system, scene.host, self.place, "clear") as tree:
            return {"changed": aside.put_aside(scene.host, scene.state.tree, tree, found, mine),
                    "quarantine": mine}  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """Is anything of it left?"""
        found = named.read(scene.bound["paths"])
        if self.component is not None:
            with scene.checkpoints as kept:
                said = kept.put(self.component, _Empty(), step=named.step_name(scene), dry_run=True)
            left = [one.path for one in said]
        elif found and self.place is not None:
            with place(scene.system, scene.host, self.place, "clear") as tree:
                left = [path for path in found if tree.stat(path) is not None]
        else:
            left = []
        if left:
            return failed(f"{len(left)} still there, first {show(left[0])}")
        if self.component is not None and scene.state.tree.stat(
            f"intents/{named.step_name(scene)}.json"
        ):
            return failed("it is empty, but clearing it did not come to its end")
        return passed(f"{self.component or self.place} is clear")

    def undo(self, scene: Scene) -> None:
        """Everything is there again."""
        mine = named.step_name(scene)
        if self.component is not None:
            before.put_back(scene, self.component)
            return
        found = named.read(scene.bound["paths"])
        if found and self.place is not None:
            with place(scene.system, scene.host, self.place, "clear") as tree:
                aside.take_back(scene.host, scene.state.tree, tree, found, mine)

    def undone(self, scene: Scene) -> Finding:
        """Is everything where it was?"""
        if self.component is not None:
            return before.stands(scene, (self.component,))
        found = named.read(scene.bound["paths"])
        if not found or self.place is None or not present(scene.system, self.place, "clear"):
            return passed("nothing was cleared")
        with place(scene.system, scene.host, self.place, "clear") as tree:
            return aside.back(scene.host, scene.state.tree, tree, found, named.step_name(scene))

    def _initial(self, scene: Scene) -> None:
        assert self.component is not None
        component = scene.system.components.get(self.component)
        if component is None:
            raise PlanError(f"there is no component {self.component}",
                            hint=nearest(self.component, tuple(scene.system.components)))  # fmt: skip
        if component.initial != "empty":
            raise PlanError(
                f"component {self.component} does not begin empty",
                hint="declare initial: empty, or restore it from a checkpoint of its beginning",
            )


def _holds_ours(scene: Scene, path: str) -> bool:
    """True where the root or the state lies at or below a path."""
    ours = (str(scene.system.root_path.resolve()), str(scene.state.path.resolve()))
    return any(one == path or one.startswith(path + "/") for one in ours)
