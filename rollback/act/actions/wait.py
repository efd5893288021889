"""Step `wait`: some time passes, or a time of day comes.

Hides: time zones of windows: they are UTC.
Never: holds the run while it waits for long.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from rollback.act.moment import SHORT_S, begin, elapsed_s
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import register, spelt
from rollback.model.step import Alters, Step

if TYPE_CHECKING:
    from rollback.act.scene import Later, Scene

_Hour = "([01][0-9]|2[0-3]):[0-5][0-9]"


@register("action", "wait")
class WaitStep(Step):
    """`for` so long, or `until` the clock stands between two times of day (UTC, may span midnight)."""

    alters: ClassVar[Alters] = "nothing"
    for_: Seconds | None = Field(default=None, alias="for")
    until: Annotated[str | None, spelt(rf"\A{_Hour}-{_Hour}\z", "write times like 22:00-06:00")] = (
        None
    )

    @model_validator(mode="after")
    def _one(self) -> WaitStep:
        if (self.for_ is None) == (self.until is None):
            raise ValueError("write one of: for, until")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Nothing is open."""
        return {}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """How long."""
        if self.for_ is not None:
            return (f"wait {spoken(self.for_)}",)
        left_s = self._to_window_s(scene.host.clock.now())
        return (f"wait until {self.until} UTC ({spoken(left_s)} from now)",)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Later:
        """The time has come, or how long until it will."""
        left_s = self._left_s(scene)
        if left_s > SHORT_S:
            from rollback.act.scene import Later

            return Later(
                f"until {self.until} UTC" if self.until else f"{spoken(self.for_)}", left_s
            )
        scene.host.clock.sleep(left_s)
        return {"waited": f"until {self.until} UTC" if self.until else f"{spoken(self.for_)}"}

    def probe(self, scene: Scene) -> Finding:
        """Has the time come?"""
        if self.until is not None:
            left_s = self._to_window_s(scene.host.clock.now())
        else:
            waited_s = elapsed_s(scene)
            left_s = (self.for_ or 0.0) - (waited_s or 0.0)
        return passed("the time has come") if left_s <= 0 else failed(f"{spoken(left_s)} to wait")

    def undo(self, scene: Scene) -> None:
        """Time does not come back, and need not."""

    def _left_s(self, scene: Scene) -> float:
        if self.until is not None:
            return self._to_window_s(scene.host.clock.now())
        assert self.for_ is not None
        return max(0.0, self.for_ - begin(scene, "wait", self.for_))

    def _to_window_s(self, now: datetime) -> float:
        """Seconds until the window opens; 0 while it is open."""
        assert self.until is not None
        opens, closes = (_minutes(part) for part in self.until.split("-"))
        minute = now.hour * 60 + now.minute
        inside = opens <= minute < closes if opens < closes else minute >= opens or minute < closes
        if inside:
            return 0.0
        start = now.replace(hour=opens // 60, minute=opens % 60, second=0, microsecond=0)
        if start <= now:
            start += timedelta(days=1)
        return (start - now).total_seconds()


def _minutes(written: str) -> int:
    hours, minutes = written.split(":")
    return int(hours) * 60 + int(minutes)
