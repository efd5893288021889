"""Step `set`: a pointer, validity or scale gets a value, and a declared check reads it back.

Hides: where the value stands (see act.pointing).
Never: believes the file or link when the check says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from rollback.act.patch import format_of, holding, tree_of
from rollback.act.pointing import Key, Line, Link, Pointer, Value, pointed
from rollback.model.component import RelativePath
from rollback.model.errors import HostError
from rollback.model.finding import Answer, Finding, Json, failed, passed, same
from rollback.model.quantity import spoken
from rollback.model.registry import Check, register
from rollback.model.step import Alters, Step, Text
from rollback.observe.check import ask, wait_for

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "set")
class SetStep(Step):
    """`key` of `file` gets `value`; `read_back` must answer PASS within the step's time.

    Without `key` the value is the whole `file`, one line. A `link` points at it: a path relative to
    the folder of the link, which is there and lies below the root; it is switched in one rename.
    """

    alters: ClassVar[Alters] = "stored"
    file: RelativePath | None = None
    link: RelativePath | None = None
    key: Text | None = None
    value: Value
    read_back: Check
    format_: Literal["yaml", "json", "env", "text"] | None = Field(default=None, alias="format")

    @model_validator(mode="after")
    def _one(self) -> SetStep:
        if (self.file is None) == (self.link is None):
            raise ValueError("write one of: file, link")
        if self.link is not None:
            if self.key is not None or self.format_ is not None:
                raise ValueError(
                    "a link has no key and no format; leave both out: its value is where it points"
                )
            pointed(self.link, self._text())
        elif self.key is None:
            if self.format_ not in (None, "text"):
                raise ValueError(
                    f"a {self.format_} file holds its values under keys: write key: NAME"
                )
            self._text()
        elif self.format_ == "text":
            raise ValueError("a file of text holds one value and no keys: leave key out")
        return self

    def _text(self) -> str:
        """The value as the text that it must be. Raises: ValueError."""
        if not isinstance(self.value, str):
            raise ValueError(f'this value is a text: write it in quotes, value: "{self.value}"')
        if not self.value or not self.value.isprintable():
            raise ValueError("the value must be one line of text")
        return self.value

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What stood there."""
        with tree_of(scene.system, scene.host) as tree:
            return self._pointer().plan(tree)

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Old and new value, and who confirms it."""
        pointer = self._pointer()
        was = "nothing" if scene.bound["was"] is None else scene.bound["was"]
        what = pointer.path if pointer.name == pointer.path else f"{pointer.path}: {pointer.name}"
        return (
            f"{what} {was} -> {self.value}",
            f"read back by a {self.read_back.kind} check within {spoken(self.within)}",
        )

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component that holds the file or link."""
        return holding(scene.system, self._pointer().path)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The value stands there and the check confirms it."""
        pointer = self._pointer()
        with tree_of(scene.system, scene.host) as tree:
            changed = pointer.make(tree, dict(scene.bound), scene.host)
        finding = wait_for(self.read_back, scene.view(), within_s=max(0.2, self.within - 0.5))
        if finding.answer is not Answer.PASS:
            raise HostError(f"{pointer.name} does not read back: {finding.evidence}",
                            where=pointer.path)  # fmt: skip
        return {"changed": changed, "read_back": finding.evidence}

    def probe(self, scene: Scene) -> Finding:
        """The value stands there and the check says so now."""
        pointer = self._pointer()
        with tree_of(scene.system, scene.host) as tree:
            found = pointer.now(tree)
        if not same(found, self.value):
            return failed(f"{pointer.path} holds {pointer.name}={found}, not {self.value}")
        return ask(self.read_back, scene.view())

    def undo(self, scene: Scene) -> None:
        """What stood there when the plan was made stands there again."""
        with tree_of(scene.system, scene.host) as tree:
            self._pointer().take_back(tree, dict(scene.bound), scene.host)

    def undone(self, scene: Scene) -> Finding:
        """Does what was set stand as it did when the plan was made?"""
        pointer, was = self._pointer(), scene.bound["was"]
        with tree_of(scene.system, scene.host) as tree:
            found = pointer.now(tree)
        if same(found, was):
            return passed(f"{pointer.name} in {pointer.path} is as before the run")
        return failed(f"{pointer.name} in {pointer.path} is not as before the run")

    def _pointer(self) -> Pointer:
        if self.link is not None:
            return Link(self.link, self._text())
        assert self.file is not None, "one of the two is written"
        if self.key is None:
            return Line(self.file, self._text())
        assert self.format_ != "text", "a text has no keys"
        return Key(self.file, self.key, format_of(self.file, self.format_), self.value)
