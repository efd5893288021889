"""The repository of a system: what can be gone back to, plans in memory, and their application.

`apply` goes in the order objects, saved ref, files, index, head. Each stage looks whether it is
done, so that applying again after a crash at any instant ends where an uninterrupted run ends.

Hides: libgit2, and that five files do the work.
Never: runs the git program, a hook or a filter; loses a commit; leaves a branch detached.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

from pygit2.enums import FileStatus

from rollback.host import Host
from rollback.keep import git_apply, git_plan, git_refs
from rollback.keep.git_files import Files, check
from rollback.keep.git_objects import (
    BLOB,
    FILE,
    FOLDER,
    LINK,
    PROGRAM,
    Change,
    Commit,
    Objects,
    Validate,
)
from rollback.keep.git_open import Opened, open_at
from rollback.keep.git_plan import GitPlan, below
from rollback.keep.git_refs import Candidate
from rollback.keep.git_source import GitSource
from rollback.model.errors import (
    ObjectCorrupt,
    ObjectMissing,
    PlanError,
    Refused,
    RollbackError,
    UsageError,
)
from rollback.model.finding import Finding, Json, failed, passed, unknown
from rollback.model.system import System


@dataclass(frozen=True, slots=True)
class Logged:
    """One commit that touched a path; `why_not` says why it is no target."""

    commit: Commit
    valid: bool
    why_not: str = ""


class Repository:
    """An open repository. Close it, or use it in `with`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @classmethod
    def open(cls, system: System, host: Host) -> Repository:
        """The declared repository. Raises: UsageError, Refused."""
        declared = system.repository
        if declared is None:
            raise UsageError("the system declares no repository",
                             hint="add a section repository: with a path")  # fmt: skip
        path = (system.root_path / declared.path).resolve()
        return cls(open_at(
            path, host, remote=declared.remote or "", protected=declared.protected,
            baseline=declared.baseline or "", state=system.state_path,
            kept=_stays(system)))  # fmt: skip

    @classmethod
    def at(
        cls, path: Path, host: Host, *, state: Path | None = None, kept: tuple[Path, ...] = (),
        protected: tuple[str, ...] = (), remote: str = "",
    ) -> Repository:  # fmt: skip
        """The repository whose working tree is `path`, without a declaration."""
        return cls(open_at(path, host, remote=remote, protected=protected, state=state,
                           kept=kept))  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Descriptors are given back."""
        self._opened.repo.free()
        self._opened.tree.close()

    @property
    def _objects(self) -> Objects:
        return self._opened.objects

    @property
    def _files(self) -> Files:
        return self._opened.files

    # -- looking ---------------------------------------------------------------------------

    def head(self) -> tuple[str, str]:
        """The branch (empty when detached) and the commit. Raises: PlanError before the first."""
        return self._opened.head()

    def resolve(
        self, written: str, *, matching: bool = False, validate: Validate | None = None,
        limit: int = 1000,
    ) -> tuple[Candidate, ...]:  # fmt: skip
        """Everything that `written` may mean, newest first; see git_refs.resolve."""
        return git_refs.resolve(self._opened, written, matching=matching, validate=validate,
                                limit=limit)  # fmt: skip

    def commit_of(self, written: str) -> str:
        """The one commit that `written` means. Raises: PlanError (none), Refused (several)."""
        found = self.resolve(written)
        commits = sorted({c.commit for c in found if c.valid})
        if not commits:
            why = f": {found[0].why_not}" if found else ""
            raise PlanError(f"{written!r} is nothing to go back to{why}",
                            where=self._opened.where)  # fmt: skip
        if len(commits) > 1:
            names = ", ".join(f"{c.ref} ({c.subject})" for c in found[:5])
            raise Refused("git-ambiguous", f"{written!r} means {len(commits)} commits: {names}",
                          where=self._opened.where, hint="name one of them")  # fmt: skip
        return commits[0]

    def holds(self, commit: str, wanted: str) -> bool:
        """True when the commit is `wanted` or comes after it. Raises: PlanError, Refused."""
        floor = self.commit_of(wanted)
        repo = self._opened.repo
        try:
            return commit == floor or bool(repo.descendant_of(commit, floor))
        except (KeyError, ValueError):
            return False  # a commit that this repository does not know comes after nothing

    def is_protected(self, branch: str) -> bool:
        """True when the declaration says that nobody moves or pushes this branch."""
        return self._opened.is_protected(branch)

    def log(
        self, path: str | bytes, limit: int = 10, *, validate: Validate | None = None
    ) -> tuple[Logged, ...]:
        """The newest commits of the present history that touched `path`, newest first.

        `validate` says why a commit is no target (for example: its file cannot be read).
        """
        raw = os.fsencode(path)
        _, head = self.head()
        found: list[Logged] = []
        for commit in git_plan.history(self._opened.repo, self._objects, head):
            if len(found) >= limit:
                break
            here = self._objects.node(commit.tree, raw)
            parents = [self._objects.node(self._parent_tree(one), raw) for one in commit.parents]
            if here in parents or (here is None and not parents):
                continue
            why_not = "" if here is not None else "the path is not in this commit"
            found.append(Logged(commit, not why_not, why_not))
            if validate and not why_not and (why_not := validate(commit)):
                found[-1] = Logged(commit, False, why_not)
        return tuple(found)

    def _parent_tree(self, commit: str) -> str:
        return self._objects.commit(commit).tree

    def read(self, commit: str, path: str | bytes) -> bytes:
        """The bytes of a file in a commit, hashed. Raises: PlanError when it is not in it."""
        node = self._objects.node(self._objects.commit(commit).tree, os.fsencode(path))
        if node is None or node.mode not in (FILE, PROGRAM):
            raise PlanError(f"{os.fsdecode(path)} is no file of {commit[:12]}")
        return self._objects.read(node.id, BLOB)

    def source(self, commit: str, path: str | bytes = b".") -> GitSource:
        """The tree of a commit below `path`, for the one writer. Raises: Refused, PlanError."""
        return GitSource(self._objects, commit, os.fsencode(path), self._opened.where)

    def lost(self, target: str) -> tuple[Commit, ...]:
        """The commits that the head reaches and `target` does not, newest first."""
        _, head = self.head()
        return tuple(git_plan.history(self._opened.repo, self._objects, head, without=(target,)))

    def differs_bytes(self, commit: str) -> int:
        """The bytes of the files in which a commit differs from the head: its own, else the head's."""
        _, head = self.head()
        found = self._objects.changes(self._parent_tree(head), self._parent_tree(commit))
        nodes = (one.new or one.old for one in found)
        return sum(self._objects.size(node.id) for node in nodes
                   if node is not None and node.mode in (FILE, PROGRAM, LINK))  # fmt: skip

    def prove(self, commit: str) -> Finding:
        """Whether every object of the commit's tree is present and hashes to its id."""
        try:
            count, size = self._objects.prove(commit)
        except (ObjectMissing, ObjectCorrupt) as error:
            return failed(error.message, commit=commit)
        except RollbackError as error:
            return unknown(error.message, commit=commit)
        return passed(f"{count} objects of {commit[:12]} are present and hash right",
                      commit=commit, objects=count, size_bytes=size)  # fmt: skip

    def dirty(self) -> tuple[str, ...]:
        """The tracked paths that differ from the head, on disk or in the index, sorted.

        A file that differs only in line ends which attributes let vary is not among them.
        """
        _, head = self.head()
        tree = self._objects.commit(head).tree
        staged = (
            FileStatus.INDEX_NEW
            | FileStatus.INDEX_MODIFIED
            | FileStatus.INDEX_DELETED
            | (FileStatus.INDEX_RENAMED | FileStatus.INDEX_TYPECHANGE)
        )
        found: list[str] = []
        for path, status in self._opened.repo.status(untracked_files="no").items():
            raw = os.fsencode(path)
            node = self._objects.node(tree, raw)
            if status & staged or node is None or node.mode not in (FILE, PROGRAM, LINK):
                found.append(path)
            elif not self._files.unchanged(raw, node):
                found.append(path)
        return tuple(sorted(found))

    # -- plans -----------------------------------------------------------------------------

    def plan_revert(
        self, commits: Sequence[str] = (), *, matching: str = "", since: str = "",
        single: bool = False, force: bool = False,
    ) -> GitPlan:  # fmt: skip
        """One new commit per commit taken back, newest first, or one for all; nothing touched.

        `matching` takes those whose subject it finds, after `since` (a commit) where given.
        Raises: Refused on a conflict, naming the files; PlanError when there is nothing.
        """
        branch, old = self.head()
        full = tuple(self.commit_of(one) for one in commits)
        wanted = git_plan.chosen(self._opened.repo, self._objects, old, commits=full,
                                 matching=matching, since=since)  # fmt: skip
        if not wanted:
            raise PlanError(f"no commit matches {matching!r}", where=self._opened.where,
                            hint="type: rollback plan … --to git:REF")  # fmt: skip
        return self._revert(branch, old, wanted, self._now_s(), single=single, force=force)

    def _revert(
        self, branch: str, old: str, wanted: Sequence[Commit], at_s: int, *, single: bool,
        force: bool, eol: frozenset[bytes] = frozenset(),
    ) -> GitPlan:  # fmt: skip
        new, done, skipped = git_plan.revert(
            self._opened.git_path, self._objects, old, wanted, at_s=at_s, single=single)  # fmt: skip
        plan = GitPlan("revert", branch, old, new, new, at_s, reverted=done, skipped=skipped,
                       force=force, single=single, eol=eol)  # fmt: skip
        return self._finished(plan)

    def plan_reset(self, commit: str, *, force: bool = False) -> GitPlan:
        """The head and the files as in `commit`; `lost` says what only the old head reaches."""
        branch, old = self.head()
        new = self.commit_of(commit)
        return self._finished(GitPlan("reset", branch, old, new, new, self._now_s(), force=force,
                                      lost=self.lost(new)))  # fmt: skip

    def plan_paths(
        self, commit: str, paths: Sequence[str | bytes], *, force: bool = False
    ) -> GitPlan:
        """Only these paths as in `commit`; head, index and every other path stay."""
        branch, old = self.head()
        return self._finished(GitPlan(
            "paths", branch, old, old, self.commit_of(commit), self._now_s(), force=force,
            paths=tuple(os.fsdecode(path) for path in paths)))  # fmt: skip

    def planned(self, data: Mapping[str, Json]) -> GitPlan:
        """The plan that `GitPlan.data` recorded. Raises: PlanError when it cannot be made again."""
        kind, old = git_plan.kind_of(data), str(data["old"])
        at_s, force, single = (
            int(cast(int, data["at_s"])),
            bool(data["force"]),
            bool(data["single"]),
        )
        eol = frozenset(os.fsencode(str(p)) for p in cast(list[Json], data["eol"]))
        branch = str(data["branch"])
        if kind == "revert":
            ids = [str(c["id"]) for key in ("reverted", "skipped")
                   for c in cast(list[dict[str, Json]], data[key])]  # fmt: skip
            wanted = git_plan.chosen(self._opened.repo, self._objects, old, commits=ids,
                                     matching="", since="")  # fmt: skip
            plan = self._revert(branch, old, wanted, at_s, single=single, force=force, eol=eol)
        else:
            lost = git_plan.history(self._opened.repo, self._objects, old,
                                    without=(str(data["new"]),))  # fmt: skip
            plan = self._finished(GitPlan(
                kind, branch, old, str(data["new"]), str(data["source"]), at_s, force=force,
                lost=tuple(lost) if kind == "reset" else (), eol=eol,
                paths=tuple(str(p) for p in cast(list[Json], data["paths"]))))  # fmt: skip
        if plan.new != data["new"]:
            raise PlanError("planning again gives another result than was approved",
                            where=self._opened.where, hint="make a new plan")  # fmt: skip
        return plan

    def _finished(self, plan: GitPlan) -> GitPlan:
        """The plan with what differs, checked: objects hashed, names safe, nothing of ours."""
        if plan.kind == "paths":
            changes = self._path_changes(plan)
        else:
            before, after = self._parent_tree(plan.old), self._parent_tree(plan.source)
            changes = tuple(self._objects.changes(before, after))
        own = [os.fsdecode(c.path) for c in changes
               if any(below(c.path, mine) for mine in self._opened.own)]  # fmt: skip
        if own:
            raise Refused("own-state", f"the tool's own state is in the repository: {own[0]}",
                          where=self._opened.where,
                          hint="take it out of the repository and ignore it")  # fmt: skip
        written = git_apply.writable(self._opened, changes)
        ours = {change.path for change in written}
        kept = tuple(os.fsdecode(change.path) for change in changes if change.path not in ours)
        check(written, self._objects, self._opened.where)
        look = self._files.look(written, plan.eol)
        return replace(plan, changes=changes, kept=kept, dirty=look.paths(),
                       eol=plan.eol | look.eol, foreseen=self._files.foreseen(look, kept))  # fmt: skip

    def _path_changes(self, plan: GitPlan) -> tuple[Change, ...]:
        raw = tuple(os.fsencode(path) for path in plan.paths)
        after = self._parent_tree(plan.source)
        standing: dict[bytes, bool] = {}
        for path in raw:
            node = self._objects.node(after, path)
            every = [] if node is None else [(path, node)]
            if node is not None and node.mode == FOLDER:
                prefix = b"" if path in (b"", b".") else path
                every = list(self._objects.walk(node.id, prefix))
            for one, found in every:
                if found.mode in (FILE, PROGRAM, LINK):
                    standing[one] = self._files.unchanged(one, found)
        return git_plan.path_changes(self._objects, plan.old, plan.source, raw, standing)

    def _now_s(self) -> int:
        return int(self._opened.host.clock.now().timestamp())

    # -- applying --------------------------------------------------------------------------

    def apply(self, plan: GitPlan, *, run: str, step: str) -> dict[str, Json]:
        """Files, index and head are as planned; the old head is reachable under a saved ref.

        Again: does nothing more. Crash: applying again converges. Raises: Refused, PlanError
        before anything changed: local changes, a protected branch, a moved head, a lock.
        """
        return git_apply.apply(self._opened, plan, run=run, step=step)

    def probe(self, plan: GitPlan, *, run: str, step: str) -> Finding:
        """PASS: it happened. FAIL: it did not, or in part; applying converges. UNKNOWN: look."""
        return git_apply.probe(self._opened, plan, run=run, step=step)

    # -- names and commits -----------------------------------------------------------------

    def branch(self, name: str, commit: str | None = None, *, switch: bool = False) -> bool:
        """The branch exists at `commit` (the head), checked out where `switch`; no other moved."""
        _, head = self.head()
        target = self.commit_of(commit) if commit else head
        return git_refs.branch(self._opened, name, target, switch=switch)

    def tag(self, name: str, commit: str | None = None, message: str = "") -> bool:
        """The tag names `commit` (the head); True when that is new. Raises: Refused to move one."""
        _, head = self.head()
        target = self.commit_of(commit) if commit else head
        return git_refs.tag(self._opened, name, target, message, at_s=self._now_s())

    def push(
        self, name: str, remote: str | None = None, *, force: bool = False,
        secret: tuple[str, str] | None = None,
    ) -> dict[str, Json]:  # fmt: skip
        """The branch or tag on the remote is the one here, read back; see git_refs.push."""
        return git_refs.push(self._opened, name, remote or self._opened.remote or "origin",
                             force=force, secret=secret)  # fmt: skip

    def commit(
        self, paths: Sequence[str | bytes], message: str, *, run: str, step: str
    ) -> dict[str, Json]:
        """The head's tree holds these paths as they are on disk; no other path is committed.

        A folder or a pattern (`docs/PARTY*.md`) stands for the tracked files it covers; a new
        file is committed only by its own name. Again: nothing differs any more, nothing is done.
        """
        return git_apply.commit(self._opened, tuple(os.fsencode(path) for path in paths), message,
                                at_s=self._now_s(), run=run, step=step)  # fmt: skip


def _stays(system: System) -> tuple[Path, ...]:
    """What no rollback rewrites, wherever it lies: the declaration, append-only files, protected paths."""
    trails = [c.path for c in system.components.values() if c.content == "append-only"]
    paths = (*trails, *system.guardrails.protected_paths)
    return (system.declaration, *(system.root_path / path for path in paths))
