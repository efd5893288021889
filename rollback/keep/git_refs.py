"""Names in a repository: finding what they mean, making branches and tags, pushing them.

A push to a path on this machine starts no hook of the receiving repository (libgit2 writes into it
itself); a push to a server goes through its hooks, and a rejection is an error here.

Hides: ref namespaces, the wire.
Never: pushes or deletes a protected branch; forces a branch that this tool did not make.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import pygit2
from pygit2.enums import CredentialType

from rollback.keep.git_objects import COMMIT, TAG, Validate
from rollback.keep.git_open import Opened
from rollback.keep.git_plan import history, pattern
from rollback.model.errors import (
    HostError,
    HostUnreachable,
    ObjectCorrupt,
    ObjectMissing,
    PlanError,
    Refused,
    UsageError,
)
from rollback.model.finding import Json

MADE = "refs/rollback/made/"
SAVED = "refs/rollback/saved/"
_HEX = re.compile(r"\A[0-9a-f]{4,40}\Z")
_SCHEMES = ("http", "https", "ssh", "git", "file")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a name may mean. Invalid ones are listed too; `why_not` says what is wrong.

    Units: `at` is when it was committed, UTC. `reachable` from the present head.
    """

    ref: str
    commit: str
    at: datetime
    subject: str
    annotated: bool
    reachable: bool
    valid: bool
    why_not: str = ""


def resolve(
    opened: Opened, written: str, *, matching: bool = False, validate: Validate | None = None,
    limit: int = 1000,
) -> tuple[Candidate, ...]:  # fmt: skip
    """Everything that `written` may mean, newest first: more than one is the caller's choice.

    A tag pattern (`v1.*`), a tag, branch or remote branch, a full ref, `HEAD`, a commit id or the
    beginning of one; with `matching`, a regular expression over the subjects of the history.
    """
    _, head = opened.head()
    found: dict[str, str] = {}
    if matching:
        wanted = pattern(written)
        for commit in history(opened.repo, opened.objects, head):
            if len(found) >= limit:
                break
            if wanted.search(commit.subject):
                found[commit.id] = commit.id
    else:
        found.update(_named(opened, written, head))
    candidates = [_candidate(opened, ref, oid, head, validate) for ref, oid in found.items()]
    order = lambda c: (c.at, [(len(n), n) for n in re.split(r"(\d+)", c.ref)])  # noqa: E731
    return tuple(sorted(candidates, key=order, reverse=True)[:limit])


def may_be_name(written: str) -> bool:
    """True for what a tag, branch or pattern of tags could be written as."""
    plain = re.sub(r"[*?\[\]]", "x", written)
    try:
        return bool(pygit2.reference_is_valid_name(f"refs/tags/{plain}"))
    except ValueError:
        return False  # bytes that are no text


def _named(opened: Opened, written: str, head: str) -> Iterator[tuple[str, str]]:
    if written in ("HEAD", "head"):
        yield "HEAD", head
        return
    globbed = any(c in written for c in "*?[")
    for name, oid in _refs(opened):
        for space in ("refs/tags/", "refs/heads/", "refs/remotes/"):
            short = name.removeprefix(space)
            if short == name:
                continue
            if short == written or (globbed and space == "refs/tags/"
                                    and fnmatchcase(short, written)):  # fmt: skip
                yield name, oid
        if name == written:
            yield name, oid
    if _HEX.match(written):
        yield from _abbreviated(opened, written)


def _abbreviated(opened: Opened, written: str) -> Iterator[tuple[str, str]]:
    if len(written) == 40:
        if pygit2.Oid(hex=written) in opened.repo.odb:
            yield written, written
        return
    for oid in opened.repo.odb:  # every object that it may be, not only the first
        if str(oid).startswith(written):
            if opened.repo.odb.read_header(oid)[0] == COMMIT:
                yield str(oid), str(oid)


