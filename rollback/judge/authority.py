"""Who has said yes, and whether that is enough: approvals against the authority of a level.

An approval is signed over the run, the plan, the machine, the policy and an expiry, so that it is
good for exactly one thing. Where no keys are declared it is recorded as unauthenticated, and no
quorum above one can be reached with it.

Hides: how people are counted.
Never: reads a clock or a key file; both are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from rollback.judge.hours import is_open
from rollback.model.event import canonical
from rollback.model.finding import Json
from rollback.model.people import Authority, Member, People

NAMESPACE = "rollback-approval-v1"
GLASS = "break the glass"  # the answer that stands for all approvals
VALID_FOR_S = 4 * 3600.0  # the longest urgency that the declared systems ask for (PM-18)


class Signed:
    """What a person says and signs: every field but `signature`, which is one of them."""

    __slots__: tuple[str, ...] = ()

    def signed_bytes(self) -> bytes:
        """Exactly what the signature covers."""
        return canonical({name: one for name, one in self.as_json().items() if name != "signature"})

    def as_json(self) -> dict[str, Json]:
        """For the journal and for files that travel."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Approval(Signed):
    """One person's yes, about one plan. `signature` is "" when unauthenticated."""

    run: str
    plan: str
    host: str
    policy: str
    person: str
    nonce: str
    given: str
    expires: str
    answer: str = "yes"
    note: str = ""
    signature: str = ""


