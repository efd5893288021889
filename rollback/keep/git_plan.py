"""What a step will do to a repository, computed in memory: reverts, a reset, restored paths.

A plan is bound to the head it starts from and names the commit it ends at. Computed again from
its data it is the same plan, ids included.

Hides: in-memory merging.
Never: touches files, index, refs or the object database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import pygit2
from pygit2.enums import MergeFavor, MergeFlag, SortMode

from rollback.host.clock import iso
from rollback.keep.changes import Changes
from rollback.keep.git_objects import (
    BLOB,
    COMMIT,
    EMPTY_TREE,
    FOLDER,
    TREE,
    Change,
    Commit,
    Objects,
    in_memory,
)
from rollback.model.errors import PlanError, Refused, UsageError
from rollback.model.finding import Json

Kind = Literal["revert", "reset", "paths"]
WALK_MAX = 100_000


@dataclass(frozen=True)
class GitPlan:
    """`old` is the head it starts from, `new` the head it ends at (equal for `paths`).

    `source` is the commit the files come from. `reverted` stands newest first; `skipped` changed
    nothing any more; `lost` is reachable from `old` alone. `changes` are the paths that differ;
    `foreseen` is what that does to the files on disk, as they are now. `kept` differ too but stay
    as they are on disk. `dirty` belongs to somebody: without `force` nothing is done, with it they
    are saved aside. `eol` differs from `old` in line ends only.
    """

    kind: Kind
    branch: str
    old: str
    new: str
    source: str
    at_s: int
    changes: tuple[Change, ...] = ()
    reverted: tuple[Commit, ...] = ()
    skipped: tuple[Commit, ...] = ()
    lost: tuple[Commit, ...] = ()
    paths: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    dirty: tuple[str, ...] = ()
    force: bool = False
    single: bool = False
    eol: frozenset[bytes] = field(default_factory=frozenset)
    foreseen: Changes = field(default_factory=Changes)

    @property
    def empty(self) -> bool:
        """True when head and files are there already: nothing to roll back here."""
        return self.old == self.new and not self.changes

    def files(self) -> tuple[str, ...]:
        """The paths that will be written or removed."""
        return tuple(os.fsdecode(change.path) for change in self.changes)

    def data(self) -> dict[str, Json]:
        """What a journal keeps; `Repository.planned` makes the same plan of it."""
        return {
            "kind": self.kind, "branch": self.branch, "old": self.old, "new": self.new,
            "source": self.source, "at_s": self.at_s, "force": self.force, "single": self.single,
            "reverted": [brief(c) for c in self.reverted],
            "skipped": [brief(c) for c in self.skipped], "lost": [brief(c) for c in self.lost],
            "paths": list(self.paths), "kept": list(self.kept), "dirty": list(self.dirty),
            "eol": [os.fsdecode(path) for path in sorted(self.eol)],
            "changed": len(self.changes),
        }  # fmt: skip


def brief(commit: Commit) -> dict[str, Json]:
    """A commit for a journal or a list."""
    return {"id": commit.id, "at": iso(commit.at), "subject": commit.subject}


def history(
    repo: pygit2.Repository, objects: Objects, start: str, *, without: Sequence[str] = ()
) -> Iterator[Commit]:
    """The commits reachable from `start` and from none of `without`, children before parents."""
    walker = repo.walk(pygit2.Oid(hex=start), SortMode.TOPOLOGICAL | SortMode.TIME)
    for oid in without:
        walker.hide(pygit2.Oid(hex=oid))
    for count, found in enumerate(walker):
        if count >= WALK_MAX:
            raise PlanError(f"more than {WALK_MAX} commits to look at",
                            hint="say since which tag")  # fmt: skip
        yield objects.commit(str(found.id))


def pattern(written: str) -> re.Pattern[str]:
    """A regular expression over subjects. Raises: UsageError."""
    try:
        return re.compile(written)
    except re.error as error:
        raise UsageError(f"{written!r} is not a pattern: {error}") from error


def chosen(
    repo: pygit2.Repository, objects: Objects, head: str, *, commits: Sequence[str],
    matching: str, since: str,
) -> tuple[Commit, ...]:  # fmt: skip
    """The commits to revert, newest first. Raises: PlanError when one is not in the history."""
    if bool(commits) == bool(matching):
        raise UsageError("a revert takes one of: commits, matching")
    wanted = pattern(matching) if matching else None
    listed = set(commits)
    found: list[Commit] = []
    for commit in history(repo, objects, head, without=(since,) if since else ()):
        if wanted.search(commit.subject) if wanted else commit.id in listed:
            found.append(commit)
            if listed and len(found) == len(listed):
                break
    missing = listed - {commit.id for commit in found}
    if missing:
        raise PlanError(
            f"{', '.join(sorted(one[:12] for one in missing))} is not in the history of the head",
            hint="a commit of another branch cannot be reverted here",
        )  # fmt: skip
    return tuple(found)


def revert(
    path: str, objects: Objects, head: str, commits: Sequence[Commit], *, at_s: int, single: bool,
) -> tuple[str, tuple[Commit, ...], tuple[Commit, ...]]:  # fmt: skip
    """The new head in memory, what was reverted, and what had no effect any more.

    A merge is reverted against its first parent. Raises: Refused, naming the files in conflict.
    """
    repo = in_memory(path, objects.made)
    try:
        done: list[Commit] = []
        skipped: list[Commit] = []
        tip, tree = head, objects.commit(head).tree
        for commit in commits:
            result = _without(repo, objects, tree, commit)
            if result == tree:
                skipped.append(commit)
                continue
            tree = result
            done.append(commit)
            if not single:
                tip = objects.make_commit(tree, (tip,), at_s, _message((commit,)))
        if single and done:
            tip = objects.make_commit(tree, (head,), at_s, _message(done))
        return tip, tuple(done), tuple(skipped)
    finally:
        repo.free()


def _without(repo: pygit2.Repository, objects: Objects, tree: str, commit: Commit) -> str:
    """The id of `tree` without what `commit` did to its first parent."""
    if commit.id in objects.shallow:
        raise Refused("git-shallow", f"what {commit.id[:12]} changed is not in this shallow clone",
                      hint="fetch the whole history first: git fetch --unshallow")  # fmt: skip
    before = objects.commit(commit.parents[0]).tree if commit.parents else EMPTY_TREE
    for oid in (before, commit.tree, tree):
        if oid == EMPTY_TREE:
            objects.make(TREE, b"")
    for change in objects.changes(before, commit.tree):
        for node in (change.old, change.new):
            if node is not None and node.mode not in (FOLDER, 0o160000):
                objects.read(node.id, BLOB)  # present and hashed, before libgit2 looks at it
    index = repo.merge_trees(
        pygit2.Oid(hex=commit.tree), pygit2.Oid(hex=tree), pygit2.Oid(hex=before),
        MergeFavor.NORMAL, MergeFlag.FIND_RENAMES,
    )  # fmt: skip
    if index.conflicts is not None:
        names = sorted({entry.path for triple in index.conflicts for entry in triple if entry})
        raise Refused(
            "git-conflict",
            f"reverting {commit.id[:12]} ({commit.subject}) conflicts in {', '.join(names)}",
            hint="nothing was changed; choose the reset, or revert the later commits as well",
        )  # fmt: skip
    return str(index.write_tree(repo))


def _message(commits: Sequence[Commit]) -> str:
    if len(commits) == 1:
        one = commits[0]
        against = f", against its parent {one.parents[0]}" if len(one.parents) > 1 else ""
        return f'Revert "{one.subject}"\n\nThis reverts commit {one.id}{against}.\n'
    lines = [f"- {commit.id} {commit.subject}" for commit in commits]
    return f"Revert {len(commits)} commits\n\nNewest first:\n" + "\n".join(lines) + "\n"


def path_changes(objects: Objects, head: str, source: str, paths: Sequence[bytes],
                 standing: Mapping[bytes, bool]) -> tuple[Change, ...]:  # fmt: skip
    """What differs below `paths`: from the head's tree to the source's.

    A path that is equal in both is listed where disk differs from it (`standing` False).
    """
    before, after = objects.commit(head).tree, objects.commit(source).tree
    found: dict[bytes, Change] = {}
    for path in paths:
        if objects.node(after, path) is None and objects.node(before, path) is None:
            raise PlanError(f"{os.fsdecode(path)} is neither in {source[:12]} nor in the head")
        for change in objects.changes(before, after):
            if below(change.path, path):
                found[change.path] = change
    for path, clean in standing.items():
        node = objects.node(after, path)
        if not clean and node is not None:
            found.setdefault(path, Change(path, node, node))
    return tuple(found[path] for path in sorted(found))


def below(path: bytes, folder: bytes) -> bool:
    """True when `path` is `folder` or lies in it; b"." holds everything."""
    return folder in (b"", b".") or path == folder or path.startswith(folder + b"/")


def kind_of(data: Mapping[str, Json]) -> Kind:
    """The kind a recorded plan names. Raises: PlanError."""
    kind = data.get("kind")
    if kind not in ("revert", "reset", "paths"):
        raise PlanError(f"{kind!r} is no kind of git plan")
    return cast(Kind, kind)


__all__ = ["COMMIT", "GitPlan", "below", "brief", "chosen", "history", "kind_of", "path_changes",
           "pattern", "revert"]  # fmt: skip