def _refs(opened: Opened) -> Iterator[tuple[str, str]]:
    for raw in opened.repo.raw_listall_references():
        try:
            name = raw.decode("utf-8")
            ref = opened.repo.references.get(name)
            target = ref.resolve().target if ref is not None else None
        except (UnicodeDecodeError, KeyError, pygit2.GitError):
            continue  # a broken or unreadable name means nothing
        if target is not None:
            yield name, str(target)


def peel(opened: Opened, oid: str) -> tuple[str, bool]:
    """The commit behind an id, and whether annotated tags lay before it."""
    annotated = False
    for _ in range(10):
        kind = opened.objects.kind(oid)
        if kind == COMMIT:
            return oid, annotated
        if kind != TAG:
            break
        annotated = True
        first = opened.objects.read(oid, TAG).split(b"\n", 1)[0]
        oid = first.removeprefix(b"object ").decode("ascii", "replace")
    raise PlanError(f"{oid[:12]} is no commit", where=opened.where)


def _candidate(
    opened: Opened, ref: str, oid: str, head: str, validate: Validate | None
) -> Candidate:
    try:
        commit_id, annotated = peel(opened, oid)
        commit = opened.objects.commit(commit_id)
    except (ObjectMissing, ObjectCorrupt, PlanError) as error:
        epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        return Candidate(ref, oid, epoch, "", False, False, False, error.message)
    why_not = ""
    try:
        opened.objects.tree(commit.tree)
        why_not = validate(commit) if validate else ""
    except (ObjectMissing, ObjectCorrupt) as error:
        why_not = error.message
    reachable = commit_id == head or bool(
        opened.repo.descendant_of(pygit2.Oid(hex=head), pygit2.Oid(hex=commit_id)))  # fmt: skip
    return Candidate(ref, commit_id, commit.at, commit.subject, annotated, reachable,
                     not why_not, why_not)  # fmt: skip


# -- making --------------------------------------------------------------------------------


def checked_name(name: str, space: str) -> str:
    """The full ref. Raises: UsageError when git would not take the name, or take it wrongly."""
    ref = space + name
    if (
        name.startswith(("-", "refs/"))
        or not pygit2.reference_is_valid_name(ref)
        or (not name.isprintable() or name == "HEAD" or len(name) > 200)
    ):
        raise UsageError(f"{name!r} cannot be the name of a branch or tag")
    return ref


def set_ref(opened: Opened, ref: str, commit: str) -> None:
    """`ref` names `commit`. Raises: Refused when it names something else already."""
    old = opened.repo.references.get(ref)
    if old is not None:
        if str(old.target) == commit:
            return
        raise Refused("git-exists", f"{ref} exists and names another commit", where=opened.where,
                      hint="choose another name; nothing was moved")  # fmt: skip
    forget_lock(opened, ref, commit)
    opened.host.tap.change("git-ref", ref, lambda: opened.repo.references.create(
        ref, pygit2.Oid(hex=commit)))  # fmt: skip


def forget_lock(opened: Opened, ref: str, value: str) -> None:
    """A lock that an attempt of ours left on `ref` when it died is gone. Raises: Refused.

    It is taken for ours where it holds nothing but (a part of) what we are about to write and
    does not go away by itself; a living git program holds a lock for milliseconds.
    """
    lock = b".git/" + os.fsencode(ref) + b".lock"

    def gone() -> bool:
        return opened.tree.stat(lock) is None

    if gone() or opened.host.clock.poll(gone, within_s=1.0):
        return
    if (value + "\n").encode().startswith(opened.tree.read(lock, limit_bytes=4096)):
        opened.tree.unlink(lock)
        return
    raise Refused("git-locked", f"another git program holds {ref}", where=opened.where,
                  hint=f"wait for it; if none runs, remove .git/{ref}.lock")  # fmt: skip


