"""Step `quarantine`: bad items of a component are moved aside, kept for study, with what they were.

They lie in a folder that nobody else may enter, so nobody takes them for good ones. With `stays`
the whole component is copied aside, and stays where it is to be repaired.

Hides: where the quarantine is.
Never: deletes; changes a byte of what it moves.
"""

from __future__ import annotations

import os
import stat as stat_
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from rollback.act import named
from rollback.host import Tree, database
from rollback.host.below import show
from rollback.host.clock import iso
from rollback.keep import aside
from rollback.keep.fingerprint import fingerprints
from rollback.keep.scope import Scope
from rollback.model.component import RelativePath
from rollback.model.errors import PlanError
from rollback.model.event import canonical
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene

_FOLDER = "quarantined"
_ALL: tuple[str, ...] = ("*", ".[!.]*")


@register("action", "quarantine")
class QuarantineStep(Step):
    """`items` are patterns below the component; without them everything in it is moved aside.

    What each item was, and `reason`, stands in `quarantined/STEP.json` of the state directory. What
    `stays` is not moved: a copy of the whole component, byte for byte, lies there.
    """

    alters: ClassVar[Alters] = "stored"
    component: Id
    items: tuple[RelativePath, ...] = ()
    reason: Text = "found to be bad"
    stays: bool = False

    @model_validator(mode="after")
    def _whole(self) -> QuarantineStep:
        if self.stays and self.items:
            raise ValueError("what stays is copied aside whole: leave items out")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What stands at the items now, with its digests; of a copy, how many bytes it takes."""
        component = self._component(scene)
        if self.stays:
            size = self._size(scene, component)
            return {"component": component, "reason": self.reason, "bytes": size}
        declared = scene.system.components[component]
        prefix = "" if declared.path == "." else f"{declared.path}/"
        found = named.standing(scene, [prefix + item for item in self.items or _ALL])
        digests: dict[str, Json] = {}
        with named.root(scene) as root:
            for path in found:
                for below, digest in fingerprints(root, os.fsdecode(path), Scope()):
                    name = os.fsencode(below)
                    full = path if name == path else path + b"/" + name
                    digests[show(full)] = digest
        return {
            "component": component, "paths": named.listed(found), "digests": digests,
            "changes": len(found), "reason": self.reason,
        }  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Each item, and why."""
        bound = scene.bound
        if self.stays:
            return (f"a copy of {bound['component']}, {bound['bytes']} bytes, lies aside before "
                    f"anything is tried: {self.reason}",)  # fmt: skip
        found = named.read(bound["paths"])
        if not found:
            return (f"nothing of {bound['component']} has to be moved aside",)
        return (f"{counted(len(found), 'item')} of {bound['component']} moved aside: "
                f"{self.reason}", *(f"- {show(path)}" for path in found))  # fmt: skip

    @property
    def harmless(self) -> bool:
        """A copy takes nothing away."""
        return self.stays

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component; nothing where it stays."""
        return () if self.stays else (self._component(scene),)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The items are aside; what they were is written down first, of a copy last."""
        mine, tree = named.step_name(scene), scene.state.tree
        about = f"{_FOLDER}/{mine}.json"
        if self.stays:
            digests = self._copied(scene, mine)
            self._written(scene, {show(path): digest for path, digest in digests.items()})
            return {"copied": len(digests), "quarantine": mine, "about": about}
        found = named.read(scene.bound["paths"])
        if tree.stat(about) is None:
            self._written(scene, scene.bound["digests"])
        with named.root(scene) as root:
            return {"changed": aside.put_aside(scene.host, tree, root, found, mine),
                    "quarantine": mine, "about": about}  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """Can any of them still be read where it was? Of a copy: is it whole?"""
        if self.stays:
            whole = scene.state.tree.stat(f"{_FOLDER}/{named.step_name(scene)}.json") is not None
            said = f"a copy of {scene.bound['component']} lies aside"
            return passed(said) if whole else failed(f"not yet: {said}")
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            left = [path for path in found if root.stat(path) is not None]
        if left:
            return failed(f"{counted(len(left), 'item')} still there, first {show(left[0])}")
        return passed(f"{counted(len(found), 'item')} aside")

    def undo(self, scene: Scene) -> None:
        """Everything stands where it stood; a copy stays, since it is evidence."""
        if self.stays:
            return
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            aside.take_back(scene.host, scene.state.tree, root, found, named.step_name(scene))

    def undone(self, scene: Scene) -> Finding:
        """Does everything stand where it stood? A copy took nothing away."""
        if self.stays:
            return passed("nothing was moved aside")
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            return aside.back(scene.host, scene.state.tree, root, found, named.step_name(scene))

    def _copied(self, scene: Scene, step: str) -> dict[bytes, str]:
        at, scope = named.whole(scene, str(scene.bound["component"]))
        with named.root(scene) as root:
            return aside.copy_aside(
                scene.host, scene.state.tree, root, [at, *_beside(root, at)], scope, step
            )

    def _size(self, scene: Scene, component: str) -> int:
        at, scope = named.whole(scene, component)
        with named.root(scene) as root:
            return sum(seen.st_size for _, seen in aside.all_at(root, [at, *_beside(root, at)], scope)
                       if stat_.S_ISREG(seen.st_mode))  # fmt: skip

    def _written(self, scene: Scene, items: Json) -> None:
        """What the items were is written down."""
        mine, tree = named.step_name(scene), scene.state.tree
        if tree.stat(_FOLDER) is None:
            tree.make_folder(_FOLDER)
        tree.write(f"{_FOLDER}/{mine}.json", canonical({
            "at": iso(scene.host.clock.now()), "component": scene.bound["component"],
            "reason": self.reason, "items": items, "quarantine": mine,
        }))  # fmt: skip

    def _component(self, scene: Scene) -> str:
        name = scene.component if self.component == "chosen" else self.component
        known = scene.system.components
        if name not in known:
            raise PlanError(f"there is no component {name}" if name else "no component is chosen",
                            hint=nearest(name, tuple(known)) or "add --component NAME")  # fmt: skip
        fit = ("files", "git", "sqlite") if self.stays else ("files", "git")
        if known[name].content not in fit:
            why = "its files are not its own" if self.stays else "it has no single items"
            raise PlanError(f"component {name} is {known[name].content}: {why}")
        return name


def _beside(root: Tree, at: bytes) -> list[bytes]:
    """What SQLite leaves beside a database, of a file that is one."""
    found = root.stat(at)
    if found is None or not stat_.S_ISREG(found.st_mode):
        return []
    return [at + end for end in database.BESIDE if root.stat(at + end) is not None]