def read(data: Mapping[str, object]) -> Approval:
    """The approval in journal data or a file. Raises: ValueError."""
    names = Approval.__slots__
    if set(data) != set(names) or not all(isinstance(value, str) for value in data.values()):
        raise ValueError("not an approval: it has other fields")
    return Approval(**{name: str(data[name]) for name in names})


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the run may start: `missing` says what for, "" when nothing is missing.

    `lacking` is how many more people have to say yes.
    """

    missing: str
    used: tuple[Approval, ...] = ()
    denied: str = ""
    lacking: int = 0

    @property
    def enough(self) -> bool:
        """True when the run may start."""
        return not self.missing and not self.denied


def member(people: People, person: str) -> Member | None:
    """The declared person of that id."""
    return next((found for found in people.members if found.id == person), None)


def invalid(
    approval: Approval, *, people: People, plan: str, run: str, host: str, policy: str, now: datetime,
    verified: bool,
) -> str:  # fmt: skip
    """Why this approval counts for nothing; "" when it counts.

    `verified` is the answer of the signature check, False where there is no signature.
    """
    found = member(people, approval.person)
    if found is None:
        return f"{approval.person} is not one of the declared people"
    if approval.answer not in ("yes", "no", GLASS):
        return f"{approval.person}'s answer is neither yes nor no"
    wanted = {"run": run, "plan": plan, "host": host, "policy": policy}
    for name, value in wanted.items():
        if getattr(approval, name) != value:
            return f"{approval.person}'s approval is for another {name}"
    why = _out_of_time(approval, now)
    if why:
        return f"{approval.person}'s approval {why}"
    if found.key and not verified:
        return f"{approval.person}'s approval is not signed with the declared key"
    if approval.signature and not verified:
        return f"{approval.person}'s signature does not verify"
    return ""


def _out_of_time(approval: Approval, now: datetime) -> str:
    try:
        given, expires = (_moment(text) for text in (approval.given, approval.expires))
    except ValueError:
        return "bears a time that cannot be read"
    if given > now:
        return "is dated in the future"
    if expires <= now:
        return "has expired"
    if (expires - given).total_seconds() > VALID_FOR_S:
        return f"would be good for longer than {VALID_FOR_S / 3600:g} h"
    return ""


def standing(
    authority: Authority, people: People, approvals: Iterable[Approval], *, requester: str,
    reachable: Iterable[str] = (), alone: Iterable[str] = (), glass: str = "",
) -> Standing:  # fmt: skip
    """Whether these valid approvals are enough.

    `reachable` are the roles of an ordered authority that may answer by now; the first always may.
    Who holds one of `alone` says yes for everybody, to his own run too. Who breaks the glass does
    as well; a run that was begun past guardrails by `glass` rests on that person's word alone.
    Shape: approvals: any order; a person counts once, for the first role that still needs one.
    """
    by_person: dict[str, Approval] = {}
    for approval in approvals:
        by_person[approval.person] = approval
    asked = {*authority.roles, *alone}
    for approval in by_person.values():
        holder = member(people, approval.person)
        if approval.answer == "no" and holder and set(holder.roles) & asked:
            return Standing(
                "", (), f"{approval.person} said no: {approval.note or 'no reason given'}"
            )
    breakers = set(people.break_glass.roles) if people.break_glass else set()
    for approval in by_person.values():
        holder = member(people, approval.person)
        if approval.answer == GLASS and holder and set(holder.roles) & breakers:
            return Standing("", (approval,))
    if glass:
        return Standing(f"the word of {glass}, who breaks the glass", lacking=1)
    for approval in by_person.values():
        holder = member(people, approval.person)
        if approval.answer == "yes" and holder and set(holder.roles) & set(alone):
            return Standing("", (approval,))
    counted: list[tuple[Approval, tuple[str, ...]]] = []
    keys: set[str] = set()
    for person, approval in by_person.items():
        holder = member(people, person)
        if holder is None or approval.answer != "yes":
            continue
        if person == requester and not authority.alone:
            continue
        key = " ".join((holder.key or "").split()[:2])  # what follows is a remark
        if key and key in keys:
            continue  # one hand under two names
        keys.add(key)
        roles = tuple(role for role in holder.roles if role in authority.roles)
        if roles:
            counted.append((approval, roles))
    return _count(authority, counted, tuple(reachable))


def would_say(person: Member, *, at: str) -> Approval:
    """A yes that this person could give, to see what it would change; it is good for nothing."""
    key = "as if" if person.key else ""
    return Approval("", "", "", "", person.id, "", given=at, expires=at, signature=key)


def never_enough(authority: Authority, people: People, *, requester: str = "") -> tuple[str, str]:
    """Why a run could not begin even if everybody said yes, and what to declare; both "" when it could.

    Everybody but `requester` could say yes, where there is one.
    """
    holders = [one for one in people.members if set(one.roles) & set(authority.roles)]
    if authority.alone and holders:
        return "", ""

    def missing(members: Iterable[Member]) -> str:
        yes = [would_say(one, at="") for one in members]
        return standing(
            authority, people, yes, requester=requester, reachable=authority.roles
        ).missing

    lacks = missing(people.members)
    if not lacks:
        return "", ""
    said, bare = (
        f"not enough even if everybody says yes: {lacks}",
        [o for o in holders if not o.key],
    )
    if bare and not missing(one.model_copy(update={"key": one.key or "any"}) for one in holders):
        return said, (f"give {', '.join(one.id for one in bare)} a key under people: members: "
                      "[{id: …, key: \"ssh-ed25519 …\"}], as `ssh-keygen -t ed25519` makes one")  # fmt: skip
    return said, "give the role to more people under people: members:"


def _count(
    authority: Authority,
    counted: list[tuple[Approval, tuple[str, ...]]],
    reachable: tuple[str, ...],
) -> Standing:
    needed = len(authority.roles) if authority.quorum == "all" else authority.count
    signed = [(approval, roles) for approval, roles in counted if approval.signature]
    if needed > 1 and len(signed) < len(counted):  # one keyboard could speak for everybody
        without = _count(authority, signed, reachable)
        if without.missing:
            said = f"{without.missing}; signed ones: declare keys for the people"
            return replace(without, missing=said)
        return without
    if authority.quorum == "all":
        return _cover(authority.roles, counted)
    allowed = set(authority.roles)
    if authority.quorum == "ordered":
        allowed = {authority.roles[0], *reachable}
    fit = [approval for approval, roles in counted if set(roles) & allowed]
    if len(fit) < authority.count:
        who = " or ".join(role for role in authority.roles if role in allowed)
        more = authority.count - len(fit)
        return Standing(f"{more} more approval{'s' if more > 1 else ''} by {who}", lacking=more)
    return Standing("", tuple(fit[: authority.count]))


def available(people: People, role: str, at: datetime) -> bool:
    """True when somebody of the role is there at this moment, by the declared hours."""
    found = people.roles.get(role)
    if found is None or (found.hours is not None and not is_open(found.hours, at)):
        return False
    holders = [one for one in people.members if role in one.roles]
    return any(one.hours is None or is_open(one.hours, at) for one in holders)


def present(people: People, at: datetime) -> tuple[Member, ...]:
    """The members who are there at this moment, by their own hours and those of one of their roles."""
    return tuple(
        one for one in people.members
        if (one.hours is None or is_open(one.hours, at))
        and any(available(people, role, at) for role in one.roles)
    )  # fmt: skip


def next_up(people: People, roles: Iterable[str]) -> tuple[str, ...]:
    """The roles that these report to, and those that they report to, each once, the nearest first."""
    found: list[str] = []
    seen = set(roles)
    level = list(dict.fromkeys(roles))
    while level:
        above = [people.roles[role].reports_to for role in level if role in people.roles]
        level = [role for role in dict.fromkeys(above) if role and role not in seen]
        seen |= set(level)
        found += level
    return tuple(found)


def _cover(roles: tuple[str, ...], counted: list[tuple[Approval, tuple[str, ...]]]) -> Standing:
    """Each role by a person of its own: a small matching, tried role by role."""
    taken: dict[str, int] = {}

    def place(index: int, seen: set[str]) -> bool:
        for role in counted[index][1]:
            if role not in seen:
                seen.add(role)
                if role not in taken or place(taken[role], seen):
                    taken[role] = index
                    return True
        return False

    for index in range(len(counted)):
        place(index, set())
    open_roles = [role for role in roles if role not in taken]
    if open_roles:
        return Standing("approval by " + " and ".join(open_roles), lacking=len(open_roles))
    return Standing("", tuple(counted[taken[role]][0] for role in roles))


def _moment(written: str) -> datetime:
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment
