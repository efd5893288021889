"""An overruling: one person's word, with a note, that a reason against going back does not hold him back.

It is signed over the filter, the machine, the policy and an end, and counts for nothing else. Only who
holds a role of its `overridden_by` may say it.

Hides: nothing.
Never: reads a clock or a key file; both are given. Says yes to a run: that is an approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rollback.judge.authority import VALID_FOR_S, Signed, member
from rollback.model.people import People
from rollback.model.policy import Filter

NAMESPACE = "rollback-overruling-v1"
LONGEST_S = VALID_FOR_S  # no longer than an approval: a reason against is looked at anew


@dataclass(frozen=True, slots=True)
class Overruling(Signed):
    """One person's word against one filter, under one policy. `signature` is "" when unauthenticated."""

    filter: str
    policy: str
    host: str
    person: str
    nonce: str
    given: str
    expires: str
    note: str
    signature: str = ""

    def said(self, people: People, declared: Filter) -> str:
        """In words, for reasons and reports."""
        holder = member(people, self.person)
        roles = [
            role for role in (holder.roles if holder else ()) if role in declared.overridden_by
        ]
        how = "" if self.signature else ", unauthenticated"
        until = f"until {self.expires[:16]}Z"
        return f"overruled by {self.person} ({', '.join(roles)}{how}) {until}: {self.note}"


def read(data: Mapping[str, object]) -> Overruling:
    """The overruling in journal data. Raises: ValueError."""
    names = Overruling.__slots__
    if set(data) != set(names) or not all(isinstance(value, str) for value in data.values()):
        raise ValueError("not an overruling: it has other fields")
    return Overruling(**{name: str(data[name]) for name in names})


def why_not(
    one: Overruling, declared: Filter | None, people: People, *, policy: str, host: str,
    now: datetime, verified: bool,
) -> str:  # fmt: skip
    """Why it counts for nothing; "" when it counts. `declared` is the filter of that name, if any."""
    holder = member(people, one.person)
    if declared is None or declared.answer != "not-appropriate":
        return f"no reason against going back is called {one.filter}"
    if holder is None or not set(holder.roles) & set(declared.overridden_by):
        may = " or ".join(declared.overridden_by) or "nobody"
        return f"{one.person} may not overrule {one.filter}: {may} may"
    if not any(letter.isalnum() for letter in one.note):
        return "an overruling needs a note that says why"
    if (one.policy, one.host) != (policy, host):
        return f"it is for another {'policy' if one.policy != policy else 'host'}"
    if (holder.key or one.signature) and not verified:
        return f"it is not signed with the declared key of {one.person}"
    return _out_of_time(one, now)


def _out_of_time(one: Overruling, now: datetime) -> str:
    try:
        given, expires = (datetime.fromisoformat(text) for text in (one.given, one.expires))
        if given > now:
            return "it is dated in the future"
        if expires <= now:
            return "it has expired"
        too_long = (expires - given).total_seconds() > LONGEST_S
    except (ValueError, TypeError):
        return "it bears a time that cannot be read"
    return f"it would be good for longer than {LONGEST_S / 3600:g} h" if too_long else ""
