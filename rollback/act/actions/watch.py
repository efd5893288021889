"""Step `watch`: metrics and checks must stay good for a while; the first bad sample ends it.

Hides: how it goes on across waits.
Never: takes no data for good data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from rollback.act import proving
from rollback.act.moment import elapsed_s
from rollback.act.watching import held, hold
from rollback.host.clock import iso
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Finding, Json, Sample, failed, passed
from rollback.model.policy import Condition
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step
from rollback.observe.metric import read

if TYPE_CHECKING:
    from rollback.act.scene import Later, Scene

SAID_CHARS_MAX = 160  # of what a reading says, in the journal
UNKNOWN = "UNKNOWN"


@register("action", "watch")
class WatchStep(Step):
    """`expect` are conditions on metrics that must hold, `checks` ids of declared checks.

    Looked at `every` so often, `for` so long.
    """

    alters: ClassVar[Alters] = "nothing"
    checks: tuple[Id, ...] = ()
    expect: tuple[Condition, ...] = ()
    for_: Seconds = Field(alias="for")
    every: Seconds = 30.0

    @model_validator(mode="after")
    def _something(self) -> WatchStep:
        if not self.checks and not self.expect:
            raise ValueError("nothing is watched; write checks or expect")
        if any(condition.metric is None for condition in self.expect):
            raise ValueError(
                "a watched condition is about one metric; write metric: NAME with one limit"
            )
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Every name is declared, and may be asked there. Raises: PlanError, Refused."""
        proving.may_ask(scene, self.checks)
        for condition in self.expect:
            if condition.metric not in scene.system.metrics:
                hint = nearest(str(condition.metric), tuple(scene.system.metrics))
                raise PlanError(f"there is no metric {condition.metric}", hint=hint)
        return {"level": scene.level}

    def describe(self, _scene: Scene) -> tuple[str, ...]:
        """What is watched, how long."""
        names = [*self.checks, *(str(condition.metric) for condition in self.expect)]
        return (f"watch {', '.join(names)} for {spoken(self.for_)}, every {spoken(self.every)}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Later:
        """All was good until now: the last samples, or when to look next."""
        return hold(scene, "watch", lambda: self._look(scene), for_s=self.for_, every_s=self.every)

    def probe(self, scene: Scene) -> Finding:
        """Was it watched to its end? What was bad had ended the step."""
        if held(scene):
            return passed("the watch is over")
        left_s = max(0.0, self.for_ - (elapsed_s(scene) or 0.0))
        return failed(f"{spoken(left_s)} to watch, and a last look to take")

    def undo(self, scene: Scene) -> None:
        """Looking left no trace."""

    def _look(self, scene: Scene) -> dict[str, Json]:
        """One reading of all that is watched, journalled whole; the first bad one of it is raised."""
        view = scene.view()
        seen: dict[str, Json] = {}
        bad: list[HostError] = []
        if self.checks:
            level = str(scene.bound.get("level", scene.level))
            found, wrong_ones = proving.ask_each(scene, self.checks, level)
            for name, finding in found.items():
                said = finding.evidence[:SAID_CHARS_MAX]
                seen[name] = {"value": finding.answer.value, "said": said}
            bad += [HostError(one, where="watch") for one in wrong_ones]
        for condition in self.expect:
            sample = read(str(condition.metric), view)
            value = UNKNOWN if sample.value is None else sample.value
            said = sample.note[:SAID_CHARS_MAX]
            seen[sample.metric] = {"value": value, "unit": sample.unit, "said": said}
            wrong = _wrong(condition, sample)
            bad += [wrong] if wrong else []
        at = iso(scene.host.clock.now())
        scene.note("sample.read", {"name": at, "good": not bad, "values": seen})
        if bad:
            raise bad[0]
        return {name: one["value"] for name, one in seen.items() if isinstance(one, dict)}


def _wrong(condition: Condition, sample: Sample) -> HostError | None:
    """Why a sample is bad; None for a good one."""
    if sample.value is None:
        return HostError(f"{sample.metric} is unknown: {sample.note}", where="watch",
                         hint="what cannot be seen is not watched")  # fmt: skip
    if not _holds(condition, sample.value):
        return HostError(f"{sample.metric} is {sample.value:g} {sample.unit}", where="watch")
    return None


def _holds(limits: Condition, value: float) -> bool:
    return (
        (limits.above is None or value > limits.above)
        and (limits.below is None or value < limits.below)
        and (limits.at_least is None or value >= limits.at_least)
        and (limits.at_most is None or value <= limits.at_most)
        and (limits.equals is None or value == limits.equals)
    )
