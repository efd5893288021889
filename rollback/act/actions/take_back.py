"""Taking back one step of an earlier run: what `rollback undo` plans, step by step.

Hides: nothing.
Never: written in a declaration by hand; it carries the whole step it takes back.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rollback.act.scene import Action, Scene, Target, Undoable
from rollback.model.errors import PlanError
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.registry import read_item, register
from rollback.model.step import Step


@register("action", "take-back")
class TakeBack(Step):
    """The step `step` of run `run`, as planned then, is taken back; `whole` when it had ended."""

    stores_nothing: ClassVar[bool] = False

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

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Whether there is anything to take back."""
        action = self._action()
        if not isinstance(action, Undoable):
            raise PlanError(
                f"step {self.step['index']} {self.step['id']} of run {self.run} has no way back"
            )
        done = action.probe(self._then(scene)).answer
        # a step that did not end may have done half of it, which its probe calls not done
        return {"changes": 0 if done is Answer.FAIL and self.whole else 1}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What would be taken back."""
        return (f"take back step {self.step['index']} {self.step['id']} of run {self.run}",)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components that the step had changed."""
        return tuple(self.step["touches"])

    def apply(self, scene: Scene) -> dict[str, Json]:
        """What the step did is as it was before that run."""
        action = self._action()
        assert isinstance(action, Undoable)
        action.undo(self._then(scene))
        return {"taken_back": f"{self.run}/{self.step['index']}"}

    def probe(self, scene: Scene) -> Finding:
        """PASS when the step's own probe says that it did not happen."""
        finding = self._action().probe(self._then(scene))
        if finding.answer is Answer.UNKNOWN:
            return finding
        turned = passed if finding.answer is Answer.FAIL else failed
        return turned(f"of the step itself: {finding.evidence}")

    def undo(self, scene: Scene) -> None:
        """The step is done again."""
        self._action().apply(self._then(scene))

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
