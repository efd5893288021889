"""Step `prevent`: what made a corruption happen is on record, and the next one is less likely.

For as long as `monitor.tightening` says, scheduled checkpoints are taken at shorter intervals and
more of the store is read again each time. A checkpoint that was put back whole and whose checks
said no, while the same checks said yes to what another attempt made, is revoked: nobody goes back
to it again. The declared practices are proposed to a person.

Hides: which practices belong to a corruption.
Never: revokes a checkpoint because a check could not be asked, or said no to everything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from rollback.act import repairing
from rollback.act.moment import mark, marked
from rollback.host.clock import iso
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.operations import Practice
from rollback.model.quantity import spoken
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene

OCCASION = "corruption"  # what a practice says under `on`
LASTS_S = 7 * 86400.0  # where monitor.tightening does not say


@register("action", "prevent")
class PreventStep(Step):
    """`component` was corrupted; stands behind the steps that repaired it.

    Practices with `on: corruption` are proposed; where none has it, all of them.
    """

    alters: ClassVar[Alters] = "running"
    component: Id

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Which component, what is proposed, and how much more often is looked, for how long."""
        name = repairing.component_of(scene, self.component)
        declared = scene.system.monitor.tightening
        return {
            "component": name, "practices": [one.title for one in _practices(scene)],
            "checkpoints": declared.checkpoints if declared else 1.0,
            "lasts_s": (declared.lasts or LASTS_S) if declared else 0.0,
        }  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What becomes closer, and what is proposed."""
        factor, lasts_s = _tightened(scene)
        lines = [f"keep what made {scene.bound['component']} bad, and propose what prevents it"]
        if factor < 1:
            lines.append(f"scheduled checkpoints at {factor:g} of their interval, and more of the store "
                         f"read again, for {spoken(lasts_s)}")  # fmt: skip
        if repairing.base_of(scene):
            lines.append(f"revoke checkpoint {repairing.base_of(scene)[:12]} if its checks say no to it and "
                         "yes to what another attempt made")  # fmt: skip
        return tuple(lines)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The cause is on record, a known-bad target revoked, and a person has the rest to do."""
        name = str(scene.bound["component"])
        factor, lasts_s = _tightened(scene)
        attempts = repairing.attempts_of(scene)
        good = next((str(one["by"]) for one in attempts if one["good"]), "a person")
        revoked = self._revoked(scene, name)
        until = iso(scene.host.clock.now() + timedelta(seconds=lasts_s))
        practices = scene.bound["practices"]
        assert isinstance(practices, list)
        told: dict[str, Json] = {
            "component": name, "cause": repairing.cause_of(scene), "repaired_by": good,
            "failed": [f"{one['by']}: {one['evidence']}" for one in attempts if not one["good"]],
            "revoked": revoked, "practices": list(practices), "checkpoints": factor, "until": until,
        }  # fmt: skip
        scene.note("prevention.begun", {"name": name, **told})
        proposed = f"; as declared: {', '.join(map(str, practices))}" if practices else ""
        scene.note("task.opened", {
            "name": self.id or f"prevent-{scene.step}", "owner": scene.system.people.owner,
            "title": f"Keep {name} from being corrupted again: more digests, more frequent checkpoints, "
            f"better handling of errors{proposed}", "practices": list(practices),
            "because": f"run {scene.run} found it corrupted: {told['cause']}",
        })  # fmt: skip
        mark(scene)
        return told

    def probe(self, scene: Scene) -> Finding:
        """Is all of it on record?"""
        if marked(scene):
            return passed(f"what made {scene.bound['component']} bad is on record")
        return failed("nothing is on record yet; doing it again does no harm")

    def undo(self, scene: Scene) -> None:
        """What is known stays known."""

    def _revoked(self, scene: Scene, name: str) -> str:
        """The id of the target when it is revoked now, because it was shown to be bad; else ""."""
        base = repairing.base_of(scene)
        attempts = repairing.attempts_of(scene)
        said_no = [one for one in attempts
                   if one["by"] == "checkpoint" and one["answer"] == Answer.FAIL.value]  # fmt: skip
        if not base or not said_no or not any(one["good"] for one in attempts):
            return ""
        from rollback.keep.life import Life

        with scene.checkpoints as kept:
            if not kept.get(base).revoked:
                why = f"put back by run {scene.run}, {said_no[0]['evidence']}"
                why = "".join(c if c.isprintable() else " " for c in why)[:500]
                Life(kept).revoke(base, reason=why, by=f"run {scene.run}")
        scene.note("checkpoint.revoked", {"name": name, "checkpoint": base,
                                          "by": f"run {scene.run}"})  # fmt: skip
        return base


def _practices(scene: Scene) -> tuple[Practice, ...]:
    """The declared practices that are for this, or all where none says so."""
    declared = scene.system.prevention
    return tuple(one for one in declared if one.on == OCCASION) or declared


def _tightened(scene: Scene) -> tuple[float, float]:
    return float(str(scene.bound["checkpoints"])), float(str(scene.bound["lasts_s"]))
