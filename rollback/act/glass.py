"""Breaking the glass: one named person starts a run alone, loudly, and others look at it afterwards.

It takes the place of approvals, and of the guardrails of time and of people. It takes the place of
nothing that keeps data whole, and not of a no.

Hides: what is signed by those who look at it.
Never: is there where the declaration names nobody for it (`people: {break_glass: …}`).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import timedelta
from shlex import quote

from rollback.act import asked
from rollback.act.site import Site
from rollback.host.clock import iso, parse_iso
from rollback.host.signing import sign, verified
from rollback.judge.authority import member
from rollback.model.errors import NotAuthorized, PlanError
from rollback.model.event import canonical
from rollback.model.lifecycle import Run
from rollback.model.people import BreakGlass

NAMESPACE = "rollback-review-v1"


@dataclass(frozen=True, slots=True)
class Broken:
    """A run whose glass was broken, by whom and why, and until when others should have looked."""

    run: str
    by: str
    reason: str
    at: str
    review_by: str


def may_break(site: Site, person: str, reason: str) -> BreakGlass:
    """What is declared of it, when this person may. Raises: NotAuthorized."""
    declared = site.in_force.people.break_glass
    if declared is None:
        raise NotAuthorized(
            "there is no glass to break: nobody is named for it",
            hint="wait for the approvals; people: {break_glass: …} would name somebody",
        )
    holder = member(site.in_force.people, person)
    if holder is None or not set(holder.roles) & set(declared.roles):
        raise NotAuthorized(
            f"{person} may not break the glass", hint=f"it is for: {', '.join(declared.roles)}"
        )
    if not reason.strip():
        raise NotAuthorized("breaking the glass needs a reason", hint="add why: --reason WHY")
    return declared


def broken(site: Site, run: Run, *, by: str, reason: str) -> Run:
    """That it was broken is in the journal, once."""
    declared = site.in_force.people.break_glass
    if "glass.broken" in run.moments or declared is None:
        return run
    until = asked.now(site) + timedelta(seconds=declared.review_within)
    return site.note(run, "glass.broken", by=by, reason=reason, review_by=iso(until))


def unreviewed(site: Site) -> tuple[Broken, ...]:
    """Every broken glass that nobody has looked at, oldest first."""
    found: dict[str, Broken] = {}
    for event in site.journal.events():
        if event.kind == "glass.broken":
            said = {name: str(event.data.get(name)) for name in ("by", "reason", "review_by")}
            found[event.run] = Broken(run=event.run, at=event.at, **said)
        elif event.kind == "glass.reviewed":
            found.pop(event.run, None)
    return tuple(found.values())


def overdue(site: Site, one: Broken) -> bool:
    """True when others should have looked by now."""
    return asked.now(site) >= parse_iso(one.review_by)


def may_review(site: Site, one: Broken) -> tuple[str, ...]:
    """The people who are to look at it."""
    roles = set(_reviewing(site))
    members = site.in_force.people.members
    return tuple(who.id for who in members if set(who.roles) & roles and who.id != one.by)


def _reviewing(site: Site) -> tuple[str, ...]:
    declared = site.in_force.people.break_glass
    return declared.review if declared else (site.in_force.people.owner,)


def review(site: Site, run: Run, *, person: str, note: str, key: str = "") -> Run:
    """Somebody else has looked at the run whose glass was broken, and says what he found.

    Raises: PlanError when there is nothing to look at; NotAuthorized.
    """
    one = next((one for one in unreviewed(site) if one.run == run.id), None)
    if one is None:
        raise PlanError(f"run {run.id} has no broken glass that is to be looked at",
                        hint="rollback status lists them")  # fmt: skip
    holder, roles = member(site.in_force.people, person), _reviewing(site)
    if holder is None or not set(holder.roles) & set(roles):
        raise NotAuthorized(f"{person} may not review it", hint=f"it is for: {', '.join(roles)}")
    if person == one.by:
        raise NotAuthorized(f"{person} broke the glass, so somebody else has to look at it")
    if not note.strip():
        raise NotAuthorized("a review says what was found", hint="add it: --note TEXT")
    signature = ""
    if holder.key:
        if not key:
            raise NotAuthorized(f"{person} has a declared key, so the review must be signed with it",
                                hint=f"rollback review {run.id} --as {person} --key FILE "
                                f"--note {quote(note)}")  # fmt: skip
        said = canonical({"run": run.id, "plan": run.plan_digest, "host": platform.node(),
                          "by": person, "note": note})  # fmt: skip
        signature = sign(said, key, namespace=NAMESPACE)
        if not verified(said, signature, holder.key, person, namespace=NAMESPACE):
            raise NotAuthorized(f"the key is not the one declared for {person}", where=key)
    return site.note(run, "glass.reviewed", by=person, note=note, signature=signature)
