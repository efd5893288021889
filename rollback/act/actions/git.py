"""Step `git`: one thing done to the managed repository, in process, without running git.

Hides: which plan of the repository does it.
Never: moves a protected branch, loses a commit, or overwrites what somebody has not committed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from rollback.act.moment import mark, marked
from rollback.act.patch import holding
from rollback.model.errors import NeedsOperator, PlanError, Refused
from rollback.model.event import canonical
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import Declared, register
from rollback.model.step import Alters, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.keep.git import Repository
    from rollback.keep.git_plan import GitPlan

KINDS = ("adds", "modifies", "removes", "attributes")
VERBS = ("branch", "tag", "revert", "reset", "commit", "push")


class Revert(Declared):
    """Which commits are taken back: `matching` their subjects (after `since`), or by id."""

    matching: Text | None = None
    commits: tuple[Text, ...] = ()
    since: Text | None = None
    single: bool = False

    @model_validator(mode="after")
    def _one(self) -> Revert:
        if (self.matching is None) == (not self.commits):
            raise ValueError("write one of: matching, commits")
        return self


class Commit(Declared):
    """Only these paths, as they are on disk."""

    paths: tuple[Text, ...]
    message: Text


@register("action", "git")
class GitStep(Step):
    """One of: branch, tag, revert, reset, commit, push. `{date}`, `{time}`, `{run}` are filled in.

    `reset: target` goes to the run's target. `force` saves local changes aside, or pushes over.
    """

    alters: ClassVar[Alters] = "stored"
    branch: Text | None = None
    switch: bool = True
    tag: Text | None = None
    revert: Revert | None = None
    reset: Text | None = None
    commit: Commit | None = None
    push: Text | None = None
    force: bool = False

    @model_validator(mode="after")
    def _one(self) -> GitStep:
        if sum(getattr(self, verb) is not None for verb in VERBS) != 1:
            raise ValueError(f"write one of: {', '.join(VERBS)}")
        return self

    @property
    def verb(self) -> str:
        """What is done."""
        return next(verb for verb in VERBS if getattr(self, verb) is not None)

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The names, and for revert and reset the commits, files and losses."""
        with scene.repository() as repository:
            if self.verb in ("revert", "reset"):
                return self._bind_move(scene, repository)
            branch, head = repository.head()
            name = scene.named(str(getattr(self, self.verb))) if self.commit is None else ""
            if self.branch is not None:
                return {"name": name, "from": branch, "head": head}
            if self.push is not None and repository.is_protected(name):
                raise Refused("protected-refs", f"{name} is protected and is never pushed")
            return {"name": name}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What happens to branches, commits and files."""
        bound = scene.bound
        if self.verb in ("revert", "reset"):
            return _told(bound, self.verb)
        if self.commit is not None:
            return (f"commit {', '.join(self.commit.paths)}: {scene.named(self.commit.message)}",)
        if self.branch is not None:
            then = " and switch to it" if self.switch else ""
            return (f"make branch {bound['name']} at {str(bound['head'])[:12]}{then}",)
        if self.tag is not None:
            return (f"make tag {bound['name']} at the head",)
        return (f"push {bound['name']}{', over what is there' if self.force else ''}",)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components that hold a file that changes."""
        files = scene.bound.get("files")
        if not isinstance(files, list) or scene.system.repository is None:
            return ()
        base = scene.system.repository.path
        full = [str(file) if base == "." else f"{base}/{file}" for file in files]
        found = [name for file in full for name in holding(scene.system, file)]
        return tuple(dict.fromkeys(found))

    def apply(self, scene: Scene) -> dict[str, Json]:
        """It is done; nothing is done twice."""
        with scene.repository() as repository:
            done = self._apply(scene, repository)
        if self.verb in ("push", "commit"):
            mark(scene)
        return done

    def probe(self, scene: Scene) -> Finding:
        """Do branches, commits and files stand as planned?"""
        with scene.repository() as repository:
            if self.verb in ("revert", "reset"):
                return repository.probe(_plan(scene, repository), run=scene.run, step=scene.step)
            name = str(scene.bound["name"])
            if self.branch is not None:
                there = (
                    repository.head()[0] == name if self.switch else _is(repository, "heads", name)
                )
                return _answer(there, f"branch {name}")
            if self.tag is not None:
                return _answer(_is(repository, "tags", name), f"tag {name}")
            if self.push is not None:
                return _answer(marked(scene), f"push of {name}: doing it again does no harm;")
            moved = _before(scene) not in ("", repository.head()[1])
            return _answer(moved or marked(scene), "commit")

    def undo(self, scene: Scene) -> None:
        """Head and files are as before; branches and tags that were made stay as a trace."""
        with scene.repository() as repository:
            if self.verb in ("revert", "reset"):
                _take_back(scene, repository)
            elif self.branch is not None and self.switch:
                came_from = str(scene.bound["from"])
                if came_from and repository.head()[0] != came_from:
                    repository.branch(came_from, switch=True)
            elif self.commit is not None:
                _uncommit(scene, repository)

    def undone(self, scene: Scene) -> Finding:
        """Are head and files as before? What was only named or pushed stays as a trace."""
        with scene.repository() as repository:
            if self.verb in ("revert", "reset"):
                return _as_before(scene, repository)
            if self.commit is not None:
                return _uncommitted(scene, repository)
            came_from, name = str(scene.bound.get("from", "")), str(scene.bound["name"])
            if self.branch is not None and self.switch and came_from:
                here = repository.head()[0]
                if here == name != came_from:
                    return failed(f"the branch is {here}, {came_from} before the run")
        return passed(f"{self.verb} {name} stays as a trace")

    def remains(self, scene: Scene) -> str:
        """What of it is there after it was taken back: names cost nothing, a remote is not ours."""
        if self.branch is not None:
            return f"branch {scene.bound['name']} stays"
        if self.tag is not None:
            return f"tag {scene.bound['name']} stays"
        if self.push is not None and scene.system.repository is not None:
            return f"{scene.bound['name']} stays at the remote {scene.system.repository.remote}"
        return ""

    # -- inside ----------------------------------------------------------------------------

    def _bind_move(self, scene: Scene, repository: Repository) -> dict[str, Json]:
        if self.revert is not None:
            since = repository.commit_of(self.revert.since) if self.revert.since else ""
            plan = repository.plan_revert(
                self.revert.commits, matching=self.revert.matching or "", since=since,
                single=self.revert.single, force=self.force,
            )  # fmt: skip
        else:
            plan = repository.plan_reset(_target(scene, str(self.reset)), force=self.force)
        if plan.dirty and not self.force:
            raise Refused(
                "git-local-changes",
                f"somebody's changes would be overwritten: {', '.join(plan.dirty[:5])}",
                hint="commit or move them away, or declare force: true, which saves them aside",
            )
        base = scene.system.repository.path if scene.system.repository else "."
        told = plan.foreseen.under(base).told()
        return {
            **told, "changes": told["changes"] or int(not plan.empty),
            "plan": plan.data(), "head": plan.old, "to": plan.new,
            "lost": [f"{c.id[:12]} {c.subject}" for c in plan.lost],
            "reverted": [f"{c.id[:12]} {c.subject}" for c in plan.reverted],
            "files": list(plan.files()), "aside": list(plan.dirty),
        }  # fmt: skip

    def _apply(self, scene: Scene, repository: Repository) -> dict[str, Json]:
        run, step = scene.run, scene.step
        if self.verb in ("revert", "reset"):
            return repository.apply(_plan(scene, repository), run=run, step=step)
        if self.commit is not None:
            _remember(scene, repository.head()[1])
            message = scene.named(self.commit.message)
            done = repository.commit(self.commit.paths, message, run=run, step=step)
            if done["changed"]:
                scene.state.tree.write(
                    _file(scene), canonical({**_kept(scene), "made": done["head"]})
                )
            return done
        name = str(scene.bound["name"])
        if self.branch is not None:
            return {"changed": repository.branch(name, switch=self.switch), "branch": name}
        if self.tag is not None:
            return {"changed": repository.tag(name), "tag": name}
        return repository.push(name, force=self.force)


