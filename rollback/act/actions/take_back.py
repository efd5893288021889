"""Taking back one step of an earlier run: what `rollback undo` plans, step by step.

Hides: nothing.
Never: written in a declaration by hand; it carries the whole step it takes back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rollback.act import before
from rollback.act.moment import mark, marked, unmark
from rollback.act.scene import Action, Scene, Target, Traced, Trailing, Undoable
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.registry import read_item, register
from rollback.model.step import Alters, Step


@register("action", "take-back")
class TakeBack(Step):
    """The step `step` of run `run`, as planned then, is taken back; `whole` when it had ended."""

    alters: ClassVar[Alters] = "stored"

    run: str
    step: dict[str, Any]
    target: dict[str, str]
    stamp: dict[str, str]
    safety: str = ""
    component: str = ""
    whole: bool = True

    @property
    def harmless(self) -> bool:
        """As the step that it takes back."""
        found = self._action()
        return isinstance(found, Step) and found.harmless

    @property
    def again(self) -> bool:
        """As the step that it takes back."""
        found = self._action()
        return isinstance(found, Step) and found.again

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Whether anything is left to take back: asked of the present, not of what it went back to.

        Raises: PlanError for a step that has no way back and may have done something.
        """
        action = self._action()
        if not isinstance(action, Traced):
            raise PlanError(
                f"step {self.step['index']} {self.step['id']} of run {self.run} has no way back"
            )
        finding = action.undone(self._then(scene))
        # a step that did not end may have done half of it, which may be no whole thing to see
        done = finding.answer is Answer.PASS and (self.whole or self.harmless)
        if not done and isinstance(action, Step) and not (action.reversible or action.harmless):
            files = f"rollback checkpoint restore {self.safety[:12]}" if self.safety else ""
            raise PlanError(
                f"step {self.step['index']} {self.step['id']} of run {self.run} cannot be taken back: it "
                "declares no undo",
                hint=f"take back by hand what it did; files alone go back with: {files}" if files
                else "take back by hand what it did",
            )  # fmt: skip
        return {"changes": int(not done), "found": finding.evidence}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What would be taken back, what is known of it, and what stays all the same."""
        what = f"take back step {self.step['index']} {self.step['id']} of run {self.run}"
        found, stays = str(scene.bound.get("found") or ""), self._stays(scene)
        return (what, *(line for line in (stays or found,) if line))

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components that the step had changed."""
        return tuple(self.step["touches"])

    def apply(self, scene: Scene) -> dict[str, Json]:
        """What the step did is as it was before that run."""
        action = self._action()
        assert isinstance(action, Undoable)
        unmark(scene)
        action.undo(self._then(scene))
        mark(scene)
        stays = self._stays(scene)
        return {
            "taken_back": f"{self.run}/{self.step['index']}",
            **({"said": stays} if stays else {}),
        }

    def probe(self, scene: Scene) -> Finding:
        """PASS when it came to its end. Else again, unless nobody can tell what that would do."""
        if marked(scene):
            return passed("it was taken back, whole")
        finding = self._asked(scene)
        if finding.answer is Answer.UNKNOWN:
            return finding
        return failed(f"taking it back did not come to its end: {finding.evidence}")

    def undo(self, scene: Scene) -> None:
        """What stood before it was taken back stands again: from the checkpoint, or by doing it again."""
        for name in self._by_checkpoint():
            before.put_back(scene, name)
        if self._by_checkpoint():
            return
        finding = self.undone(scene)
        if finding.answer is Answer.UNKNOWN:  # doing it again may do it twice
            raise HostError(f"nobody knows whether it was taken back: {finding.evidence}")
        if finding.answer is Answer.FAIL:
            self._action().apply(self._then(scene))

    def undone(self, scene: Scene) -> Finding:
        """Is everything as it was before it was taken back?"""
        if self._by_checkpoint():
            return before.stands(scene, self._by_checkpoint())
        finding = self._asked(scene)
        if finding.answer is Answer.UNKNOWN:
            return finding
        turned = passed if finding.answer is Answer.FAIL else failed
        return turned(f"of the step itself: {finding.evidence}")

    def _by_checkpoint(self) -> tuple[str, ...]:
        """The components that the checkpoint of just before holds as they were.

        Of git, head and index have to move too; what is exempt comes before there is a checkpoint.
        """
        if self.harmless or self.step["kind"] == "git":
            return ()
        return tuple(self.step["touches"])

    def _asked(self, scene: Scene) -> Finding:
        action = self._action()
        assert isinstance(action, Traced)
        return action.undone(self._then(scene))

    def _stays(self, scene: Scene) -> str:
        """What the step leaves behind all the same, for people; "" where nothing."""
        action = self._action()
        return action.remains(self._then(scene)) if isinstance(action, Trailing) else ""

    def _action(self) -> Action:
        made = read_item("action", {self.step["kind"]: self.step["parameters"]})
        assert isinstance(made, Action)
        return made

    def _then(self, scene: Scene) -> Scene:
        return Scene(
            system=scene.system, host=scene.host, state=scene.state, level=scene.level, run=self.run,
            step=str(self.step["index"]), target=Target(**self.target), stamp=self.stamp,
            component=self.component, environment=self.step["environment"],
            bound=self.step["bound"], safety=self.safety, note=scene.note,
        )  # fmt: skip
