"""Step `restore`: one component is what the target says, from a checkpoint, a commit or an archive.

Hides: that the sources are written by two roads.
Never: takes back what is only ever added to; changes a path outside of the component.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from rollback.act import before
from rollback.model.errors import PlanError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import kinds, nearest, register
from rollback.model.step import Alters, Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.keep.changes import Changes
    from rollback.keep.git import Repository
    from rollback.keep.git_plan import GitPlan
    from rollback.keep.writer import Limits


@register("action", "restore")
class RestoreStep(Step):
    """`component` by name, or `chosen`; `from` is `target`, a checkpoint, or `git:REF`.

    What is in an archive comes without owners: who owns things here stays.
    """

    alters: ClassVar[Alters] = "stored"
    component: Id
    from_: Text = Field(default="target", alias="from")

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The source, absolute, and what it would change now."""
        name = self._component(scene)
        source, wanted = self._source(scene)
        bound: dict[str, Json] = {"component": name, "source": source}
        if not _writes(scene, name):
            return {**bound, "id": wanted, "changes": 0, "bytes": 0, "append_only": True}
        if source == "git":
            with scene.repository() as repository:
                plan = repository.plan_paths(wanted, self._paths(scene, name), force=True)
            changes = plan.foreseen.under(_base(scene))
            return {**bound, "id": plan.source, "plan": plan.data(), **changes.told()}
        if source == "archive":
            changes = _from_archive(scene, wanted, name, _step(scene), dry_run=True)
            found_id = wanted
        else:
            with scene.checkpoints as kept:
                found = kept.get(wanted)
                found_id = found.id
                changes = kept.restore(found_id, name, step=_step(scene), dry_run=True)
            if name in found.absent and changes:
                label = found.name or found_id[:12]
                told = changes.told()
                notes: Any = told["notes"]
                gone = f"ALL OF {name} GOES AWAY: it was not there when {label} was taken"
                return {**bound, "id": found_id, **told, "notes": [gone, *notes]}
        return {**bound, "id": found_id, **changes.told()}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Counts, then the paths, then what is left as it is."""
        bound: Any = scene.bound
        name = bound["component"]
        if bound.get("append_only"):
            return (f"{name} is only ever added to: nothing of it is taken back",)
        origin = f"{bound['source']} {str(bound['id'])[:12]}"
        if not bound["changes"]:
            return (f"{name} is as in {origin} already: nothing to roll back here",)
        lines = [f"{name} from {origin}: {_counts(bound)}", *bound["lines"]]
        if bound["changes"] > len(bound["lines"]):
            lines.append(f"… and {bound['changes'] - len(bound['lines'])} more")
        return (*lines, *(f"! {note}" for note in bound["notes"]))

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component."""
        name = self._component(scene)
        return (name,) if _writes(scene, name) else ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The component is what the source says."""
        bound = scene.bound
        name = str(bound["component"])
        if bound.get("append_only"):
            return {"changed": 0, "component": name, "because": "it is only ever added to"}
        if bound["source"] == "git":
            with scene.repository() as repository:
                plan = _git_plan(scene, repository)
                return {"component": name, **repository.apply(plan, run=scene.run, step=scene.step)}
        changes = self._put_back(scene, str(bound["id"]), _step(scene), bound["source"])
        return {
            "component": name, "changed": len(changes), "added": len(changes.adds),
            "modified": len(changes.modifies), "removed": len(changes.removes),
            "notes": list(changes.notes[:20]), "kept": list(changes.kept),
        }  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """Is there anything left that differs from the source?"""
        bound = scene.bound
        name = str(bound["component"])
        if bound.get("append_only"):
            return passed(f"{name} is only ever added to: nothing is taken back")
        if bound["source"] == "git":
            with scene.repository() as repository:
                return repository.probe(
                    _git_plan(scene, repository), run=scene.run, step=scene.step
                )
        if bound["source"] == "archive":
            left = _from_archive(scene, str(bound["id"]), name, _step(scene), dry_run=True)
        else:
            with scene.checkpoints as kept:
                left = kept.restore(str(bound["id"]), name, step=_step(scene), dry_run=True)
        if left:
            return failed(
                f"{counted(len(left), 'path')} of {name} not as wanted, first {left.changes[0]}"
            )
        if scene.state.tree.stat(f"intents/{_step(scene)}.json") is not None:
            return failed(f"{name} is as wanted, but putting it back did not come to its end")
        return passed(f"{name} is as in {bound['source']} {str(bound['id'])[:12]}")

    def undo(self, scene: Scene) -> None:
        """The component is as in the safety checkpoint of this run."""
        if not scene.bound.get("append_only"):
            before.put_back(scene, str(scene.bound["component"]))

    def undone(self, scene: Scene) -> Finding:
        """Is the component as before the run? What was gone back to says nothing about that."""
        if scene.bound.get("append_only"):
            return passed(
                f"{scene.bound['component']} is only ever added to: nothing was taken back"
            )
        return before.stands(scene, (str(scene.bound["component"]),))

    # -- inside ----------------------------------------------------------------------------

    def _put_back(self, scene: Scene, identity: str, step: str, source: Json) -> Changes:
        name, limits = str(scene.bound["component"]), _limits(scene)
        if source == "archive":
            return _from_archive(scene, identity, name, step, limits=limits)
        with scene.checkpoints as kept:
            return kept.restore(identity, name, step=step, limits=limits,
                                differs=bool(scene.bound.get("changes")))  # fmt: skip

    def _component(self, scene: Scene) -> str:
        name = scene.component if self.component == "chosen" else self.component
        if not name:
            raise PlanError("no component is chosen", hint="add --component NAME")
        if name not in scene.system.components:
            hint = nearest(name, tuple(scene.system.components))
            raise PlanError(f"there is no component {name}", hint=hint)
        return name

    def _source(self, scene: Scene) -> tuple[str, str]:
        if self.from_.startswith("git:"):
            return "git", self.from_.removeprefix("git:")
        if self.from_ != "target":
            return "checkpoint", self.from_.removeprefix("checkpoint:")
        if scene.target.source not in ("checkpoint", "git", "archive"):
            raise PlanError("this run has no target to restore from",
                            hint="name one with --to checkpoint:ID, git:REF or archive:PATH")  # fmt: skip
        return scene.target.source, scene.target.id

    def _paths(self, scene: Scene, name: str) -> tuple[str, ...]:
        """The component as paths of the repository."""
        component, path = scene.system.components[name], _base(scene)
        base = "" if path == "." else f"{path}/"
        parts = [component.path]
        if component.paths:
            within = "" if component.path == "." else f"{component.path}/"
            parts = [within + path for path in component.paths]
        for part in parts:
            if not part.startswith(base):
                raise PlanError(f"component {name} lies outside of the repository",
                                where=part, hint="restore it from a checkpoint")  # fmt: skip
        return tuple(part.removeprefix(base) for part in parts)


def _base(scene: Scene) -> str:
    """Where the repository lies below the root."""
    assert scene.system.repository is not None, "scene.repository() has opened it"
    return scene.system.repository.path


def _writes(scene: Scene, name: str) -> bool:
    kind = kinds("content").get(str(scene.system.components[name].content))
    return bool(getattr(kind, "writes", True))


def _from_archive(
    scene: Scene, identity: str, name: str, step: str, *, dry_run: bool = False,
    limits: Limits | None = None,
) -> Changes:  # fmt: skip
    from rollback.act import archives  # tar and gzip: a flag needs none

    return archives.put_back(scene, identity, name, step=step, dry_run=dry_run, limits=limits)


def _git_plan(scene: Scene, repository: Repository) -> GitPlan:
    data = scene.bound["plan"]
    assert isinstance(data, dict)
    return repository.planned(data)


def _step(scene: Scene) -> str:
    return f"{scene.run}-{scene.step}"


def _limits(scene: Scene) -> Limits:
    from rollback.keep.writer import Limits as Made

    disk = getattr(scene.system.guardrails, "disk", None)
    if disk is None:
        return Made()
    return Made(factor=disk.factor, reserve_bytes=disk.reserve)


def _counts(bound: Any) -> str:
    what = {"adds": "come back", "modifies": "change",
            "removes": "go" if bound["source"] == "git" else "go to quarantine",
            "attributes": "get another mode or time"}  # fmt: skip
    said = [f"{bound[name]} {word}" for name, word in what.items() if bound[name]]
    return ", ".join([*said, f"{bound['bytes']} bytes"]) if said else "nothing differs"
