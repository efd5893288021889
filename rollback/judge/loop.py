"""Whether the agent may begin again: it never goes round in circles, whatever its triggers say.

A trigger that led to a run is spent until it has been seen not to hold. What a run has only just
put right needs time to show, as long as the readings look back. And the same level is gone back to
unasked once in a day; after that a person is asked, a few times; then nothing is begun any more.

Hides: which of these comes first.
Never: looks at a clock; its ages are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rollback.model.quantity import spoken

WITHIN_S = 24 * 3600.0
UNASKED_MAX = 1  # for one target within that time
AGAIN_S = 60.0  # what could not be begun is not tried at every tick
SETTLING = "its readings still reach back before the last run"
ASKED_MAX = 3  # runs of the agent for one target, those that people were asked about included


@dataclass(frozen=True, slots=True)
class Past:
    """A run that the agent began: for which trigger and target, how long ago, and how it stands.

    `rested_s` is how long ago it ended, None while it has not. `seen_well`: since then the trigger
    was seen not to hold. Units: seconds.
    """

    trigger: str
    target: str
    age_s: float
    rested_s: float | None
    acted: bool
    seen_well: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What may be begun now: `unasked` at most, `ask` a person, or `nothing`, and why.

    `person` says that this does not pass by itself.
    """

    may: Literal["unasked", "ask", "nothing"]
    why: str = ""
    person: bool = False


def turn(
    trigger: str, target: str, past: Sequence[Past], *, cooldown_s: float = 0.0, own_s: float = 0.0,
    settles_s: float = 0.0, tried_s: float | None = None, acted_s: float | None = None, stale: bool = False,
) -> Turn:  # fmt: skip
    """What the agent may begin for this trigger and target.

    `cooldown_s` holds after whatever the agent did last, `own_s` after a run for this trigger;
    `settles_s` is how far back the readings look that the trigger rests on; `tried_s` how long ago
    a try came to nothing; `acted_s` how long ago a run ended that had changed something, whoever began
    it. `stale`: the events that the trigger rests on all happened before that.
    """
    if tried_s is not None and tried_s < max(cooldown_s, AGAIN_S):
        return Turn("nothing", "it was tried just now")
    rested = [(one, one.rested_s) for one in past if one.rested_s is not None]
    if any(ago < cooldown_s or (one.trigger == trigger and ago < own_s) for one, ago in rested):
        return Turn("nothing", "it is cooling down after what was done last")
    acted = [ago for one, ago in rested if one.acted] + ([] if acted_s is None else [acted_s])
    if any(ago < settles_s for ago in acted):
        return Turn("nothing", SETTLING)
    if any(one.trigger == trigger and not one.seen_well for one in past):
        why = f"{trigger} has held ever since it led to a run: a person must look"
        return Turn("nothing", why, person=True)
    young = [one for one in past if one.target == target and one.age_s < WITHIN_S]
    if len(young) >= ASKED_MAX:
        why = f"{len(young)} times within {spoken(WITHIN_S)} is a loop: a person must look"
        return Turn("nothing", f"{target} was begun by the agent {why}", person=True)
    if sum(one.acted for one in young) >= UNASKED_MAX:
        return Turn("ask", f"{target} was gone back to within the last {spoken(WITHIN_S)} already")
    if stale:
        return Turn("ask", "all that it rests on happened before the last run ended")
    return Turn("unasked")
