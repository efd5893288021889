"""A git plan made true: objects, saved ref, files, index, head, in this order.

Every stage looks first whether it is done. The lock on the index is held from before the first
file until after the last, so that no git program works in between.

Hides: the stages.
Never: moves a protected branch, overwrites what somebody changed, commits what was not named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase

import pygit2
from pygit2.enums import FileMode

from rollback.keep import git_refs
from rollback.keep.git_files import Look, stage_name
from rollback.keep.git_objects import FILE, LINK, PROGRAM, Change, Node, unsafe
from rollback.keep.git_open import Opened
from rollback.keep.git_plan import GitPlan, below
from rollback.keep.git_refs import SAVED
from rollback.model.errors import HostError, NeedsOperator, PlanError, Refused, UsageError
from rollback.model.finding import Finding, Json, failed, passed, unknown


def apply(opened: Opened, plan: GitPlan, *, run: str, step: str) -> dict[str, Json]:
    """Files, index and head are as planned; the old head is reachable under a saved ref.

    Again: does nothing more. Crash: applying again converges. Raises: Refused, PlanError
    before anything changed: local changes, a protected branch, a moved head, a lock.
    """
    stage, saved = stage_name(run, step), f"{SAVED}{run}/{step}"
    moves = plan.old != plan.new
    branch, head = opened.head()
    if moves and head == plan.new and _saved(opened, saved) == plan.old:
        opened.sweep()
        return {"changed": False, "head": plan.new, "saved": saved}
    _may_apply(opened, plan, branch, head)
    if plan.empty:
        return {"changed": False, "head": head, "saved": ""}
    with _told(opened), opened.locked(stage):
        look = _looked(opened, plan)
        if moves:
            opened.objects.store(plan.new, opened.host.tap)
            git_refs.forget_lock(opened, saved, plan.old)
            git_refs.set_ref(opened, saved, plan.old)
        aside = _save_aside(opened, look, run, step)
        opened.files.apply(look, stage)
        if moves:
            _index(opened, plan.changes, stage)
            _move_head(opened, plan, branch, f"rollback: {plan.kind} by {run}")
    return {
        "changed": True, "head": plan.new, "before": plan.old, "branch": branch,
        "saved": saved if moves else "", "written": len(look.ready) + len(look.dirty),
        "aside": aside, "kept": list(plan.kept),
    }  # fmt: skip


@contextmanager
def _told(opened: Opened) -> Iterator[None]:
    """What the system or libgit2 cannot do is told as an error of ours; applying again goes on."""
    try:
        yield
    except (OSError, pygit2.GitError) as error:
        raise HostError(f"the repository could not be changed: {error}", where=opened.where,
                        hint="put the cause right, then resume") from error  # fmt: skip


def _may_apply(opened: Opened, plan: GitPlan, branch: str, head: str) -> None:
    if head != plan.old:
        raise PlanError(f"the head moved to {head[:12]} since this was planned",
                        where=opened.where, hint="make a new plan")  # fmt: skip
    opened.undisturbed()
    if plan.old != plan.new and opened.is_protected(branch):
        raise Refused("protected-refs", f"{branch} is protected and would move",
                      where=opened.where, hint="make a branch first")  # fmt: skip


def _looked(opened: Opened, plan: GitPlan) -> Look:
    """Where the files stand. Raises: Refused when somebody's work would be overwritten."""
    look = opened.files.look(writable(opened, plan.changes), plan.eol)
    staged = _staged(opened, plan) if plan.old != plan.new else ()
    names = sorted({*look.paths(), *staged})
    if look.blocked or (names and not plan.force):
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise Refused(
            "git-local-changes", f"somebody's changes would be overwritten: {shown}",
            where=opened.where, hint="commit or move them away"
            + ("" if look.blocked else ", or let them be saved aside (force)"),
        )  # fmt: skip
    return look


def writable(opened: Opened, changes: Sequence[Change]) -> tuple[Change, ...]:
    """All but what stays as it is on disk: the declaration in use, append-only files, protected paths."""
    return tuple(c for c in changes if not any(below(c.path, kept) for kept in opened.kept))


def _staged(opened: Opened, plan: GitPlan) -> tuple[str, ...]:
    """Changed paths whose index entry is neither the old nor the new content."""
    index = opened.repo.index
    index.read(True)
    names: list[str] = []
    for change in plan.changes:
        path = os.fsdecode(change.path)
        try:
            found = index[path]
            entry: Node | None = Node(int(found.mode), str(found.id))
        except (KeyError, UnicodeError):
            entry = None
        if entry not in (change.old, change.new) and entry is not None:
            names.append(path)
    return tuple(names)


def _save_aside(opened: Opened, look: Look, run: str, step: str) -> list[Json]:
    if not look.dirty:
        return []
    state = opened.state_path
    if state is None:
        raise UsageError("there is no state directory to save local changes in")
    with opened.host.tree(str(state)) as tree:
        folder = f"quarantine/{run}/{step}".encode()
        tree.make_folder(folder, parents=True)
        opened.files.save_aside((c.path for c in look.dirty), tree, folder)
    return [os.fsdecode(change.path) for change in look.dirty]


