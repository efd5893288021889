"""Circuit breakers: closed until they fire, then open, and tried once before they close again.

Hides: when one is half open.
Never: reads a clock: for how long one has been open is given. Takes a look that cannot tell for a trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rollback.judge.condition import Known, evaluate
from rollback.judge.match import Match
from rollback.judge.styles import Heard
from rollback.model.finding import Answer
from rollback.model.policy import Breaker
from rollback.model.quantity import spoken
from rollback.model.system import System


@dataclass(frozen=True, slots=True)
class Trial:
    """What one look said to a breaker that was half open: it is open as long again, or closed."""

    breaker: str
    open: bool
    because: str


def breakers(system: System, known: Known) -> Heard:
    """Each breaker whose every condition holds, and of whose `unless` none does, which is known.

    One that is open is not asked before its time.
    """
    heard = [(_match(one, because), answer) for one, answer, because in _asked(system, known)]
    return Heard(
        tuple(match for match, answer in heard if answer is Answer.PASS),
        tuple(match for match, answer in heard if answer is Answer.UNKNOWN),
    )


def open_ones(system: System, known: Known) -> dict[str, str]:
    """The breakers that are open and not tried yet, with that in words."""
    return {
        one.id: f"{one.id} is open, and is tried again in {spoken(left_s)}"
        for one in _enabled(system) if (left_s := _left_s(one, known)) > 0
    }  # fmt: skip


def trials(system: System, known: Known) -> tuple[Trial, ...]:
    """What this look says to the breakers that are half open; one that it cannot tell stays so."""
    return tuple(
        Trial(one.id, answer is Answer.PASS, because)
        for one, answer, because in _asked(system, known)
        if one.reset_after is not None and one.id in known.tripped and answer is not Answer.UNKNOWN
    )


def _enabled(system: System) -> Iterator[Breaker]:
    return (one for one in system.decision.breakers if one.enabled)


def _left_s(one: Breaker, known: Known) -> float:
    """How long it stays open; 0 or less when it is closed or half open."""
    ago_s = known.tripped.get(one.id)
    return 0.0 if ago_s is None or one.reset_after is None else one.reset_after - ago_s


def _asked(system: System, known: Known) -> Iterator[tuple[Breaker, Answer, str]]:
    """Each that is not waiting, with its answer and why."""
    for one in _enabled(system):
        if _left_s(one, known) > 0:
            continue
        wanted = [evaluate(condition, known) for condition in one.all]
        spared = [evaluate(condition, known, strict=True) for condition in one.unless]
        because = " and ".join(text for _, text in (*wanted, *spared))
        needed = {answer for answer, _ in wanted}
        against = {answer for answer, _ in spared}
        if Answer.FAIL in needed or Answer.PASS in against:
            answer = Answer.FAIL
        elif Answer.UNKNOWN in needed | against:
            answer = Answer.UNKNOWN
        else:
            answer = Answer.PASS
        yield one, answer, because


def _match(one: Breaker, because: str) -> Match:
    return Match(one.id, "roll-back", one.roll_back, because, automatic=True, inform=one.inform)
