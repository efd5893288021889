"""Approvals given beforehand: given, taken back, and counted as they are used, in the journal.

Hides: how uses are counted: a run that used one keeps it.
Never: gives one where the level does not declare that it takes such.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from rollback.act import asked
from rollback.act.plan import Plan, find_level
from rollback.act.site import Site
from rollback.host.clock import iso, parse_iso
from rollback.host.signing import sign, verified
from rollback.judge import beforehand as judge
from rollback.judge.authority import Approval, member
from rollback.judge.beforehand import Grant
from rollback.model.errors import NotAuthorized, PlanError
from rollback.model.lifecycle import Run
from rollback.model.people import Authority

CALLED_WITHIN = timedelta(hours=24)  # as the climb: an older decision calls for nothing now


@dataclass(frozen=True, slots=True)
class Listed:
    """One that was given, how often runs used it, and why it counts for nothing ("": it counts)."""

    grant: Grant
    used: int
    why_not: str


def give(
    site: Site, level: str, *, person: str, uses: int, valid_for: timedelta, key: str, note: str = "",
) -> Grant:  # fmt: skip
    """The person's yes to coming runs of the level is in the journal, signed.

    Raises: PlanError, NotAuthorized when it would count for nothing; then it is not recorded.
    """
    site.trusted()
    name, _ = find_level(site, level)
    now = asked.now(site)
    grant = Grant(
        level=name, policy=site.in_force.authority_digest, host=platform.node(), person=person,
        nonce=site.host.token(), uses=uses, given=iso(now), expires=iso(now + valid_for), note=note,
    )  # fmt: skip
    if not key:
        raise NotAuthorized(
            "an approval beforehand is always signed",
            hint=f"rollback approval standing {name} --as {person} --key FILE",
        )
    signature = sign(grant.signed_bytes(), key, namespace=judge.NAMESPACE)
    grant = replace(grant, signature=signature)
    why = _why_not(site, grant, _authority(site, name), name, used=0)
    if why:
        raise NotAuthorized(
            why, where=name, hint="what it may be is declared: authority: {standing: …}"
        )
    site.tell("standing.given", run="", **grant.as_json())
    return grant


def withdraw(site: Site, nonce: str, *, by: str) -> Grant:
    """It counts for nothing any more. Raises: PlanError when there is none that begins so."""
    found = [one.grant for one in listed(site) if nonce and one.grant.nonce.startswith(nonce)]
    if len(found) != 1:
        raise PlanError(
            f"there is no single approval beforehand that begins with {nonce!r}",
            hint="rollback approval list",
        )
    site.tell("standing.withdrawn", nonce=found[0].nonce, by=by)
    return found[0]


def listed(site: Site) -> tuple[Listed, ...]:
    """Every one that was given and not taken back, oldest first."""
    return tuple(
        Listed(one, used, _why_not(site, one, _authority(site, one.level), one.level, used=used))
        for one in _given(site)
        for used in (len(_runs_of(site, one)),)
    )


def good(site: Site, run: Run, plan: Plan, authority: Authority) -> tuple[Approval, ...]:
    """What those say to this run that count for it."""
    if authority.standing is None or plan.undoes or not _called(site, plan, authority):
        return ()
    return tuple(
        one.approval(run=run.id, plan=run.plan_digest)
        for one in _given(site)
        if not _why_not(site, one, authority, plan.level, used=len(_runs_of(site, one) - {run.id}))
    )


def use(site: Site, run: Run, approval: Approval) -> Run:
    """That a run used it is in the journal, once."""
    grant = next(one for one in _given(site) if one.nonce == approval.nonce)
    before = _runs_of(site, grant)
    if run.id in before:
        return run
    return site.note(
        run, "standing.used", nonce=grant.nonce, person=grant.person, use=len(before) + 1,
        of=grant.uses,
    )  # fmt: skip


def is_one(site: Site, approval: Approval) -> bool:
    """True when the approval is what one given beforehand says."""
    return any(one.nonce == approval.nonce for one in _given(site))


def _given(site: Site) -> Iterator[Grant]:
    events = site.journal.events()
    gone = {event.data.get("nonce") for event in events if event.kind == "standing.withdrawn"}
    for event in events:
        if event.kind == "standing.given" and event.data.get("nonce") not in gone:
            try:
                yield judge.read(event.data)
            except ValueError:
                continue  # written by hand into a state directory: it counts for nothing


def _runs_of(site: Site, grant: Grant) -> set[str]:
    return {
        event.run for event in site.journal.events()
        if event.kind == "standing.used" and event.data.get("nonce") == grant.nonce
    }  # fmt: skip


def _authority(site: Site, level: str) -> Authority:
    try:
        _, found = find_level(site, level)
    except PlanError:
        return Authority(roles=(site.in_force.people.owner,))  # the level is gone
    return found.authority or Authority(roles=(site.in_force.people.owner,))


def _why_not(site: Site, grant: Grant, authority: Authority, level: str, *, used: int) -> str:
    holder = member(site.in_force.people, grant.person)
    signed = bool(
        holder and holder.key and grant.signature
        and verified(grant.signed_bytes(), grant.signature, holder.key, grant.person,
                     namespace=judge.NAMESPACE)
    )  # fmt: skip
    return judge.why_not(
        grant, authority, site.in_force.people, level=level,
        policy=site.in_force.authority_digest, host=platform.node(), now=asked.now(site), used=used,
        verified=signed,
    )  # fmt: skip


def _called(site: Site, plan: Plan, authority: Authority) -> bool:
    """True when the newest decision calls for the level by a trigger that it is given for."""
    terms = authority.standing
    if terms is None or not terms.triggers:
        return terms is not None
    taken = [event for event in site.journal.events() if event.kind == "decision.taken"]
    if not taken or parse_iso(taken[-1].at) < site.host.clock.now() - CALLED_WITHIN:
        return False
    last = taken[-1].data
    return last.get("level") == plan.level and last.get("trigger") in terms.triggers
