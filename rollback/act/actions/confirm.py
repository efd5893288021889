"""Step `confirm`: what was changed before it stays only if a person says so in time.

For changes that can cut off whoever makes them, a network or the way in: who is cut off cannot say
yes, and then the run takes back what it did, whoever drives it by then.

Hides: how the time is measured across waits and restarts.
Never: takes silence, or a yes that comes too late, for a yes.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from rollback.act.moment import begin
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import spoken
from rollback.model.registry import register
from rollback.model.step import Alters, Id, OnFail, Step

if TYPE_CHECKING:
    from rollback.act.scene import Question, Scene

YES, NO = "yes", "no"


@register("action", "confirm")
class ConfirmStep(Step):
    """Somebody of the role `asks`, else of the owner's, says yes `within` the time.

    Otherwise everything that the run did before is taken back.
    """

    alters: ClassVar[Alters] = "nothing"
    asks: Id | None = None

    @model_validator(mode="after")
    def _taken_back(self) -> ConfirmStep:
        if self.on_fail != OnFail():
            raise ValueError("what nobody confirms is taken back: leave on_fail out")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Who is asked. Raises: PlanError when a step before it has no way back."""
        _all_undoable(scene, self)
        return {
            "asks": self.asks or scene.system.people.owner,
            "item": self.id or f"confirm-{scene.step}",
        }

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What is waited for, and what follows."""
        return (f"wait for a yes of {scene.bound['asks']}; without one within {spoken(self.within)} "
                "everything is taken back",)  # fmt: skip

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Question:
        """It was confirmed in time; or the question. Raises: HostError when it was not."""
        from rollback.act.scene import Question as Asked

        item, said = str(scene.bound["item"]), self._said(scene)
        if said == YES:
            return {"confirmed": item}
        if said == NO:
            raise HostError(f"{scene.bound['asks']} said no", where=item)
        left_s = self.within - begin(scene, f"a yes to {item}", self.within)
        if left_s <= 0:
            raise HostError(f"nobody confirmed it within {spoken(self.within)}", where=item)
        until = scene.host.clock.now() + timedelta(seconds=left_s)
        what = (f"a yes of {scene.bound['asks']} by {until:%H:%M:%S} UTC, or everything is taken back: "
                f"rollback answer {scene.run} {item} {YES}")  # fmt: skip
        return Asked(what, item, choices=(YES, NO), by=str(scene.bound["asks"]), within_s=left_s)

    def probe(self, scene: Scene) -> Finding:
        """Was it confirmed? Asking again does no harm: the time goes on."""
        return (
            passed("confirmed") if self._said(scene) == YES else failed("nobody has confirmed it")
        )

    def undo(self, scene: Scene) -> None:
        """What people said stays."""

    def _said(self, scene: Scene) -> str:
        return scene.heard(str(scene.bound["item"])).strip()


def _all_undoable(scene: Scene, step: ConfirmStep) -> None:
    """Every step of the level before this one can be taken back, or changes nothing that stays."""
    from rollback.act.scene import Undoable

    declared = scene.system.level(scene.level)
    steps = declared[1].steps if declared else scene.system.procedures[scene.level].steps
    for one in steps:
        if one == step:
            return
        if not isinstance(one, Step) or one.harmless:
            continue
        if not (one.reversible and isinstance(one, Undoable)):
            raise PlanError(
                f"{one.id or one.kind} cannot be taken back, so no silence behind it can undo it",
                where=f"{scene.level}: {step.id or step.kind}",
                hint="put the confirm before it, or declare how it is undone",
            )
