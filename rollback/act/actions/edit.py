"""Step `edit`: one value of a file, or some of its lines, are changed; every other byte stays.

Hides: formats.
Never: rewrites a file whose other bytes it would have to guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from rollback.act.patch import (
    Change,
    digest,
    format_of,
    holding,
    make,
    patch_from,
    planned,
    read,
    setting,
    take_back,
    tree_of,
)
from rollback.declare.edit import drop_lines
from rollback.model.component import RelativePath
from rollback.model.errors import PlanError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import register
from rollback.model.step import Alters, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "edit")
class EditStep(Step):
    """`key` gets `value`, or is taken out with `remove: true`; or lines matching `drop_lines` go.

    `format` is told by the name of the file where it is not written.
    """

    alters: ClassVar[Alters] = "stored"
    file: RelativePath
    key: Text | None = None
    value: bool | int | float | str | None = None
    remove: bool = False
    drop_lines: Text | None = None
    format_: Literal["yaml", "json", "env"] | None = Field(default=None, alias="format")

    @model_validator(mode="after")
    def _one(self) -> EditStep:
        if (self.key is None) == (self.drop_lines is None):
            raise ValueError("write one of: key, drop_lines")
        if self.key is not None and (self.value is None) != self.remove:
            raise ValueError("a key takes one of: value, remove: true")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The span that changes, and what stood there."""
        with tree_of(scene.system, scene.host) as tree:
            if read(tree, self.file) is None and self.drop_lines is not None:
                raise PlanError("there is no such file", where=self.file)
            patch = planned(tree, self.file, self._change())
        changes = int(patch.before != patch.after)
        return {"patch": patch.data(), "changes": changes, "bytes": len(patch.new),
                "lines": list(patch.lines())}  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What changes in which file."""
        patch = patch_from(_dict(scene.bound["patch"]))
        if patch.before == patch.after:
            return (f"{self.file} is already so: nothing to change",)
        if self.drop_lines is not None:
            lines = patch.old.count(b"\n") - patch.new.count(b"\n")
            return (f"{self.file}: {lines} lines matching {self.drop_lines!r} are taken out",)
        what = "is taken out" if self.remove else f"becomes {self.value}"
        return (f"{self.file}: {self.key} {what}",)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component that holds the file."""
        return holding(scene.system, self.file)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The file says so, durably."""
        with tree_of(scene.system, scene.host) as tree:
            changed = make(tree, patch_from(_dict(scene.bound["patch"])), self._change())
            return {"changed": changed, "file": self.file, "sha256": digest(read(tree, self.file))}

    def probe(self, scene: Scene) -> Finding:
        """The file is as the edit would leave it."""
        with tree_of(scene.system, scene.host) as tree:
            found = read(tree, self.file)
        if found is not None and self._change()(found) == found:
            return passed(f"{self.file} is as the edit leaves it")
        return failed(f"{self.file} is not edited")

    def undo(self, scene: Scene) -> None:
        """The span holds its old bytes."""
        patch = patch_from(_dict(scene.bound["patch"]))
        with tree_of(scene.system, scene.host) as tree:
            take_back(tree, patch, self._reverse(patch.old, patch.new))

    def undone(self, scene: Scene) -> Finding:
        """Are these the bytes of before?"""
        patch = patch_from(_dict(scene.bound["patch"]))
        with tree_of(scene.system, scene.host) as tree:
            now = digest(read(tree, self.file))
        if patch.before == patch.after:
            return passed(f"{self.file} was so already")
        if now == patch.before:
            return passed(f"{self.file} is as before the run")
        return failed(f"{self.file} is not as before the run")

    def _change(self) -> Change:
        if self.drop_lines is not None:
            pattern = self.drop_lines
            return lambda data: drop_lines(data, pattern)
        assert self.key is not None
        how = format_of(self.file, self.format_)
        return setting(how, self.key, None if self.remove else self.value)

    def _reverse(self, old: bytes, new: bytes) -> Change:
        """For a file that somebody else changed since: the span is put back where it stands once."""

        def back(data: bytes) -> bytes:
            if new and data.count(new) == 1:
                return data.replace(new, old)
            raise PlanError(
                "the file was changed since by somebody else, and what the edit did cannot be told "
                "apart", where=self.file, hint="edit it by hand, or restore its component",
            )  # fmt: skip

        return back


def _dict(found: Json) -> dict[str, Json]:
    assert isinstance(found, dict)
    return found
