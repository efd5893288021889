"""Step `set`: a pointer, validity or scale gets a value, and a declared check reads it back.

Hides: formats.
Never: believes the file when the check says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from rollback.act.patch import (
    format_of,
    holding,
    make,
    patch_from,
    planned,
    setting,
    take_back,
    tree_of,
    value_in,
)
from rollback.model.component import RelativePath
from rollback.model.errors import HostError
from rollback.model.finding import Answer, Finding, Json, failed
from rollback.model.quantity import spoken
from rollback.model.registry import Check, register
from rollback.model.step import Step, Text
from rollback.observe.check import ask, wait_for

if TYPE_CHECKING:
    from rollback.act.scene import Scene

Value = bool | int | float | str


@register("action", "set")
class SetStep(Step):
    """`key` of `file` gets `value`; `read_back` must answer PASS within the step's time."""

    stores_nothing: ClassVar[bool] = False
    file: RelativePath
    key: Text
    value: Value
    read_back: Check
    format_: Literal["yaml", "json", "env"] | None = Field(default=None, alias="format")

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What stood there."""
        how = format_of(self.file, self.format_)
        with tree_of(scene.system, scene.host) as tree:
            was = value_in(tree, self.file, how, self.key)
            patch = planned(tree, self.file, setting(how, self.key, self.value))
        changes = int(patch.before != patch.after)
        return {"patch": patch.data(), "was": was, "changes": changes, "format": how,
                "lines": list(patch.lines())}  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Old and new value, and who confirms it."""
        was = "nothing" if scene.bound["was"] is None else scene.bound["was"]
        return (
            f"{self.file}: {self.key} {was} -> {self.value}",
            f"read back by a {self.read_back.kind} check within {spoken(self.within)}",
        )

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component that holds the file."""
        return holding(scene.system, self.file)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The file holds the value and the check confirms it."""
        patch = patch_from(_dict(scene.bound["patch"]))
        with tree_of(scene.system, scene.host) as tree:
            changed = make(
                tree, patch, setting(format_of(self.file, self.format_), self.key, self.value)
            )
        finding = wait_for(self.read_back, scene.view(), within_s=max(0.2, self.within - 0.5))
        if finding.answer is not Answer.PASS:
            raise HostError(f"{self.key} does not read back: {finding.evidence}", where=self.file)
        return {"changed": changed, "read_back": finding.evidence}

    def probe(self, scene: Scene) -> Finding:
        """The file holds the value and the check says so now."""
        with tree_of(scene.system, scene.host) as tree:
            found = value_in(tree, self.file, format_of(self.file, self.format_), self.key)
        if found != self.value:
            return failed(f"{self.file} holds {self.key}={found}, not {self.value}")
        return ask(self.read_back, scene.view())

    def undo(self, scene: Scene) -> None:
        """The key holds what it held when the plan was made."""
        patch, was = patch_from(_dict(scene.bound["patch"])), scene.bound["was"]
        old = was if isinstance(was, (bool, int, float, str)) else None
        with tree_of(scene.system, scene.host) as tree:
            take_back(tree, patch, setting(format_of(self.file, self.format_), self.key, old))


def _dict(found: Json) -> dict[str, Json]:
    assert isinstance(found, dict)
    return found
