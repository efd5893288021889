"""Overrulings of reasons against going back: given, taken back, and those that count now.

Hides: how they stand in the journal.
Never: believes one that its person may not give, or that nobody signed who has a key.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from shlex import quote

from rollback.act import asked
from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.host.signing import sign, verified
from rollback.judge import overruling as judge
from rollback.judge.authority import member
from rollback.judge.overruling import Overruling
from rollback.model.errors import NotAuthorized, PlanError
from rollback.model.policy import Filter
from rollback.model.registry import nearest

GIVEN, WITHDRAWN = "filter.overruled", "overruling.withdrawn"


@dataclass(frozen=True, slots=True)
class Listed:
    """One that was given and not taken back, and why it counts for nothing ("": it counts)."""

    overruling: Overruling
    why_not: str


def overrule(
    site: Site, filter_: str, *, person: str, note: str, valid_for: timedelta, key: str = ""
) -> Overruling:
    """The person's word against the filter is in the journal, signed when a key is given.

    Raises: PlanError when there is no such filter; NotAuthorized when it would count for nothing: then
    it is not recorded.
    """
    site.trusted()
    declared = _declared(site, filter_)
    if declared is None:
        known = [
            one.id for one in site.in_force.decision.filters if one.answer == "not-appropriate"
        ]
        raise PlanError(f"no reason against going back is called {filter_}",
                        hint=nearest(filter_, known) or "see: rollback decide")  # fmt: skip
    now = asked.now(site)
    one = Overruling(
        filter=filter_, policy=site.in_force.authority_digest, host=platform.node(), person=person,
        nonce=site.host.token(), given=iso(now), expires=iso(now + valid_for), note=note,
    )  # fmt: skip
    holder = member(site.in_force.people, person)
    if key:
        one = replace(one, signature=sign(one.signed_bytes(), key, namespace=judge.NAMESPACE))
    why = _why_not(site, one)
    if why:
        again = (
            f"rollback approval overrule {filter_} --as {person} --note {quote(note)} --key FILE"
        )
        unsigned = bool(holder and holder.key and not key)
        hint = again if unsigned else f"it is for: {', '.join(declared.overridden_by) or 'nobody'}"
        raise NotAuthorized(why, where=f"decision.filters.{filter_}", hint=hint)
    site.tell(GIVEN, run="", **one.as_json())
    return one


def withdraw(site: Site, nonce: str, *, by: str) -> Overruling | None:
    """The only one that begins so counts for nothing any more; None when there is none."""
    found = [one for one in _given(site) if nonce and one.nonce.startswith(nonce)]
    if len(found) != 1:
        return None
    site.tell(WITHDRAWN, nonce=found[0].nonce, by=by)
    return found[0]


def listed(site: Site) -> tuple[Listed, ...]:
    """Every one that was given and not taken back, oldest first."""
    return tuple(Listed(one, _why_not(site, one)) for one in _given(site))


def counting(site: Site) -> dict[str, str]:
    """The filters that are overruled now, with who did it and why, in words; the last word counts."""
    if not any(one.overridden_by for one in site.in_force.decision.filters):
        return {}
    found: dict[str, str] = {}
    for one in _given(site):
        declared = _declared(site, one.filter)
        if declared is not None and not _why_not(site, one):
            found[one.filter] = one.said(site.in_force.people, declared)
    return found


def _declared(site: Site, name: str) -> Filter | None:
    return next((one for one in site.in_force.decision.filters if one.id == name), None)


def _given(site: Site) -> Iterator[Overruling]:
    events = site.journal.events()
    gone = {event.data.get("nonce") for event in events if event.kind == WITHDRAWN}
    for event in events:
        if event.kind == GIVEN and event.data.get("nonce") not in gone:
            try:
                yield judge.read(event.data)
            except ValueError:
                continue  # written by hand into a state directory: it counts for nothing


def _why_not(site: Site, one: Overruling) -> str:
    """What can be told without asking a program comes first: most of them have expired long ago."""
    people = site.in_force.people
    holder = member(people, one.person)

    def asked_with(*, verified: bool) -> str:
        return judge.why_not(
            one, _declared(site, one.filter), people, policy=site.in_force.authority_digest,
            host=platform.node(), now=asked.now(site), verified=verified,
        )  # fmt: skip

    why = asked_with(verified=True)
    if why or not (holder and holder.key):
        return why or asked_with(verified=False)
    return asked_with(verified=bool(one.signature) and verified(
        one.signed_bytes(), one.signature, holder.key, one.person, namespace=judge.NAMESPACE
    ))  # fmt: skip
