"""Where to go back to: the candidates of a level's sources, and the one that is taken.

Hides: how `--to` is spelled.
Never: takes a target that is not valid, or silently one of several that a person asked for.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from rollback.act.acceptable import commit_why_not, why_not
from rollback.act.phasing import of_runs
from rollback.act.scene import Target
from rollback.act.sealed import colour, known_red, sealed_as, seals
from rollback.act.site import Site
from rollback.host.below import why
from rollback.host.clock import iso
from rollback.model.errors import (
    Choice,
    HostError,
    PlanError,
    RollbackError,
    SeveralFit,
)
from rollback.model.level import Level, Procedure, Source
from rollback.model.quantity import counted, listed
from rollback.model.registry import closest

if TYPE_CHECKING:
    from rollback.keep import git_refs
    from rollback.keep.checkpoint import Checkpoint
    from rollback.model.system import System

WORDS = ("last-good", "newest", "initial")
SOURCES = ("checkpoint", "git", "phase", "archive")
SIZED_MAX = 50  # commits whose difference is measured
OLDER_MAX = 12  # checkpoints that are looked at beside the last good one
FALLBACKS_MAX = 8
_SUBJECT_CHARS = 60


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that could be gone back to.

    Units: `size_bytes` of what is stored; of a commit what differs from the head, see `sized`. None:
    not measured.
    """

    source: str
    id: str
    label: str
    at: str
    valid: bool
    why_not: str = ""
    size_bytes: int | None = None

    def target(self) -> Target:
        """This candidate as a target."""
        return Target(self.source, self.id, self.label, self.at)

    def choice(self) -> Choice:
        """This candidate as an answer to the question which."""
        return Choice(self.target().to, self.label, self.at, self.size_bytes, self.valid,
                      self.why_not)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """What a level asks of a target, beside what a person may have named.

    `alone`: one component goes back on purpose; `needed` are the components that a checkpoint or an
    archive has to hold; `may_be_red` the checks of which its gate allows that they were red before.
    """

    alone: bool = False
    needed: tuple[str, ...] = ()
    may_be_red: frozenset[str] = frozenset()


ANY = Wish()


def candidates(site: Site, source: str, wanted: str, wish: Wish = ANY) -> tuple[Candidate, ...]:
    """Everything of one source that `wanted` may mean, valid or not, the best (the newest) first.

    `source` is checkpoint, git, phase or archive; `wanted` a word, a name, an id or a pattern.
    Raises: PlanError, UsageError; what opening a repository raises.
    """
    if source == "git":
        return _commits(site, wanted)
    if source in ("checkpoint", "phase"):
        return _checkpoints(site, source, wanted, wish)
    if source == "archive":
        return _archives(site, wanted, wish.needed)
    raise PlanError(
        f"targets of source {source} are not built yet", hint="use --to checkpoint:ID or git:REF"
    )


def choose(
    site: Site, level: Level | Procedure, to: str, component: str = "", variant: str = ""
) -> tuple[Target, tuple[Candidate, ...]]:
    """The target, and every candidate that was looked at; `component` goes back alone.

    With `to` a person named it. Without, every declared source is looked at in order, and the first
    valid candidate is taken; the others are what could be gone back to instead. Raises: PlanError;
    SeveralFit when what was named fits several.
    """
    declared = getattr(level, "target", None)
    wish = Wish(
        bool(component), needed_by(site.system, level, component, variant), known_red(site, level)
    )
    if to:
        return _named(site, to, wish)
    if declared is None:
        return Target(), ()
    seen: dict[tuple[str, str], Candidate] = {}
    for source in declared.sources:
        for one in _looked(site, source, wish):
            seen.setdefault((one.source, one.id), one)
    found = tuple(seen.values())
    taken = next((one for one in found if one.valid), None)
    if taken is not None:
        return taken.target(), found
    from rollback.act.copying import to_fetch  # the store: a flag needs none

    raise PlanError(
        f"no valid target: {_reasons(found) or 'there is none'}",
        hint=to_fetch(site)
        or "make one with: rollback checkpoint create NAME --seal, or name one with --to",
    )


def fallbacks(target: Target, seen: Iterable[Candidate]) -> tuple[Target, ...]:
    """What could be gone back to instead, in the order in which it would be tried."""
    others = (one.target() for one in seen if one.valid and one.id != target.id)
    return tuple(others)[:FALLBACKS_MAX]


def _looked(site: Site, source: Source, wish: Wish) -> tuple[Candidate, ...]:
    """The candidates of one declared source; one that cannot be asked is a reason, no error."""
    name, wanted = next((n, w) for n in SOURCES if (w := getattr(source, n)) is not None)
    try:
        return candidates(site, name, wanted, wish)
    except (RollbackError, OSError) as error:
        return (Candidate(name, wanted, wanted, "", False, why(error)),)


def _reasons(found: Iterable[Candidate]) -> str:
    return listed([f"{one.label}: {one.why_not}" for one in found])