def branch(opened: Opened, name: str, commit: str, *, switch: bool) -> bool:
    """The branch names `commit`, and is checked out where `switch`; True when that is new.

    No other branch moved. Switching changes no file: `commit` must be the present head.
    """
    ref = checked_name(name, "refs/heads/")
    current, head = opened.head()
    if switch and commit != head:
        raise UsageError("a branch is made at the present head first, and then taken back",
                         hint="leave out the commit, then reset")  # fmt: skip
    old = opened.repo.references.get(ref)
    if switch and current == name and old is not None:
        return False
    if old is None and opened.is_protected(name):
        raise Refused("protected-refs", f"{name} is protected", where=opened.where,
                      hint="choose a name that repository.protected does not cover")  # fmt: skip
    if old is None:
        if made := opened.repo.references.get(MADE + name):
            opened.host.tap.change("git-ref", made.name, made.delete)  # of a branch deleted since
        set_ref(opened, MADE + name, commit)
    set_ref(opened, ref, commit)
    if switch:
        opened.undisturbed()
        forget_lock(opened, "HEAD", f"ref: {ref}")
        opened.host.tap.change("git-head", ref, lambda: opened.repo.set_head(ref))
    return old is None or switch


def tag(opened: Opened, name: str, commit: str, message: str, *, at_s: int) -> bool:
    """The tag names `commit`, annotated where there is a message; True when that is new."""
    ref = checked_name(name, "refs/tags/")
    old = opened.repo.references.get(ref)
    if old is not None:
        if peel(opened, str(old.target))[0] == commit:
            return False
        raise Refused("git-exists", f"tag {name} exists and names another commit",
                      where=opened.where, hint="a tag is never moved")  # fmt: skip
    target = commit
    if message:
        data = (f"object {commit}\ntype commit\ntag {name}\n"
                f"tagger rollback <rollback@localhost> {at_s} +0000\n\n{message}\n")  # fmt: skip
        target = opened.objects.make(TAG, data.encode("utf-8", "replace"))
        opened.objects.store(target, opened.host.tap)
    set_ref(opened, ref, target)
    return True


# -- pushing -------------------------------------------------------------------------------


class _Callbacks(pygit2.RemoteCallbacks):
    """Collects what the server says; answers with the agent's key or the secret it was given."""

    def __init__(self, secret: tuple[str, str] | None) -> None:
        super().__init__()
        self.rejected: dict[str, str] = {}
        self.said: list[str] = []
        self._secret = secret
        self._asked = 0

    def push_update_reference(self, refname: str, message: str | None) -> None:
        if message is not None:
            self.rejected[refname] = message

    def sideband_progress(self, string: str) -> None:
        if len(self.said) < 100:
            self.said.append(string)

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.UserPass | pygit2.KeypairFromAgent:
        self._asked += 1
        if self._asked > 2:
            raise pygit2.GitError("the server does not accept the credentials")
        if self._secret and allowed_types & CredentialType.USERPASS_PLAINTEXT:
            return pygit2.UserPass(*self._secret)
        if allowed_types & CredentialType.SSH_KEY:
            return pygit2.KeypairFromAgent(username_from_url or "git")
        raise pygit2.GitError("the server wants credentials, and none are declared")


