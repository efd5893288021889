"""Step `verify`: a suite or single checks in the middle of a run; what is not as wanted fails it.

Hides: nothing.
Never: opens a gate: this is asked before all steps are done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from rollback.act import proving
from rollback.act.watching import held, hold
from rollback.model.errors import HostError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import Seconds, counted, spoken
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step, Suite

if TYPE_CHECKING:
    from rollback.act.scene import Later, Scene


@register("action", "verify")
class VerifyStep(Step):
    """`checks` by id, of `suite` or of any; without `checks` the whole suite, as the gate runs it.

    What is wanted of a check is what the gate of this level expects of it. `for` is how long all
    must stay good.
    """

    alters: ClassVar[Alters] = "nothing"
    suite: Suite | None = None
    checks: tuple[Id, ...] = ()
    for_: Seconds = Field(default=0.0, alias="for")
    every: Seconds = 5.0

    @model_validator(mode="after")
    def _something(self) -> VerifyStep:
        if self.suite is None and not self.checks:
            raise ValueError("nothing is asked; write suite or checks")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The checks by id, of a whole suite the team's tests too. Raises: PlanError, Refused."""
        if self.suite is not None and not self.checks:
            ids, files = proving.asked_in(scene, self.suite)
            return {"suite": self.suite, "checks": [*ids], "files": [*files], "level": scene.level}
        proving.may_ask(scene, self.checks, self.suite)
        return {"checks": list(self.checks), "level": scene.level}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Which checks and tests."""
        held = f", all good for {spoken(self.for_)}" if self.for_ else ""
        if "suite" not in scene.bound:
            return (f"ask {', '.join(_names(scene))}{held}",)
        names = ", ".join([*_names(scene), *_names(scene, "files")])
        return (f"run suite {scene.bound['suite']} as the gate does: {names}{held}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Later:
        """Everything is as it is wanted. Raises: HostError naming what is not."""
        if not self.for_:
            return self._asked(scene)
        return hold(
            scene, "verify", lambda: self._asked(scene), for_s=self.for_, every_s=self.every
        )

    def probe(self, scene: Scene) -> Finding:
        """The same, asked again; what has to stay so for a while was seen to."""
        if self.for_ and not held(scene):
            return failed(f"it was not seen to hold for {spoken(self.for_)}")
        try:
            return passed(f"{counted(len(self._asked(scene)), 'answer')} as wanted")
        except HostError as error:
            return failed(str(error))

    def undo(self, scene: Scene) -> None:
        """Asking left no trace."""

    def _asked(self, scene: Scene) -> dict[str, Json]:
        level = str(scene.bound.get("level", scene.level))
        if "suite" in scene.bound:
            assert self.suite is not None
            return proving.ask_suite(scene, self.suite, level)
        names = _names(scene)
        found, bad = proving.ask_each(scene, names, level)
        if bad:
            raise HostError("; ".join(bad), hint="nothing later in the plan was done")
        return {name: finding.evidence for name, finding in found.items()}


def _names(scene: Scene, of: str = "checks") -> list[str]:
    names = scene.bound[of]
    assert isinstance(names, list)
    return [str(name) for name in names]