def _named(site: Site, to: str, wish: Wish) -> tuple[Target, tuple[Candidate, ...]]:
    source, colon, wanted = to.partition(":")
    if not colon:
        source, wanted = ("checkpoint", to) if to in WORDS else ("", to)
    if source not in SOURCES:
        raise PlanError(
            f"{to!r} is not a target",
            hint=_meant(site, source, wanted)
            or "write --to checkpoint:ID, git:REF, git:/MESSAGE, phase:NAME, archive:PATH, "
            "last-good, newest or initial",
        )
    found = candidates(site, source, wanted, wish)
    valid = {one.id: one for one in reversed(found) if one.valid}
    if len(valid) > 1 and wanted not in WORDS:
        listed = ", ".join(f"{c.label} ({c.at[:10]})" for c in [*reversed(valid.values())][:3])
        more = f" and {len(valid) - 3} more" if len(valid) > 3 else ""
        raise SeveralFit(
            f"{to} fits {len(valid)}: {listed}{more}",
            choices=tuple(one.choice() for one in sized(site, found)),
            hint="name one of them, with --to",
        )  # fmt: skip
    if not valid:
        said = _reasons(found)
        hint = _said_in(site, wanted) if source == "git" and not found else ""
        raise PlanError(
            f"{to} is no valid target{': ' + said if said else ''}",
            hint=hint or "see what there is with: rollback checkpoint list, or rollback plan LEVEL",
        )
    return next(one for one in found if one.valid).target(), found


def _meant(site: Site, source: str, wanted: str) -> str:
    """What was meant by a target without its source, or with a misspelt one; "" where nobody can tell."""
    if source and (close := closest(source, SOURCES)):
        return f"did you mean {shlex.quote(f'{close}:{wanted}')}?"
    if source:
        return ""
    found = [f"checkpoint:{wanted}"] if _lists(site, wanted) else []
    found += [f"git:{wanted}"] if _refers(site, wanted) else []
    names = [one.name for one in site.checkpoints.list() if one.name]
    close = "" if found else closest(wanted, WORDS) or closest(wanted, names)
    if close:
        found = [close if close in WORDS else f"checkpoint:{close}"]
    return f"did you mean {' or '.join(map(shlex.quote, found))}?" if found else ""


def _lists(site: Site, wanted: str) -> bool:
    with suppress(RollbackError):
        return bool(site.checkpoints.get(wanted))
    return False


def _refers(site: Site, wanted: str) -> bool:
    """True for a tag, a branch or an id of the repository, if there is one."""
    if site.system.repository is None:
        return False
    with suppress(RollbackError, OSError):
        return bool(_commits(site, wanted))
    return False


def _commits(site: Site, wanted: str) -> tuple[Candidate, ...]:
    """By name; by message what begins with a slash, as git writes it too, or can be no name."""
    from rollback.keep.git import Repository  # libgit2 costs 30 ms; a flag needs none
    from rollback.keep.git_refs import may_be_name

    with Repository.open(site.system, site.host) as repository:
        said = wanted.removeprefix("/")
        if not said:
            return ()
        by_message = said != wanted
        found = () if by_message else repository.resolve(wanted)
        if not found and (by_message or not may_be_name(wanted)):
            found = repository.resolve(said, matching=True)
        return tuple(_commit(site, one) for one in found)


def _said_in(site: Site, wanted: str) -> str:
    """What to type where no tag or branch has that name and messages of commits hold it."""
    from rollback.keep.git import Repository

    count = 0
    with suppress(RollbackError, OSError), Repository.open(site.system, site.host) as repository:
        count = len(repository.resolve(wanted, matching=True)) if wanted else 0
    if not count:
        return ""
    return f"write {shlex.quote(f'git:/{wanted}')} for {counted(count, 'commit')} whose message says so"


def _commit(site: Site, one: git_refs.Candidate) -> Candidate:
    reasons = commit_why_not(site, one.commit, one.at) if one.valid else (one.why_not,)
    by_id = one.ref in ("", one.commit)
    label = f"{one.commit[:12]} {one.subject[:_SUBJECT_CHARS]}".strip() if by_id else one.ref
    return Candidate("git", one.commit, label, iso(one.at), not reasons, "; ".join(reasons))


