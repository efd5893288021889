"""Where to go back to: the candidates of a level's sources, and the one that is taken.

Hides: how `--to` is spelled.
Never: takes a target that is not valid, or silently one of several that a person asked for.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from rollback.act.acceptable import commit_why_not, why_not
from rollback.act.scene import Target
from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.model.errors import HostError, ObjectCorrupt, PlanError
from rollback.model.level import Level, Procedure

if TYPE_CHECKING:
    from rollback.keep import git_refs
    from rollback.keep.checkpoint import Checkpoint

WORDS = ("last-good", "newest", "initial")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that could be gone back to. Units: `size_bytes` stored, None where unknown."""

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


def candidates(
    site: Site, source: str, wanted: str, *, alone: bool = False, needed: tuple[str, ...] = ()
) -> tuple[Candidate, ...]:
    """Everything of one source that `wanted` may mean, newest first, valid or not.

    `source` is checkpoint, git, phase or archive; `wanted` a word, a name, an id or a pattern;
    `alone` that one component goes back on purpose; `needed` are the components that an archive has
    to hold.
    """
    if source == "git":
        return _commits(site, wanted)
    if source in ("checkpoint", "phase"):
        return _checkpoints(site, source, wanted, alone=alone)
    if source == "archive":
        return _archives(site, wanted, needed)
    raise PlanError(
        f"targets of source {source} are not built yet", hint="use --to checkpoint:ID or git:REF"
    )


def choose(
    site: Site, level: Level | Procedure, to: str, component: str = ""
) -> tuple[Target, tuple[Candidate, ...]]:
    """The target, and every candidate that was looked at; `component` goes back alone.

    With `to` a person named it: several that fit are an error that lists them. Without, the
    level's sources are tried in order and the newest valid candidate of the first that has one is
    taken. Raises: PlanError.
    """
    declared = getattr(level, "target", None)
    needed = _needed(site, level, component)
    if to:
        return _named(site, to, alone=bool(component), needed=needed)
    if declared is None:
        return Target(), ()
    seen: list[Candidate] = []
    for source in declared.sources:
        for name in ("checkpoint", "git", "phase", "archive"):
            wanted = getattr(source, name)
            if wanted is None:
                continue
            found = candidates(site, name, wanted, alone=bool(component), needed=needed)
            seen += found
            for candidate in found:
                if candidate.valid:
                    return candidate.target(), tuple(seen)
    reasons = "; ".join(f"{c.label}: {c.why_not}" for c in seen[:3]) or "there is none"
    raise PlanError(
        f"no valid target: {reasons}",
        hint="make one with: rollback checkpoint create NAME --seal, or name one with --to",
    )


def _named(
    site: Site, to: str, *, alone: bool, needed: tuple[str, ...]
) -> tuple[Target, tuple[Candidate, ...]]:
    source, colon, wanted = to.partition(":")
    if not colon:
        source, wanted = ("checkpoint", to) if to in WORDS else ("", to)
    if source not in ("checkpoint", "git", "phase", "archive"):
        raise PlanError(
            f"{to!r} is not a target",
            hint="write --to checkpoint:ID, git:REF, phase:NAME, archive:PATH, last-good, newest "
            "or initial",
        )
    found = candidates(site, source, wanted, alone=alone, needed=needed)
    valid = [candidate for candidate in found if candidate.valid]
    if len(valid) > 1 and wanted not in WORDS:
        listed = ", ".join(f"{c.label} ({c.at[:10]})" for c in valid[:5])
        raise PlanError(f"{to} fits {len(valid)}: {listed}", hint="name one of them")
    if not valid:
        reasons = "; ".join(f"{c.label}: {c.why_not}" for c in found[:3])
        raise PlanError(
            f"{to} is no valid target{': ' + reasons if reasons else ''}",
            hint="see what there is with: rollback checkpoint list, or rollback plan LEVEL",
        )
    return valid[0].target(), found


def _commits(site: Site, wanted: str) -> tuple[Candidate, ...]:
    from rollback.keep.git import Repository  # libgit2 costs 30 ms; a flag needs none

    with Repository.open(site.system, site.host) as repository:
        return tuple(
            _commit(site, one) for one in repository.resolve(wanted)
        )  # fmt: skip


def _commit(site: Site, one: git_refs.Candidate) -> Candidate:
    reasons = commit_why_not(site, one.commit, one.at) if one.valid else (one.why_not,)
    return Candidate("git", one.commit, one.ref or one.commit[:12], iso(one.at), not reasons,
                     "; ".join(reasons))  # fmt: skip


def _checkpoints(
    site: Site, source: str, wanted: str, *, alone: bool = False
) -> tuple[Candidate, ...]:
    kept = site.checkpoints
    listed = kept.list()
    # what a run kept of the present before it went back is no state to go back to unasked
    found = [one for one in listed if one.kind != "safety"]
    if source == "phase":
        found = [one for one in listed if one.name == wanted or one.name.startswith(f"{wanted}-")]
    elif wanted == "last-good":
        good = last_good(site)
        found = [good] if good else []
    elif wanted == "initial":
        found = list(reversed(found))
    elif wanted != "newest":
        found = [kept.get(wanted)]
    return tuple(_candidate(site, one, alone=alone) for one in found)


def last_good(site: Site) -> Checkpoint | None:
    """The newest that the suites proved; where none is sealed, the newest that nobody proved bad.

    Where each of them is refused, the newest, so that it is said why.
    """
    kept = site.checkpoints
    for wanted in ("green", "unsealed"):
        found = kept.last_good(partial(_is, site, wanted))
        if found:
            return found
    return kept.last_good(lambda one: sealed_as(site, one) != "red")


def _is(site: Site, wanted: str, found: Checkpoint) -> bool:
    return sealed_as(site, found) == wanted and not why_not(site, found)


def sealed_as(site: Site, found: Checkpoint) -> str:
    """How the newest seal of a checkpoint came out: green, red, or unsealed."""
    from rollback.prove import seal

    try:
        sealed = seal.newest(site.state.tree, {"checkpoint": found.id})
    except ObjectCorrupt:
        return "red"
    if sealed is None:
        return "unsealed"
    green = bool(sealed.findings) and all(x.answer == "pass" for x in sealed.findings.values())
    return "green" if green else "red"


def _needed(site: Site, level: Level | Procedure, chosen: str) -> tuple[str, ...]:
    """The components that the level takes from its target; what is only added to is none."""
    names = [chosen if (name := str(getattr(step, "component", ""))) == "chosen" else name
             for step in level.steps if getattr(step, "from_", "") == "target"]  # fmt: skip
    known = site.system.components
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


def _candidate(site: Site, found: Checkpoint, *, alone: bool) -> Candidate:
    label = found.name or found.id[:12]
    reasons = [*found.problems, *why_not(site, found, alone=alone)]
    if found.state != "whole":
        reasons.append(f"it is {found.state}: " + ", ".join(found.missing[:3]))
    return Candidate(
        "checkpoint", found.id, label, found.at, found.target and not reasons, "; ".join(reasons),
        found.size_bytes,
    )  # fmt: skip
