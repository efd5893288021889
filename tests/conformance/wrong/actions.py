"""Actions that are wrong, each in one way."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, ClassVar

from rollback.conformance import Example
from rollback.conformance.world import World
from rollback.model.finding import Finding, failed, passed
from rollback.model.registry import Kind, register
from rollback.model.step import Alters, Step
from tests.conformance.wrong import wrong


class Stamp(Step):
    """A word is written into a file of a component; the word that was there comes back."""

    alters: ClassVar[Alters] = "stored"

    file: str
    word: str

    def bind(self, scene: Any) -> dict[str, Any]:
        return {"was": self.read(scene)}

    def describe(self, scene: Any) -> tuple[str, ...]:
        return (f"{self.file}: {scene.bound['was']} -> {self.word}",)

    def touches(self, scene: Any) -> tuple[str, ...]:
        return ("config",)

    def apply(self, scene: Any) -> dict[str, Any]:
        if self.read(scene) != self.word:
            self.write(scene, self.word)
        return {"word": self.word}

    def probe(self, scene: Any) -> Finding:
        found = self.read(scene)
        return (passed if found == self.word else failed)(f"{self.file} says {found}")

    def undo(self, scene: Any) -> None:
        self.write(scene, str(scene.bound["was"]))

    def undone(self, scene: Any) -> Finding:
        found = self.read(scene)
        return (passed if found == scene.bound["was"] else failed)(f"{self.file} says {found}")

    def read(self, scene: Any) -> str:
        with scene.host.tree(str(scene.system.root_path)) as tree, tree.reading(self.file) as file:
            return os.pread(file.fd, 1000, 0).decode()

    def write(self, scene: Any, word: str) -> None:
        with scene.host.tree(str(scene.system.root_path)) as tree:
            tree.sweep(os.path.dirname(self.file))
            tree.write(self.file, word.encode(), mode=0o644)


@register("action", "stamp")
class RightAction(Stamp):
    """The right one."""


@wrong("probe_tells_before_from_after", "before it is done, probe says pass")
@register("action", "always-done")
class AlwaysDone(Stamp):
    """Says that it happened before it did."""

    def probe(self, scene: Any) -> Finding:
        return passed("surely")


@wrong("probe_tells_before_from_after", "applied a second time it changes files (config/word)")
@register("action", "adds-each-time")
class AddsEachTime(Stamp):
    """Applied twice it is there twice."""

    def apply(self, scene: Any) -> dict[str, Any]:
        self.write(scene, self.read(scene) + self.word)
        return {}

    def probe(self, scene: Any) -> Finding:
        return (passed if self.word in self.read(scene) else failed)("the word")


@wrong("undo_brings_the_bytes_back", "after undo this is not as it was: files (config/word)")
@register("action", "half-undone")
class HalfUndone(Stamp):
    """Takes back something else than it did."""

    def undo(self, scene: Any) -> None:
        self.write(scene, "nothing")


@wrong("what_is_left_to_take_back", "and undone says pass")
@register("action", "forgets")
class Forgets(Stamp):
    """Says that nothing is left to take back while something is."""

    def undone(self, scene: Any) -> Finding:
        return passed("it was nothing")


@wrong("bind_and_describe_change_nothing", "a dry run has to be dry")
@register("action", "not-dry")
class NotDry(Stamp):
    """Changes something while the plan is made."""

    def describe(self, scene: Any) -> tuple[str, ...]:
        (scene.system.root_path / "config" / "planned").write_text("x")
        return ("writes",)


@wrong("it_names_every_component_that_it_changes", "it changes other, which touches does not name")
@register("action", "reaches-over")
class ReachesOver(Stamp):
    """Changes a component that it does not name."""

    def apply(self, scene: Any) -> dict[str, Any]:
        self.write(scene, self.word)
        with scene.host.tree(str(scene.system.root_path)) as tree:
            tree.write("other/text", b"changed", mode=0o644)
        return {}


@wrong("it_names_every_component_that_it_changes", "alters says nothing, and it changes files")
@register("action", "harmless")
class Harmless(Stamp):
    """Says that it alters nothing."""

    alters: ClassVar[Alters] = "nothing"


@wrong("killed_anywhere", "without rollback.host: no crash in the middle of it can be tried")
@register("action", "around")
class Around(Stamp):
    """Goes around the host."""

    def write(self, scene: Any, word: str) -> None:
        (scene.system.root_path / self.file).write_text(word)


@wrong("killed_anywhere", "probe says it happened")
@register("action", "in-two-steps")
class InTwoSteps(Stamp):
    """Says done after the first of two writes."""

    def apply(self, scene: Any) -> dict[str, Any]:
        self.write(scene, self.word)
        for part in range(8):
            with scene.host.tree(str(scene.system.root_path)) as tree:
                tree.write(f"config/part-{part}", b"x", mode=0o644)
        return {}

    def undo(self, scene: Any) -> None:
        super().undo(scene)
        for path in (scene.system.root_path / "config").glob("part-*"):
            path.unlink()


@wrong("what_it_says_can_be_kept", "does not come back from JSON as it was")
@register("action", "not-json")
class NotJson(Stamp):
    """Binds what no journal can hold."""

    def bind(self, scene: Any) -> dict[str, Any]:
        return {"was": self.read(scene), "when": (1, 2)}


def _words(world: World) -> None:
    for name, text in (("config/word", "before"), ("other/text", "text")):
        (world.root / name).parent.mkdir()
        (world.root / name).write_text(text)


@wrong("what_rests_on_a_person_asks_and_waits", "nobody has answered, and it returns {'word'")
@register("action", "does-not-wait")
class DoesNotWait(Stamp):
    """Rests on a person, as its example says, and goes on before anybody said a word."""


EXAMPLES = {
    "action": Example(
        {"file": "config/word", "word": "after"}, prepare=_words, sections={"components": {
            "config": {"path": "config", "content": "files"},
            "other": {"path": "other", "content": "files"}}}),
}  # fmt: skip


def example(kind: type[Kind]) -> Example:
    """What each is tried on."""
    return replace(
        EXAMPLES[kind.family], answers=(lambda _world: None) if kind is DoesNotWait else None
    )
