"""Step `requeue`: items of some components wait in another one again, each a limited number of times.

Hides: where it is written how often an item came back.
Never: moves over something; brings an item back more often than declared.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from rollback.act import named
from rollback.host.below import show
from rollback.keep import aside
from rollback.keep.scope import OURS
from rollback.model.errors import PlanError, StoreError
from rollback.model.event import canonical
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene

_FOLDER = "requeued"


@register("action", "requeue")
class RequeueStep(Step):
    """What lies in the components `from` goes to the component `to`, at most `at_most` times each.

    An item is known by its name; where the name is taken, `.2` is added. What came back that often
    already stays where it is, and is named.
    """

    alters: ClassVar[Alters] = "stored"
    from_: tuple[Id, ...] = Field(alias="from", min_length=1)
    to: Id
    at_most: Annotated[int, Field(ge=1, le=1000)] = 3

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Each item with the path that it gets."""
        told = _told(scene, self.to)
        folder = os.fsencode(_path(scene, self.to))
        pairs: list[tuple[bytes, bytes]] = []
        stays: list[Json] = []
        with named.root(scene) as root:
            for name in self.from_:
                at = os.fsencode(_path(scene, name))
                found = root.stat(at)
                for item in root.names(at) if found is not None else ():
                    if item.startswith(OURS):
                        continue
                    if len(told.get(show(item), [])) >= self.at_most:
                        stays.append(show(item))
                        continue
                    taken = [target for _, target in pairs]
                    pairs.append((at + b"/" + item, aside.free_name(root, folder, item, taken)))
        return {
            "from": named.listed(one for one, _ in pairs),
            "to": named.listed(one for _, one in pairs), "stays": stays, "changes": len(pairs),
        }  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Each item and where it goes, then those that came back too often."""
        stays = scene.bound["stays"]
        assert isinstance(stays, list)
        lines = [f"{show(source)} -> {show(target)}" for source, target in named.pairs(scene)]
        lines += [f"! {item} came back {self.at_most} times already and stays" for item in stays]
        return tuple(lines) or ("nothing waits to be queued again",)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components that items leave, and the one that they come into."""
        return (*self.from_, self.to) if scene.bound.get("changes") else ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Every bound item waits again, and is counted once for this step."""
        pairs = named.pairs(scene)
        told = _told(scene, self.to)
        mine = named.step_name(scene)
        for source, _ in pairs:
            times = told.setdefault(show(os.path.basename(source)), [])
            if mine not in times:
                times.append(mine)
        if pairs:
            tree = scene.state.tree
            if tree.stat(_FOLDER) is None:
                tree.make_folder(_FOLDER)
            tree.write(f"{_FOLDER}/{self.to}.json", canonical(dict(told)))
        with named.root(scene) as root:
            return {"changed": aside.move_all(root, pairs), "stays": scene.bound["stays"]}

    def probe(self, scene: Scene) -> Finding:
        """Is any of them still where it was?"""
        pairs = named.pairs(scene)
        with named.root(scene) as root:
            left = [source for source, _ in pairs if root.stat(source) is not None]
        if left:
            return failed(f"{counted(len(left), 'item')} not queued, first {show(left[0])}")
        return passed(f"{counted(len(pairs), 'item')} queued again")

    def undo(self, scene: Scene) -> None:
        """Everything lies where it lay; that it was tried stays counted."""
        with named.root(scene) as root:
            aside.move_all(root, [(target, source) for source, target in named.pairs(scene)])

    def undone(self, scene: Scene) -> Finding:
        """Does everything stand where it stood?"""
        return named.back(scene)


def _path(scene: Scene, name: str) -> str:
    component = scene.system.components.get(name)
    if component is None:
        raise PlanError(f"there is no component {name}",
                        hint=nearest(name, tuple(scene.system.components)))  # fmt: skip
    if component.content != "files":
        raise PlanError(f"component {name} is {component.content}, not a folder of items")
    return component.path


def _told(scene: Scene, to: str) -> dict[str, list[str]]:
    """In which steps each item came back."""
    name = f"{_FOLDER}/{to}.json"
    tree = scene.state.tree
    if tree.stat(name) is None:
        return {}
    try:
        found = json.loads(tree.read(name))
        return {str(item): [str(one) for one in times] for item, times in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise StoreError("how often items came back cannot be read", where=tree.place(name),
                         hint="look at it; without the file counting begins anew") from error  # fmt: skip
