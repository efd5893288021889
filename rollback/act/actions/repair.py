"""Step `repair`: one attempt to make a component good again, which counts only if two sources say so.

Attempts stand in a ladder: each is the `on_fail: {then: …}` of the one before.

Hides: how the four ways differ.
Never: ends well over an item that neither the checkpoint nor the log vouches for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollback.act import before, repairing
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Answer, Finding, Json, failed
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene

_SAYS = {
    "program": "its own program",
    "checkpoint": "the checkpoint",
    "log": "the checkpoint and what the transaction log says since",
    "trail": "the transaction log alone, from its beginning",
}


@register("action", "repair")
class RepairStep(Step):
    """`component` `by` its program, the checkpoint, the log laid over it, or the log alone (trail)."""

    alters: ClassVar[Alters] = "stored"
    component: Id
    by: repairing.By

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The component, and the checkpoint it is compared with."""
        name = repairing.component_of(scene, self.component)
        one, base = scene.system.components[name], repairing.base_of(scene)
        repairing.may_be_shown(scene, name)
        if self.by == "program" and one.repair is None:
            raise PlanError(f"component {name} declares no program that repairs it",
                            hint="declare repair: [program, argument]")  # fmt: skip
        if self.by in ("log", "trail") and one.transaction_log is None:
            raise PlanError(f"component {name} declares no transaction log",
                            hint="declare transaction_log: {path: …}")  # fmt: skip
        if self.by in ("checkpoint", "log") and not base:
            raise PlanError("this run has no checkpoint", hint="name one with --to checkpoint:ID")
        return {"component": name, "base": base}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """How, and what has to hold afterwards."""
        return (f"repair {scene.bound['component']} by {_SAYS[self.by]}; it counts when every item "
                "is vouched for",)  # fmt: skip

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component."""
        return (repairing.component_of(scene, self.component),)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The component is good again, and shown to be. Raises: HostError when it is not."""
        name, base = str(scene.bound["component"]), str(scene.bound["base"])
        told: dict[str, Json] = {"component": name, "by": self.by}
        if self.by == "program":
            told |= repairing.repair_by_program(scene, name, self.within)
        elif self.by == "checkpoint":
            told["changed"] = repairing.put_back(scene, name, base, repairing.step_name(scene))
        else:
            found = repairing.rebuilt(scene, name, base if self.by == "log" else "")
            told |= {"changed": len(found.changes), "transactions": found.log.transactions,
                     "left_out": len(found.left_out), "log_sha256": found.log.sha256}  # fmt: skip
        repairing.hold(scene, name)
        finding = repairing.sound(scene, name)
        repairing.keep_attempt(scene, self.by, finding)
        if finding.answer is not Answer.PASS:
            raise HostError(f"repaired by {_SAYS[self.by]}, it is not good: {finding.evidence}",
                            where=name)  # fmt: skip
        repairing.mark_good(scene)
        salvage: list[Json] = [*repairing.salvage_of(scene)]
        return {**told, **finding.details, "says": finding.evidence, "salvage": salvage}

    def probe(self, scene: Scene) -> Finding:
        """Was this attempt shown to be good, and is it still?"""
        if not repairing.was_good(scene):
            return failed("this attempt was not shown to be good; doing it again does no harm")
        return repairing.sound(scene, str(scene.bound["component"]))

    def undo(self, scene: Scene) -> None:
        """The component is as in the safety checkpoint of this run."""
        before.put_back(scene, str(scene.bound["component"]))

    def undone(self, scene: Scene) -> Finding:
        """Is the component as before the run?"""
        return before.stands(scene, (str(scene.bound["component"]),))