def _told(bound: Any, verb: str) -> tuple[str, ...]:
    if not bound["changes"]:
        return (f"{verb}: head and files are there already, nothing to do",)
    count = sum(bound[name] for name in KINDS)
    lines = [f"{verb} from {bound['head'][:12]} to {bound['to'][:12]}, {counted(count, 'file')}"]
    lines += [f"taken back: {one}" for one in bound["reverted"]]
    lines += [f"leaves the branch, stays reachable: {one}" for one in bound["lost"]]
    lines += bound["lines"]
    if count > len(bound["lines"]):
        lines.append(f"… and {count - len(bound['lines'])} more")
    return (*lines, *(f"! {note}" for note in bound["notes"]))


def _target(scene: Scene, written: str) -> str:
    if written != "target":
        return written
    if scene.target.source != "git":
        raise PlanError("the target of this run is no commit", hint="use --to git:REF")
    return scene.target.id


def _plan(scene: Scene, repository: Repository) -> GitPlan:
    data = scene.bound["plan"]
    assert isinstance(data, dict)
    return repository.planned(data)


def _take_back(scene: Scene, repository: Repository) -> None:
    """Forward first, where it stands half way: from a whole state the way back is known."""
    plan = _plan(scene, repository)
    if _as_before(scene, repository).answer is Answer.PASS:
        return
    finding = repository.probe(plan, run=scene.run, step=scene.step)
    if finding.answer is Answer.FAIL:
        repository.apply(plan, run=scene.run, step=scene.step)
    head = repository.head()[1]
    if head == plan.new and plan.new != plan.old:
        back = repository.plan_reset(plan.old)
        repository.apply(back, run=scene.run, step=f"{scene.step}-undo")
    elif head != plan.old:
        raise _moved_on(head, plan.old)


