"""An approval given beforehand: signed over a level, the policy, a number of uses and an end.

It speaks for the person who gave it, as if he had said yes to the run; and for nothing that its
level does not declare (`standing:` in its authority).

Hides: nothing.
Never: reads a clock or a key file; both are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rollback.judge.authority import Approval, Signed, member
from rollback.model.people import Authority, People

NAMESPACE = "rollback-standing-v1"


@dataclass(frozen=True, slots=True)
class Grant(Signed):
    """One person's yes to runs of one level, on one machine, under one policy."""

    level: str
    policy: str
    host: str
    person: str
    nonce: str
    uses: int
    given: str
    expires: str
    note: str = ""
    signature: str = ""

    def approval(self, *, run: str, plan: str) -> Approval:
        """What it says about this run."""
        return Approval(
            run=run, plan=plan, host=self.host, policy=self.policy, person=self.person,
            nonce=self.nonce, given=self.given, expires=self.expires, note=self.note,
            signature=self.signature,
        )  # fmt: skip


def read(data: Mapping[str, object]) -> Grant:
    """The grant in journal data. Raises: ValueError."""
    texts = [name for name in Grant.__slots__ if name != "uses"]
    uses = data.get("uses")
    if (
        set(data) != set(Grant.__slots__)
        or not all(isinstance(data[name], str) for name in texts)
        or not isinstance(uses, int)
        or isinstance(uses, bool)
    ):
        raise ValueError("not an approval given beforehand: it has other fields")
    return Grant(uses=uses, **{name: str(data[name]) for name in texts})


def why_not(
    grant: Grant, authority: Authority, people: People, *, level: str, policy: str, host: str,
    now: datetime, used: int, verified: bool,
) -> str:  # fmt: skip
    """Why it counts for nothing in a run of this level; "" when it counts.

    `used` is how often it was used by other runs.
    """
    terms, holder = authority.standing, member(people, grant.person)
    if terms is None:
        return f"{level} takes no approval beforehand"
    for name, value in {"level": level, "policy": policy, "host": host}.items():
        if getattr(grant, name) != value:
            return f"it is for another {name}"
    if holder is None or not set(holder.roles) & set(authority.roles):
        return f"{grant.person} holds none of the roles any more"
    if not holder.key or not verified:
        return "it is not signed with the declared key"
    try:
        given, expires = (datetime.fromisoformat(text) for text in (grant.given, grant.expires))
        asks = (expires - given).total_seconds()
        too_early, over = given > now, expires <= now
    except (ValueError, TypeError):
        return "it bears a time that cannot be read"
    if too_early or over:
        return "it is dated in the future" if too_early else "it has expired"
    if asks > terms.longest:
        return "it would be good for longer than the declaration lets it"
    if terms.until is not None and now >= terms.ends:
        return f"the declaration took approvals beforehand until {terms.until}"
    if not 1 <= grant.uses <= terms.uses:
        return f"it is for {grant.uses} uses, and the declaration lets it have {terms.uses}"
    return "" if used < grant.uses else "it is used up"
