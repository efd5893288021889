"""Step `quarantine`: bad items of a component are moved aside, kept for study, with what they were.

They lie in a folder that nobody else may enter, so nobody takes them for good ones.

Hides: where the quarantine is.
Never: deletes; changes a byte of what it moves.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from rollback.act import named
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
from rollback.model.step import Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene

_FOLDER = "quarantined"
_ALL: tuple[str, ...] = ("*", ".[!.]*")


@register("action", "quarantine")
class QuarantineStep(Step):
    """`items` are patterns below the component; without them everything in it is moved aside.

    What each item was, and `reason`, stands in `quarantined/STEP.json` of the state directory.
    """

    stores_nothing: ClassVar[bool] = False
    component: Id
    items: tuple[RelativePath, ...] = ()
    reason: Text = "found to be bad"

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What stands at the items now, with its digests."""
        component = self._component(scene)
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
        found = named.read(scene.bound["paths"])
        if not found:
            return (f"nothing of {scene.bound['component']} has to be moved aside",)
        return (f"{counted(len(found), 'item')} of {scene.bound['component']} moved aside: "
                f"{self.reason}", *(f"- {show(path)}" for path in found))  # fmt: skip

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component."""
        return (self._component(scene),)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The items are aside; what they were is written down first."""
        found = named.read(scene.bound["paths"])
        mine, tree = named.step_name(scene), scene.state.tree
        if tree.stat(_FOLDER) is None:
            tree.make_folder(_FOLDER)
        about = f"{_FOLDER}/{mine}.json"
        if tree.stat(about) is None:
            tree.write(about, canonical({
                "at": iso(scene.host.clock.now()), "component": scene.bound["component"],
                "reason": self.reason, "items": scene.bound["digests"], "quarantine": mine,
            }))  # fmt: skip
        with named.root(scene) as root:
            return {"changed": aside.put_aside(scene.host, tree, root, found, mine),
                    "quarantine": mine, "about": about}  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """Can any of them still be read where it was?"""
        found = named.read(scene.bound["paths"])
        with named.root(scene) as root:
            left = [path for path in found if root.stat(path) is not None]
        if left:
            return failed(f"{counted(len(left), 'item')} still there, first {show(left[0])}")
        return passed(f"{counted(len(found), 'item')} aside")

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

    def _component(self, scene: Scene) -> str:
        name = scene.component if self.component == "chosen" else self.component
        known = scene.system.components
        if name not in known:
            raise PlanError(f"there is no component {name}" if name else "no component is chosen",
                            hint=nearest(name, tuple(known)) or "add --component NAME")  # fmt: skip
        if known[name].content not in ("files", "git"):
            raise PlanError(f"component {name} is {known[name].content}: it has no single items")
        return name
