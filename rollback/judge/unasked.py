"""What the agent may do without asking: by autonomy, place, trigger and the authority of the level.

A trigger declared `automatic`, or a breaker, acts by itself; it is part of what people trust. Any
other one acts by itself only where neither the autonomy level nor the environment wants a person to
confirm, and the level lets one person's word be enough. What takes several people is always asked.

Hides: which of these stands above which.
Never: gives a right that the current autonomy level does not hold.
"""

from __future__ import annotations

from rollback.model.people import Authority
from rollback.model.system import System

AGENT = "rollback monitor"  # no person's id has a space in it


def ask_first(system: System, environment: str, trigger: str, authority: Authority) -> str:
    """Why a person has to say yes before the agent goes on for this trigger; "" when none has to."""
    policy = system.autonomy
    if "roll-back" not in policy.row.may:
        return f"at autonomy {policy.current} the tool may not roll back"
    if authority.count > 1 or (authority.quorum == "all" and len(authority.roles) > 1):
        return "it takes more than one person's yes"
    if automatic(system, trigger):
        return ""
    if policy.row.confirm:
        return f"at autonomy {policy.current} a person confirms"
    place = system.environments.get(environment)
    if place is not None and place.confirm:
        return f"in {environment} a person confirms"
    return "" if authority.alone else "nobody may start it alone"


def automatic(system: System, trigger: str) -> bool:
    """True for a breaker, and for a trigger that is declared to act by itself."""
    if any(one.id == trigger and one.enabled for one in system.decision.breakers):
        return True
    from rollback.judge.severity import rules  # the grammar of rules; a person's run needs none

    return any(one.id == trigger and one.automatic and one.enabled for one in rules(system))
