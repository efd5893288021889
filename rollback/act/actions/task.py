"""Step `task`: people get something to do, with what was salvaged; the run waits until it is done.

Hides: nothing.
Never: takes silence for done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import model_validator

from rollback.act import repairing
from rollback.act.moment import mark, marked
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.level import settles
from rollback.model.quantity import counted
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Question, Scene


@register("action", "task")
class TaskStep(Step):
    """A declared follow-up by its id (`task`), or `says` what is to be done.

    `wait` until somebody answers yes or done. `salvage: only` asks only when a rebuild of this run
    left something out.
    """

    alters: ClassVar[Alters] = "running"
    task: Id | None = None
    says: Text | None = None
    wait: bool = True
    salvage_only: bool = False

    @model_validator(mode="after")
    def _one(self) -> TaskStep:
        if (self.task is None) == (self.says is None):
            raise ValueError("write one of: task, says")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What is to be done, and by whom."""
        tasks = scene.system.follow_ups.tasks
        declared = tasks.get(self.task) if self.task else None
        return {"title": declared.title if declared else str(self.says),
                "owner": declared.owner if declared else scene.system.people.owner,
                "item": self.id or f"task-{scene.step}"}  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The task, and whether the run waits for it."""
        only = ", if anything could not be rebuilt" if self.salvage_only else ""
        waits = (
            f" and wait for: rollback answer RUN {scene.bound['item']} done" if self.wait else ""
        )
        return (f"open the task {scene.bound['title']!r} for {scene.bound['owner']}{waits}{only}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json] | Question:
        """The task is opened, and done where the run waits for it."""
        from rollback.act.scene import Question as Asked

        salvage = repairing.salvage_of(scene)
        if self.salvage_only and not salvage:
            return {"because": "everything could be rebuilt: there is nothing to do"}
        title, item = str(scene.bound["title"]), str(scene.bound["item"])
        scene.note("task.opened", {
            "name": item, "title": title, "owner": str(scene.bound["owner"]),
            "because": f"step {scene.step} of run {scene.run}", "salvage": list[Json](salvage),
        })  # fmt: skip
        if not self.wait:
            mark(scene)
            return {"opened": title}
        said = scene.heard(item)
        if settles(said):
            return {"done": title, "said": said}
        found = f" (with {counted(len(salvage), 'file')}: {', '.join(salvage)})" if salvage else ""
        return Asked(f"{title}{found}; done: rollback answer {scene.run} {item} done", item)

    def probe(self, scene: Scene) -> Finding:
        """Has somebody said that it is done? One that nobody waits for may be opened again: it is one."""
        item = str(scene.bound["item"])
        if not self.wait and marked(scene):
            return passed(f"opened: {scene.bound['title']}")
        if settles(scene.heard(item)):
            return passed(f"{scene.bound['title']}: {scene.heard(item)}")
        return failed(f"nobody has said that it is done: {scene.bound['title']}")

    def undo(self, scene: Scene) -> None:
        """What people did stays."""
