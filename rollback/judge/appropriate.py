"""Whether going back is appropriate at all: the declared filters, before any rule may act.

A reason for it that holds settles it. A reason against it holds back every rule that goes back, the
automatic ones too, unless somebody with authority has overruled it. Where one of them cannot be told,
neither can be told whether to go back: a person is asked.

Hides: how reasons for and against are weighed.
Never: believes an overruling by itself: those that count are given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollback.judge.condition import Known, evaluate, unsaid
from rollback.judge.match import Match
from rollback.model.finding import Answer
from rollback.model.policy import Decision, Filter


@dataclass(frozen=True)
class Weighed:
    """The rules that fired, as far as it is appropriate; those of which that cannot be told.

    `against` says why nothing goes back now without a person; "" when it may. `overruled` are the reasons
    against it that somebody has overruled, in words.
    """

    fired: tuple[Match, ...]
    unsure: tuple[Match, ...] = ()
    notes: tuple[str, ...] = ()
    against: str = ""
    overruled: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Told:
    reason: Filter
    answer: Answer
    because: str

    @property
    def said(self) -> str:
        return f"{self.reason.title}: {self.because}"


def weigh(policy: Decision, known: Known, fired: tuple[Match, ...]) -> Weighed:
    """What is left of the rules that fired, when the reasons for and against going back are heard."""
    pro, perhaps, _ = _heard(policy, known, "appropriate")
    con, doubted, unsaid_ = _heard(policy, known, "not-appropriate")
    if pro:
        return Weighed(fired, notes=tuple(f"appropriate: {one.reason.title}" for one in pro))
    overruled = tuple(
        f"not appropriate: {one.said}; {known.overruled[one.reason.id]}"
        for one in (*con, *doubted) if one.reason.id in known.overruled
    )  # fmt: skip
    con, doubted, unsaid_ = (
        tuple(one for one in some if one.reason.id not in known.overruled)
        for some in (con, doubted, unsaid_)
    )
    if con and not perhaps:
        found = _held(fired, con[0])
    elif con or doubted:
        found = _asked(fired, con, (*perhaps, *doubted) if con else doubted)
    else:
        found = Weighed(tuple(_asking(match, unsaid_) for match in fired))
    return replace(found, notes=(*overruled, *found.notes), overruled=overruled)


def _heard(
    policy: Decision, known: Known, word: str
) -> tuple[tuple[_Told, ...], tuple[_Told, ...], tuple[_Told, ...]]:
    """The reasons of that kind that hold, of which nobody can tell, and which only wait for a word.

    That a reason against it does not hold lets a rule act, so that has to be known.
    """
    strict = word == "not-appropriate"
    told = [
        _Told(one, *evaluate(one.when, known, strict=strict))
        for one in policy.filters if one.answer == word and one.when is not None
    ]  # fmt: skip
    unknown = [one for one in told if one.answer is Answer.UNKNOWN]
    waits = [one for one in unknown
             if one.reason.when is not None and unsaid(one.reason.when, known, strict=strict)]  # fmt: skip
    return (
        tuple(one for one in told if one.answer is Answer.PASS),
        tuple(one for one in unknown if one not in waits),
        tuple(waits),
    )


def _asking(match: Match, waits: tuple[_Told, ...]) -> Match:
    """A rule that goes back, or may lead there, is not acted on unasked while nobody has said a word."""
    if not waits or match.word not in ("roll-back", "attempt", "watch"):
        return match
    said = (f"{one.said}{_who(one.reason)}" for one in waits)
    return replace(match, asks="; ".join((*((match.asks,) if match.asks else ()), *said)))


def _held(fired: tuple[Match, ...], against: _Told) -> Weighed:
    title = against.reason.title
    held = tuple(
        replace(match, word="hold", what=title, because=f"{match.said}, but {title}")
        if match.level else match
        for match in fired
    )  # fmt: skip
    said = f"not appropriate: {against.said}{_who(against.reason)}"
    return Weighed(held, (), (said,), said)


def _asked(fired: tuple[Match, ...], con: tuple[_Told, ...], doubts: tuple[_Told, ...]) -> Weighed:
    """What goes back waits for a person: it cannot be told whether it is appropriate."""
    names = " and ".join(f"whether {one.reason.title}" for one in doubts)
    but = f"{con[0].reason.title}, and " if con else ""
    unsure = tuple(
        replace(match, because=f"{match.because}; but {but}nobody can tell {names}", unsaid=False)
        for match in fired if match.level
    )  # fmt: skip
    said = [f"not appropriate: {one.said}{_who(one.reason)}" for one in con[:1]]
    said += [
        f"nobody can tell whether it is {one.reason.answer.replace('-', ' ')}: {one.said}"
        f"{_who(one.reason)}"
        for one in doubts
    ]
    rest = tuple(match for match in fired if not match.level)
    return Weighed(rest, unsure, tuple(said), "; ".join(said))


def _who(one: Filter) -> str:
    if not one.overridden_by or one.answer == "appropriate":
        return ""
    roles = " or ".join(one.overridden_by)
    return f"; {roles} may overrule it: rollback approval overrule {one.id} --note WHY"
