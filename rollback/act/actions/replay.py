"""Step `replay`: a component is rebuilt from its transaction log; what is in no state is kept.

Hides: nothing.
Never: applies what was not committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from rollback.act import before, repairing
from rollback.host.below import why
from rollback.model.errors import HostError, PlanError, StoreError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene


@register("action", "replay")
class ReplayStep(Step):
    """`component` by name, or `chosen`. `base`: the log is laid over the `target`, or over `nothing`."""

    alters: ClassVar[Alters] = "stored"
    component: Id
    base: Literal["target", "nothing"] = "target"

    def bind(self, scene: Scene) -> dict[str, Json]:
        """What the log would change now, and what it leaves out."""
        from rollback.keep.rebuild import declared_log

        name = repairing.component_of(scene, self.component)
        path = declared_log(scene.system, name).path
        base = repairing.base_of(scene) if self.base == "target" else ""
        if self.base == "target" and not base:
            raise PlanError("this run has no checkpoint to lay the log over",
                            hint="name one with --to checkpoint:ID, or write base: nothing")  # fmt: skip
        bound: dict[str, Json] = {"component": name, "base": base, "log": path}
        try:
            found = repairing.rebuilt(scene, name, base, dry_run=True)
        except (HostError, StoreError, OSError) as error:
            return {**bound, "changes": 1, "left_out": 0, "lines": [],
                    "because": f"the log cannot be replayed now: {why(error)}"}  # fmt: skip
        return {
            **bound, "changes": len(found.changes), "left_out": len(found.left_out),
            "transactions": found.log.transactions, "log_sha256": found.log.sha256,
            "lines": [str(one) for one in found.changes.changes[: repairing.SHOWN_MAX]],
        }  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What would change, and what the log cannot say."""
        bound = scene.bound
        origin = f"checkpoint {str(bound['base'])[:12]}" if bound["base"] else "nothing"
        if "because" in bound:
            return (str(bound["because"]),)
        lines = bound["lines"]
        assert isinstance(lines, list)
        told = [f"{bound['component']} from {origin} and {bound['transactions']} transactions of "
                f"{bound['log']}: {bound['changes']} items differ", *map(str, lines)]  # fmt: skip
        if bound["left_out"]:
            told.append(
                f"! {bound['left_out']} parts of the log are in no state and are kept aside"
            )
        return tuple(told)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component."""
        return (repairing.component_of(scene, self.component),)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The component is what the log leaves."""
        bound = scene.bound
        found = repairing.rebuilt(scene, str(bound["component"]), str(bound["base"]))
        return {
            "component": str(bound["component"]), "changed": len(found.changes),
            "transactions": found.log.transactions, "log_sha256": found.log.sha256,
            "left_out": len(found.left_out), "salvage": list[Json](repairing.salvage_of(scene)),
        }  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """Is there anything left that differs from what the log leaves?"""
        bound = scene.bound
        name = str(bound["component"])
        found = repairing.rebuilt(scene, name, str(bound["base"]), dry_run=True)
        if found.changes:
            said = f"{counted(len(found.changes), 'item')} of {name} not as the log leaves them"
            return failed(said)
        if scene.state.tree.stat(f"intents/{repairing.step_name(scene)}.json") is not None:
            return failed(f"{name} is as the log leaves it, but that did not come to its end")
        repairing.keep_salvage(scene, found.left_out)
        return passed(f"{name} is as its log leaves it")

    def undo(self, scene: Scene) -> None:
        """The component is as in the safety checkpoint of this run."""
        before.put_back(scene, str(scene.bound["component"]))

    def undone(self, scene: Scene) -> Finding:
        """Is the component as before the run?"""
        return before.stands(scene, (str(scene.bound["component"]),))