def push(
    opened: Opened, name: str, remote: str, *, force: bool = False,
    secret: tuple[str, str] | None = None,
) -> dict[str, Json]:  # fmt: skip
    """The branch or tag on the remote names the same object as here, read back after pushing.

    Raises: Refused (protected, forced, rejected by the server), HostUnreachable.
    """
    ref, oid = _pushed_ref(opened, name, force)
    target = _remote(opened, remote)
    url = target.push_url or target.url or ""
    shown = _shown(url)
    before = _heads(_remote(opened, remote), secret, shown).get(ref, "")
    fact: dict[str, Json] = {"ref": ref, "commit": oid, "remote": remote, "url": shown,
                             "server_hooks": not _local(url), "before": before}  # fmt: skip
    if before == oid:
        return {**fact, "changed": False}
    calls = _Callbacks(secret)
    spec = f"{'+' if force else ''}{ref}:{ref}"
    try:
        opened.host.tap.change("git-push", shown, lambda: target.push([spec], callbacks=calls))
    except pygit2.GitError as error:
        if "non-fast" in str(error) or "not present locally" in str(error):
            raise _rejected(name, remote, str(error), ()) from error
        raise HostUnreachable(f"the push failed: {error}", where=shown,
                              hint="type: git push --dry-run") from error  # fmt: skip
    if calls.rejected:
        raise _rejected(name, remote, next(iter(calls.rejected.values())), tuple(calls.said))
    after = _heads(_remote(opened, remote), secret, shown).get(ref, "")
    if after != oid:
        raise HostError(f"{ref} on the remote is {after[:12] or 'absent'} after the push, not"
                        f" {oid[:12]}", where=shown)  # fmt: skip
    return {**fact, "changed": True}


def _remote(opened: Opened, name: str) -> pygit2.Remote:
    """The remote, not connected yet: one connection asks or pushes, never both."""
    try:
        return opened.repo.remotes[name]
    except (KeyError, ValueError):
        raise UsageError(f"there is no remote {name!r}", where=opened.where,
                         hint="type: git remote -v") from None  # fmt: skip


def _rejected(name: str, remote: str, why: str, said: tuple[str, ...]) -> Refused:
    words = " ".join("".join(said).split())[-300:]
    return Refused("git-push", f"{remote} does not take {name}: {why}" + (f" ({words})" if words
                   else ""), hint="nothing changed on the remote")  # fmt: skip


def _pushed_ref(opened: Opened, name: str, force: bool) -> tuple[str, str]:
    if name.startswith(("+", ":")) or ":" in name or "*" in name:
        raise UsageError(f"{name!r} is not the name of one branch or tag",
                         hint="a push neither deletes nor renames")  # fmt: skip
    found = {ref: oid for ref, oid in _refs(opened)
             if ref in (name, "refs/heads/" + name, "refs/tags/" + name)
             and ref.startswith(("refs/heads/", "refs/tags/"))}  # fmt: skip
    if len(found) != 1:
        raise PlanError(f"{name!r} names {'nothing' if not found else 'a branch and a tag'}",
                        where=opened.where)  # fmt: skip
    ref, _ = next(iter(found.items()))
    if opened.is_protected(ref.removeprefix("refs/tags/")):
        raise Refused("protected-refs", f"{name} is protected", where=opened.where,
                      hint="push the branch that the run made, and let people merge it")  # fmt: skip
    short = ref.removeprefix("refs/heads/")
    if force and (ref == short or opened.repo.references.get(MADE + short) is None):
        raise Refused("git-force", f"{name} was not made by this tool", where=opened.where,
                      hint="push it without force")  # fmt: skip
    return ref, str(opened.repo.lookup_reference(ref).target)


def _heads(target: pygit2.Remote, secret: tuple[str, str] | None, shown: str) -> dict[str, str]:
    try:
        heads = target.list_heads(callbacks=_Callbacks(secret))
    except pygit2.GitError as error:
        raise HostUnreachable(f"the remote does not answer: {error}", where=shown) from error
    return {head.name: str(head.oid) for head in heads if head.name}


def _local(url: str) -> bool:
    return url.startswith(("/", ".", "file://"))


def _shown(url: str) -> str:
    """The address without a password in it. Raises: Refused for a way that we do not go."""
    parts = urlsplit(url)
    if "::" in url or (parts.scheme and "://" in url and parts.scheme not in _SCHEMES):
        raise Refused("git-remote", f"a push never goes by {url.split(':')[0]!r}")
    if "://" in url and parts.password is not None:
        return url.replace(f":{parts.password}@", ":…@", 1)
    return url
