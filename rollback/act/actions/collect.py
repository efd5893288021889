"""Step `collect`: a declared record is filled; the run waits until nothing required is blank.

Hides: nothing.
Never: takes a part of it for the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Question, Scene


@register("action", "collect")
class CollectStep(Step):
    """A `record` by its id: computed where it can be, and else said with `rollback answer`."""

    alters: ClassVar[Alters] = "nothing"
    record: Id

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What the record is called, and what is required in it."""
        declared = scene.system.records[self.record]
        needed: list[Json] = [name for name, one in declared.fields.items() if one.required]
        return {"title": declared.title, "fields": needed, "by": declared.by}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What is waited for."""
        fields = scene.bound["fields"]
        named = ", ".join(map(str, fields if isinstance(fields, list) else ()))
        return (f"wait until the record {self.record} is filled: {named}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Question:
        """It is whole, or what is said about it next."""
        from rollback.act.scene import Question as Asked

        known = scene.record(self.record)
        if not known.blank:
            return {"record": self.record, "fields": dict(known.values), "said": "it is filled"}
        what = f"{scene.bound['title']}: {', '.join(known.blank)} (rollback answer {scene.run} "
        return Asked(f"{what}{self.record}.FIELD TEXT)", self.record, record=self.record)

    def probe(self, scene: Scene) -> Finding:
        """Is nothing blank?"""
        known = scene.record(self.record)
        return failed(f"blank: {', '.join(known.blank)}") if known.blank else passed("it is filled")

    def undo(self, scene: Scene) -> None:
        """What people said stays."""
