"""A ladder of contacts: who is to be called by now, who is passed over, and when it has ended.

A rung has its time after the begin of the ladder. Whoever is off duty then is passed over, and the
next one is called at once instead. Where nobody of the whole ladder is on duty, everybody is called
all the same: a call too many is better than silence.

Hides: how passing over moves the times.
Never: reads a clock or the journal; both are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from rollback.judge.authority import available
from rollback.model.people import People

if TYPE_CHECKING:  # heavy, and who drives a flag needs none
    from rollback.model.operations import Ladder, Rung

PATIENCE_S = 300.0  # after the last call, where no time between two calls says how long one waits
Word = Literal["called", "passed"]


@dataclass(frozen=True, slots=True)
class Call:
    """What becomes of one rung now. `because` says why it is passed over, or called off duty."""

    number: int
    rung: Rung
    word: Word
    because: str = ""


def due(
    ladder: Ladder, people: People, at: datetime, elapsed_s: float, done: Mapping[int, Word]
) -> tuple[Call, ...]:
    """The rungs whose time has come and that are not `done`, in order; `at` is the moment now."""
    found: list[Call] = []
    known = dict(done)
    earlier: float | None = None
    for number, rung in enumerate(ladder.rungs):
        time_s = rung.within if earlier is None else min(rung.within, earlier)
        if number not in known and time_s > elapsed_s:
            break
        if number not in known:
            there = available(people, rung.role, at)
            word: Word = "called" if there else "passed"
            known[number] = word
            found.append(Call(number, rung, word, "" if there else "outside of their hours"))
        earlier = time_s if known[number] == "passed" else None
    if len(known) == len(ladder.rungs) and "called" not in known.values():
        nobody = "nobody of the ladder is on duty"
        return (*found, *(Call(n, rung, "called", nobody) for n, rung in enumerate(ladder.rungs)))
    return tuple(found)


def ends_s(ladder: Ladder, people: People, at: datetime) -> float:
    """How long after its begin a ladder that nobody answers has ended, as the hours are now.

    That is as long after the last call as there is between the last two.
    """
    called = [rung.within for rung in ladder.rungs if available(people, rung.role, at)]
    return end_of(called or [rung.within for rung in ladder.rungs])


def end_of(called: list[float]) -> float:
    """When a ladder with calls at these times ends."""
    gap_s = called[-1] - called[-2] if len(called) > 1 else called[-1]
    return called[-1] + (gap_s if gap_s > 0 else PATIENCE_S)