def _index(opened: Opened, changes: Sequence[Change], stage: bytes) -> None:
    """The index holds the new entry of each changed path; all others are untouched."""
    tree, staged = opened.tree, stage + b"/index"
    present = tree.stat(b".git/index") is not None
    tree.write(staged, tree.read(b".git/index") if present else b"", sync=False)
    if not present:
        tree.unlink(staged)
    index = pygit2.Index(str(opened.path / os.fsdecode(staged)))
    if present:
        index.read()
    for change in changes:
        if change.new is None and change.path in index:
            index.remove(change.path)  # type: ignore[arg-type]
    for change in changes:
        if change.new is not None:
            index.add(pygit2.IndexEntry(
                change.path, pygit2.Oid(hex=change.new.id), FileMode(change.new.mode)))  # type: ignore[arg-type]  # fmt: skip
    opened.host.tap.change("git-index", staged, index.write)
    tree.rename(staged, b".git/index")
    tree.sync_folder(b".git")


def _move_head(opened: Opened, plan: GitPlan, branch: str, message: str) -> None:
    """The branch (or a detached head) names the new commit, if it still names the old."""
    name = f"refs/heads/{branch}" if branch else "HEAD"
    git_refs.forget_lock(opened, name, plan.new)
    ref = opened.repo.lookup_reference(name)
    if str(ref.target) != plan.old:
        raise NeedsOperator(f"{name} moved while the files were changed",
                            where=opened.where)  # fmt: skip
    new = pygit2.Oid(hex=plan.new)
    opened.host.tap.change("git-ref", name, lambda: ref.set_target(new, message))


def _saved(opened: Opened, ref: str) -> str:
    found = opened.repo.references.get(ref)
    return str(found.target) if found is not None else ""


def probe(opened: Opened, plan: GitPlan, *, run: str, step: str) -> Finding:
    """PASS: it happened. FAIL: it did not, or in part; applying converges. UNKNOWN: look."""
    _, head = opened.head()
    moves = plan.old != plan.new
    saved = _saved(opened, f"{SAVED}{run}/{step}") == plan.old
    look = opened.files.look(writable(opened, plan.changes), plan.eol)
    files = not (look.ready or look.dirty or look.blocked)
    facts: dict[str, Json] = {"head": head, "saved": saved, "files": files,
                              "left": len(look.ready),
                              "theirs": len(look.dirty) + len(look.blocked)}  # fmt: skip
    if head not in (plan.old, plan.new):
        return unknown(f"the head is {head[:12]}, neither before nor after", **facts)
    if files and head == plan.new and (saved or not moves):
        if opened.tree.stat(b".git/" + stage_name(run, step).removeprefix(b".git/")) is not None:
            return failed("head and files are as planned; the lock is not given back yet", **facts)
        return passed(f"head and {len(plan.changes)} files are as planned", **facts)
    if moves and head == plan.new:
        return unknown("the head is as planned, the files or the saved ref are not", **facts)
    if (look.dirty or look.blocked) and not plan.force:
        return unknown(f"changed by somebody: {', '.join(look.paths()[:8])}", **facts)
    return failed("the head is as before", **facts)


def commit(
    opened: Opened, paths: Sequence[bytes], message: str, *, at_s: int, run: str, step: str
) -> dict[str, Json]:
    """The head's tree holds these paths as they are on disk; see Repository.commit."""
    branch, head = opened.head()
    if opened.is_protected(branch):
        raise Refused("protected-refs", f"{branch} is protected and would move",
                      where=opened.where, hint="make a branch first")  # fmt: skip
    opened.undisturbed()
    stage = stage_name(run, step)
    with _told(opened), opened.locked(stage):
        tree = opened.objects.commit(head).tree
        changes = _on_disk(opened, tree, paths)
        if not changes:
            return {"changed": False, "head": head}
        after = opened.objects.changed_tree(tree, {c.path: c.new for c in changes})
        new = opened.objects.make_commit(after, (head,), at_s, message.strip() + "\n")
        opened.objects.store(new, opened.host.tap)
        _index(opened, changes, stage)
        plan = GitPlan("reset", branch, head, new, new, at_s)
        _move_head(opened, plan, branch, f"rollback: commit by {run}")
    return {"changed": True, "head": new, "before": head,
            "paths": [os.fsdecode(c.path) for c in changes]}  # fmt: skip


def _on_disk(opened: Opened, tree: str, paths: Sequence[bytes]) -> tuple[Change, ...]:
    tracked = {p: n for p, n in opened.objects.walk(tree) if n.mode in (FILE, PROGRAM, LINK)}
    wanted = {p for p in tracked if any(_covers(written, p) for written in paths)}
    for path in paths:
        found = None if path == b"." else opened.tree.stat(path)
        if found is not None and (found.st_mode & 0o170000) in (0o100000, 0o120000):
            wanted.add(path)
    changes: list[Change] = []
    for path in sorted(wanted):
        if unsafe(path) or any(below(path, mine) for mine in opened.own):
            continue
        old = tracked.get(path)
        if old is not None and opened.files.unchanged(path, old):
            continue
        new = opened.files.captured(path, old)
        if new != old:
            changes.append(Change(path, old, new))
    return tuple(changes)


def _covers(written: bytes, path: bytes) -> bool:
    if below(path, written):
        return True
    one, other = written.split(b"/"), path.split(b"/")
    return len(one) <= len(other) and all(map(_fits, other, one))


def _fits(name: bytes, pattern: bytes) -> bool:
    return fnmatchcase(os.fsdecode(name), os.fsdecode(pattern))
