"""Step `verify`: declared checks are asked in the middle of a run; one that is not PASS fails it.

Hides: nothing.
Never: opens a gate; that needs the suites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from rollback.act.watching import hold
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.quantity import Seconds, counted, spoken
from rollback.model.registry import Kind, nearest, register
from rollback.model.step import Id, Step, Suite
from rollback.observe.check import ask

if TYPE_CHECKING:
    from rollback.act.scene import Later, Scene


@register("action", "verify")
class VerifyStep(Step):
    """`checks` by id, of `suite` or of any; without `checks` the whole suite as this level needs it.

    `for` is how long they must stay good.
    """

    stores_nothing: ClassVar[bool] = True
    changes_nothing: ClassVar[bool] = True
    suite: Suite | None = None
    checks: tuple[Id, ...] = ()
    for_: Seconds = Field(default=0.0, alias="for")
    every: Seconds = 5.0

    @model_validator(mode="after")
    def _something(self) -> VerifyStep:
        if self.suite is None and not self.checks:
            raise ValueError("write what is asked: suite, checks")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The ids of the checks, in the order of the declaration."""
        known = [(suite, check) for suite, check in scene.system.checks()
                 if self.suite in (None, suite)]  # fmt: skip
        ids = [_id(check) for _, check in known]
        for name in self.checks:
            if name not in ids:
                raise PlanError(f"there is no check {name}", hint=nearest(name, tuple(ids)))
        if self.checks:
            return {"checks": list(self.checks)}
        return {"checks": [_id(c) for _, c in known if _wanted(c, scene.level)]}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Which checks."""
        held = f", all good for {spoken(self.for_)}" if self.for_ else ""
        return (f"ask {', '.join(_names(scene))}{held}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Later:
        """Every check answered PASS. Raises: HostError naming those that did not."""
        if not self.for_:
            return self._asked(scene)
        return hold(
            scene, "verify", lambda: self._asked(scene), for_s=self.for_, every_s=self.every
        )

    def probe(self, scene: Scene) -> Finding:
        """The checks, asked again."""
        try:
            return passed(f"{counted(len(self._asked(scene)), 'check')} answered pass")
        except HostError as error:
            return failed(str(error))

    def undo(self, scene: Scene) -> None:
        """Asking left no trace."""

    def _asked(self, scene: Scene) -> dict[str, Json]:
        view, names = scene.view(), _names(scene)
        found = {_id(c): ask(c, view) for _, c in scene.system.checks()
                 if _id(c) in names and isinstance(c, Kind)}  # fmt: skip
        bad = [f"{name} is {f.answer}: {f.evidence}" for name, f in found.items()
               if f.answer is not Answer.PASS]  # fmt: skip
        if bad:
            raise HostError("; ".join(bad), hint="nothing later in the plan was done")
        return {name: finding.evidence for name, finding in found.items()}


def _id(check: Kind) -> str:
    return str(getattr(check, "id", None) or check.kind)


def _wanted(check: Kind, level: str) -> bool:
    levels = getattr(check, "levels", ())
    return not levels or level in levels


def _names(scene: Scene) -> list[str]:
    names = scene.bound["checks"]
    assert isinstance(names, list)
    return [str(name) for name in names]
