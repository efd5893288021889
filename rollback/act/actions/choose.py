"""Step `choose`: a declared decision point is put to a person; the run waits for one of its options.

Hides: nothing.
Never: takes an option by itself, or carries out what it calls for: that is said, and typed by people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.policy import Option
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Question, Scene
    from rollback.model.operations import Task


@register("action", "choose")
class ChooseStep(Step):
    """A decision `point` by its id; an option that wants a record is chosen when that is filled too."""

    alters: ClassVar[Alters] = "nothing"
    point: Id

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What is asked of whom, and what may be said."""
        declared = scene.system.decision.points[self.point]
        return {"title": declared.title, "asks": declared.asks, "item": self.id or self.point,
                "options": {one.id: one.title for one in declared.options}}  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The question and its options."""
        named = ", ".join(f"{one.id} ({one.title})" for one in self._options(scene))
        return (f"ask {scene.bound['asks']}: {scene.bound['title']}: {named}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Question:
        """What was chosen, with what it calls for; or the question."""
        from rollback.act.scene import Question as Asked

        item, chosen = str(scene.bound["item"]), self._chosen(scene)
        if chosen is None:
            known = tuple(one.id for one in self._options(scene))
            named = f"{scene.bound['title']} ({', '.join(known)})"
            what = f"{named}: rollback answer {scene.run} {item} CHOICE"
            return Asked(what, item, choices=known, by=str(scene.bound["asks"]))
        blank = scene.record(chosen.record).blank if chosen.record else ()
        if chosen.record and blank:
            what = f"{chosen.title}: {', '.join(blank)} (rollback answer {scene.run} "
            return Asked(f"{what}{chosen.record}.FIELD TEXT)", chosen.record, record=chosen.record)
        calls = {name: value for name, value in chosen.respond.model_dump(mode="json").items()
                 if value is not None}  # fmt: skip
        if chosen.respond.task is not None:
            task = scene.system.follow_ups.tasks[chosen.respond.task]
            why = _not_now(scene, task)
            if why:
                return {"chosen": chosen.id, "said": chosen.title, "calls_for": {}, "tasks": [],
                        "because": why}  # fmt: skip
            scene.note("task.opened", {
                "name": chosen.respond.task, "title": task.title, "owner": task.owner,
                "because": f"{chosen.title} was chosen in step {scene.step} of run {scene.run}",
            })  # fmt: skip
        tasks: list[Json] = [chosen.respond.task] if chosen.respond.task is not None else []
        return {"chosen": chosen.id, "said": chosen.title, "calls_for": calls, "tasks": tasks}

    def probe(self, scene: Scene) -> Finding:
        """Was one of them chosen, and its record filled?"""
        chosen = self._chosen(scene)
        if chosen is None or (chosen.record and scene.record(chosen.record).blank):
            return failed(f"nobody has chosen: {scene.bound['title']}")
        return passed(f"{chosen.id}: {chosen.title}")

    def undo(self, scene: Scene) -> None:
        """What people chose stays."""

    def _options(self, scene: Scene) -> tuple[Option, ...]:
        return scene.system.decision.points[self.point].options

    def _chosen(self, scene: Scene) -> Option | None:
        said = scene.heard(str(scene.bound["item"])).strip()
        return next((one for one in self._options(scene) if one.id == said), None)


def _not_now(scene: Scene, task: Task) -> str:
    """Why the condition of a task does not hold, or is not known to; "" where it does."""
    if task.when is None:
        return ""
    from rollback.judge.condition import Known, evaluate
    from rollback.observe.metric import read_all

    answer, because = evaluate(task.when, Known(read_all(scene.view(), task.when.metrics)))
    return "" if answer is Answer.PASS else f"{task.title} is not called for: {because}"