def _moved_on(head: str, old: str) -> NeedsOperator:
    return NeedsOperator(
        f"the head moved on to {head[:12]}: it is neither what this step left nor what was before",
        hint=f"what was before is commit {old[:12]}: go there with git, keeping what came since",
    )


def _as_before(scene: Scene, repository: Repository) -> Finding:
    """PASS when the head is where it was and no file is as the step leaves it."""
    plan = _plan(scene, repository)
    if plan.empty:
        return passed("head and files were there already")
    facts = repository.probe(plan, run=scene.run, step=scene.step).details
    mine = len(plan.changes) - len(plan.kept)
    untouched = _count(facts["left"]) + _count(facts["theirs"]) == mine
    if facts["head"] == plan.old and untouched:
        return passed(f"the head is {plan.old[:12]}, as before the run")
    return failed(f"the head is {str(facts['head'])[:12]}, {plan.old[:12]} before the run")


def _count(found: Json) -> int:
    assert isinstance(found, int)
    return found


def _is(repository: Repository, space: str, name: str) -> bool:
    return any(found.ref == f"refs/{space}/{name}" for found in repository.resolve(name))


def _answer(there: bool, what: str) -> Finding:
    return passed(f"{what} is there") if there else failed(f"{what} is not there")


def _uncommit(scene: Scene, repository: Repository) -> None:
    """The head is what it was before the commit; the files stay as they were committed."""
    kept = _kept(scene)
    if not kept:
        return
    head = repository.head()[1]
    if head != kept["head"]:
        if head != kept.get("made", head):
            raise _moved_on(head, str(kept["head"]))
        back = repository.plan_reset(str(kept["head"]))
        kept = {"head": back.new, "made": back.old, "files": list(back.files())}
        scene.state.tree.write(_file(scene), canonical(kept))
        repository.apply(back, run=scene.run, step=f"{scene.step}-undo")
    if kept.get("files"):
        again = repository.plan_paths(kept["made"], kept["files"], force=True)
        repository.apply(again, run=scene.run, step=f"{scene.step}-undo-files")


def _uncommitted(scene: Scene, repository: Repository) -> Finding:
    """PASS when the head is what it was before the commit, and the files what they were after it."""
    kept = _kept(scene)
    back = not kept or repository.head()[1] == kept["head"]
    if back and kept.get("files"):
        again = repository.plan_paths(kept["made"], kept["files"], force=True)
        step = f"{scene.step}-undo-files"
        back = repository.probe(again, run=scene.run, step=step).answer is Answer.PASS
    if back:
        return passed("nothing is committed that was not before the run")
    return failed("the commit of the run stands")


def _remember(scene: Scene, head: str) -> None:
    if not _kept(scene):
        scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
        scene.state.tree.write(_file(scene), canonical({"head": head}))


def _before(scene: Scene) -> str:
    return str(_kept(scene).get("head", ""))


def _kept(scene: Scene) -> dict[str, Any]:
    if scene.state.tree.stat(_file(scene)) is None:
        return {}
    found: dict[str, Any] = json.loads(scene.state.tree.read(_file(scene)))
    return found


def _file(scene: Scene) -> str:
    return f"runs/{scene.run}/head-{scene.step}.json"