def sized(site: Site, found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """The candidates, with how much of each commit differs from the head: of the first SIZED_MAX.

    For people who choose; who goes back by himself need not wait for it.
    """
    commits = [one.id for one in found if one.source == "git" and one.valid][:SIZED_MAX]
    if not commits:
        return found
    from rollback.keep.git import Repository

    sizes: dict[str, int] = {}
    with suppress(RollbackError, OSError), Repository.open(site.system, site.host) as repository:
        for commit in commits:
            with suppress(RollbackError):  # a tree that lacks something is refused when planned
                sizes[commit] = repository.differs_bytes(commit)
    return tuple(replace(one, size_bytes=sizes.get(one.id, one.size_bytes)) for one in found)


def _checkpoints(site: Site, source: str, wanted: str, wish: Wish) -> tuple[Candidate, ...]:
    kept, looked = site.checkpoints, partial(_candidate, site, alone=wish.alone, needed=wish.needed)
    if source == "checkpoint" and wanted not in WORDS:
        return (looked(kept.get(wanted)),)
    listed = kept.list()
    if source == "phase":
        found = [one for one in listed if one.name == wanted or one.name.startswith(f"{wanted}-")]
        return tuple(looked(one) for one in found)
    # what a run kept, before it went back or between two steps, is no state to go back to unasked
    between = of_runs(site)
    found = [one for one in listed if one.kind != "safety" and one.id not in between]
    if wanted == "last-good":
        return _last_good_first(site, found, wish)
    if wanted == "initial":
        found.reverse()
    return tuple(looked(one) for one in found)


def _last_good_first(site: Site, found: list[Checkpoint], wish: Wish) -> tuple[Candidate, ...]:
    """The last good one, and what could be gone back to instead: proved ones, then newer ones."""
    best = last_good(site, wish)
    rest = [one for one in found if best is None or one.id != best.id][:OLDER_MAX]
    known = seals(site)
    looked = partial(_candidate, site, alone=wish.alone, needed=wish.needed)
    told = {one.id: colour(known, one, wish.may_be_red) for one in rest}
    others = [looked(one, bad="its suites were red" if told[one.id] == "red"
                     else "; ".join(one.damage))
              for one in sorted(rest, key=lambda one: told[one.id] != "green")]  # fmt: skip
    return (*([looked(best)] if best is not None else []), *others)


def last_good(site: Site, wish: Wish = ANY) -> Checkpoint | None:
    """The newest that the suites proved; where none is sealed, the newest that nobody proved bad.

    It holds the components that are needed. Where each is refused, the newest: so it is said why.
    """
    kept = site.checkpoints
    between = of_runs(site)
    for wanted in ("green", "unsealed"):
        found = kept.last_good(partial(_is, site, wanted, between, wish))
        if found:
            return found
    return kept.last_good(lambda one: sealed_as(site, one, wish.may_be_red) != "red"
                          and one.id not in between)  # fmt: skip


def _is(site: Site, wanted: str, between: frozenset[str], wish: Wish, found: Checkpoint) -> bool:
    holds = set(wish.needed) <= set(found.parts) and found.id not in between
    told = sealed_as(site, found, wish.may_be_red) if holds else ""
    return told == wanted and not why_not(site, found, needed=wish.needed)


def needed_by(
    system: System, level: Level | Procedure, chosen: str = "", variant: str = ""
) -> tuple[str, ...]:
    """The components that the level takes from its target; what is only added to is none."""
    names = [chosen if (name := str(getattr(step, "component", ""))) == "chosen" else name
             for step in level.steps if getattr(step, "from_", "") == "target"
             and getattr(step, "variant", None) in (None, variant)]  # fmt: skip
    known = system.components
    return tuple(name for name in names if name in known
                 and known[name].content != "append-only")  # fmt: skip


def _archives(site: Site, wanted: str, needed: tuple[str, ...]) -> tuple[Candidate, ...]:
    """Newest first; those older than the first whole one are not read."""
    from rollback.act import archives  # tar and gzip: a flag needs none

    found: list[Candidate] = []
    try:
        listed = archives.matching(site.system, site.host, wanted)
    except (PlanError, HostError) as error:
        return (Candidate("archive", wanted, wanted, "", False, str(error)),)
    for path, at_s, size in listed:
        told = os.path.basename(path)
        at = iso(datetime.fromtimestamp(at_s, UTC))
        if any(one.valid for one in found):
            newer = next(one.label for one in found if one.valid)
            why = f"{newer} is newer and whole"
            found.append(Candidate("archive", path, told, at, False, why, size))
            continue
        read = archives.seen(site.system, site.host, path, site.progress)
        why = read if isinstance(read, str) else archives.why_not(site.system, read, needed)
        digest = "" if isinstance(read, str) else read.digest
        found.append(Candidate("archive", f"{digest}:{path}", told, at, not why, why, size))
    return tuple(found)


def _candidate(
    site: Site, found: Checkpoint, *, alone: bool, needed: tuple[str, ...], bad: str = ""
) -> Candidate:
    """`bad` is one more reason against it."""
    label = found.name or found.id[:12]
    reasons = [*found.problems, *why_not(site, found, alone=alone, needed=needed)]
    if found.state != "whole":
        reasons.append(f"it is {found.state}: {listed(found.missing, between=', ')}")
    lacking = [name for name in needed if name not in found.parts]
    if lacking and found.parts:
        reasons.append(f"it does not hold {', '.join(lacking)}")
    reasons += [bad] if bad else []
    return Candidate(
        "checkpoint", found.id, label, found.at, found.target and not reasons, "; ".join(reasons),
        found.size_bytes,
    )  # fmt: skip
