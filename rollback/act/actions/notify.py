"""Step `notify`: a message is on its way, once, with its fields filled in.

Hides: nothing; the event is the message, and delivering it is another's work.
Never: waits for a channel, or fails because one is down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.keep.journal import Journal
from rollback.model.errors import PlanError
from rollback.model.event import Event
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.lifecycle import fold
from rollback.model.registry import nearest, register
from rollback.model.step import Alters, Id, Step
from rollback.tell.facts import facts, of_run
from rollback.tell.message import moment, queued

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "notify")
class NotifyStep(Step):
    """A declared message goes to its audience, or to another one."""

    alters: ClassVar[Alters] = "nothing"
    message: Id
    audience: Id | None = None

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The message and its audience are declared."""
        notify = scene.system.notify
        if self.message not in notify.messages:
            hint = nearest(self.message, tuple(notify.messages))
            raise PlanError(f"there is no message {self.message}", hint=hint)
        audience = self.audience or notify.messages[self.message].audience
        if audience not in notify.audiences:
            hint = nearest(audience, tuple(notify.audiences))
            raise PlanError(f"there is no audience {audience}", hint=hint)
        return {"audience": audience}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The text as it would be sent."""
        text = str(self._message(scene)["text"])
        return (f"tell {scene.bound['audience']}: {text}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The message is in the journal, once for this step of this run."""
        message = self._message(scene)
        if not self._is_queued(scene):
            scene.note("message.queued", message)
        return {"message": self.message, "audience": scene.bound["audience"], "id": message["id"]}

    def probe(self, scene: Scene) -> Finding:
        """Is it in the journal?"""
        if self._is_queued(scene):
            return passed(f"message {self.message} is on its way")
        return failed(f"message {self.message} is not queued")

    def _message(self, scene: Scene) -> dict[str, Json]:
        now, state = scene.host.clock.now(), scene.state.path
        declared, events = scene.system.notify.messages[self.message], self._events(scene)
        known = facts(scene.system, now=now, state=state, message=declared)
        run = fold(event for event in events if event.run == scene.run).get(scene.run)
        if run is not None:  # while a plan is made there is none yet
            known = of_run(scene.system, run, events, now=now, state=state, message=declared)
        known |= scene.stamp
        here = {
            "level": scene.level, "component": scene.component, "target": scene.target.label,
            "target_at": moment(scene.target.at), "target_id": scene.target.id,
            "environment": scene.environment, "phase": self.phase or "",
        }  # fmt: skip
        return queued(
            scene.system, self.message, known | {name: text for name, text in here.items() if text},
            run=scene.run, step=scene.step, audience=str(scene.bound["audience"]),
        )  # fmt: skip

    def _is_queued(self, scene: Scene) -> bool:
        return any(
            event.kind == "message.queued" and event.run == scene.run
            and event.data.get("step") == scene.step and event.data.get("name") == self.message
            for event in self._events(scene)
        )  # fmt: skip

    def _events(self, scene: Scene) -> list[Event]:
        if scene.state.tree.stat("journal/events.jsonl") is None:
            return []
        with scene.state.tree.sub("journal") as tree:
            return Journal(tree, scene.host).events()
