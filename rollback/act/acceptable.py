"""Why a target is refused although it is whole: revoked, below the security floor, a mixture.

The floor is part of the policy that people have trusted, so it is the one in force that counts,
not the one of the plan.

Hides: how a commit is compared with the floor.
Never: refuses the way back of a run to its own safety checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rollback.act.site import Site
from rollback.host.below import why
from rollback.keep.head import repository_at
from rollback.model.errors import RollbackError
from rollback.model.people import SecurityFloor

if TYPE_CHECKING:
    from rollback.keep.checkpoint import Checkpoint


def why_not(
    site: Site, found: Checkpoint, *, alone: bool = False, needed: Iterable[str] = ()
) -> tuple[str, ...]:
    """Every reason against a checkpoint as a target; `alone`: of one component, on purpose.

    `needed` are the components that would be put back.
    """
    reasons = [found.revoked] if found.revoked else []
    reasons += _not_there(site, found, needed)
    floor = site.in_force.guardrails.security_floor
    if floor is not None:
        reasons += _below(site, floor, found.at, _commits(site, found))
    mixed = "" if alone or reasons else mixture(site, found)
    return (*reasons, mixed) if mixed else tuple(reasons)


def _not_there(site: Site, found: Checkpoint, needed: Iterable[str]) -> Iterator[str]:
    """The components that are there now and were not then: going back would take each away whole.

    One whose declared `initial` is `empty` may come and go.
    """
    for name in sorted(set(needed) & set(found.absent)):
        component = site.system.components.get(name)
        if component is None or component.initial == "empty":
            continue
        there = os.path.lexists(site.system.root_path / component.path)
        if there or component.content == "postgres":
            yield f"{name} was not there then, and would be taken away"


def commit_why_not(site: Site, commit: str, at: datetime) -> tuple[str, ...]:
    """Every reason against a commit as a target."""
    floor = site.in_force.guardrails.security_floor
    return tuple(_below(site, floor, at.isoformat(), {commit})) if floor is not None else ()


def mixture(site: Site, found: Checkpoint) -> str:
    """How its components are of different releases; empty when they are of one."""
    commits: dict[bytes, dict[str, str]] = {}
    with site.host.tree(str(site.system.root_path)) as root:
        for name, commit in _heads(site, found):
            component = site.system.components.get(name)
            if component is None:
                continue
            where = repository_at(root, os.fsencode(component.path))
            if where is not None:
                commits.setdefault(where, {})[name] = commit
    for heads in commits.values():
        if len(set(heads.values())) > 1:
            said = ", ".join(f"{name} of {commit[:12]}" for name, commit in sorted(heads.items()))
            return f"it is a mixture of releases: {said}"
    return ""


def _heads(site: Site, found: Checkpoint) -> Iterator[tuple[str, str]]:
    """The commit that each component was captured at."""
    for name, part in found.parts.items():
        if part.content != "git":
            continue
        try:
            head = site.checkpoints.load(part.manifest, name).meta.get("head")
        except RollbackError:
            continue  # it is no target anyhow, and that is said elsewhere
        if isinstance(head, dict):
            yield name, str(head.get("commit"))


def _commits(site: Site, found: Checkpoint) -> set[str]:
    """The commits that its files are of."""
    return {commit for _, commit in _heads(site, found)} or set(found.heads.values())


def _below(site: Site, floor: SecurityFloor, at: str, commits: set[str]) -> Iterator[str]:
    said = f"it is below the security floor ({floor.reason})"
    if floor.not_before is not None and _moment(at) < _moment(floor.not_before):
        yield f"{said}: of {at[:16]}, and nothing before {floor.not_before} is gone back to"
    elif floor.commit is not None:
        missing = _without(site, floor.commit, commits)
        if missing:
            yield f"{said}: {missing}"


def _without(site: Site, wanted: str, commits: set[str]) -> str:
    """Why the floor's commit is not known to be in all of them; empty when it is."""
    from rollback.keep.git import Repository  # libgit2 costs 30 ms; a flag needs none

    if not commits:
        return f"which commit it is of is not known, and {wanted} must be in it"
    try:
        with Repository.open(site.system, site.host) as repository:
            lacking = [one for one in sorted(commits) if not repository.holds(one, wanted)]
    except (RollbackError, OSError) as error:
        return f"whether {wanted} is in it cannot be asked: {why(error)}"
    return f"{wanted} is not in commit {lacking[0][:12]}" if lacking else ""


def _moment(written: str) -> datetime:
    found = datetime.fromisoformat(written)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
