"""Step `decide`: a person names the level that is right, with what the run collected before his eyes.

Hides: nothing.
Never: starts that level: it is the next run of the incident, with an authority of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Question, Scene

NONE = "none"


@register("action", "decide")
class DecideStep(Step):
    """A level by its id, or none, said by somebody who `asks` names (a role); else by the owner's role."""

    alters: ClassVar[Alters] = "nothing"
    asks: Id | None = None

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Who is asked, and which levels there are."""
        return {"asks": self.asks or scene.system.people.owner, "item": self.id or "decide",
                "levels": [*scene.system.levels]}  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What is asked."""
        return (f"ask {scene.bound['asks']} which level is right: {', '.join(self._known(scene))}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Question:
        """What was named; or the question."""
        from rollback.act.scene import Question as Asked

        item, known = str(scene.bound["item"]), self._known(scene)
        said = scene.heard(item).strip()
        if said not in known:
            named = f"which level is right ({', '.join(known)})"
            what = f"{named}: rollback answer {scene.run} {item} LEVEL"
            return Asked(what, item, choices=known, by=str(scene.bound["asks"]))
        onwards = "nothing is gone back to" if said == NONE else f"rollback run {said}"
        return {"level": said, "said": onwards}

    def probe(self, scene: Scene) -> Finding:
        """Was one named?"""
        said = scene.heard(str(scene.bound["item"])).strip()
        return passed(said) if said in self._known(scene) else failed("nobody has named one")

    def undo(self, scene: Scene) -> None:
        """What people decided stays."""

    def _known(self, scene: Scene) -> tuple[str, ...]:
        return (*scene.system.levels, NONE)
