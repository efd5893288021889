"""Whether a declared condition holds: yes, no, or UNKNOWN, and in words why.

Readings, facts, events and earlier readings are given. A lasting condition (`for`, `times`) rests on
readings without a gap: while nobody looked, nobody knows. "Not yet" is a no, but none to act on: under
a negation, and for whoever is strict, it is UNKNOWN. "Not seen" is UNKNOWN.

Hides: how three-valued answers combine, and how far back readings count.
Never: reads a metric, a clock or the journal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Reversible, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rollback.model.finding import Answer, Json, Sample, same
from rollback.model.quantity import counted, read_as, sized, spoken

if TYPE_CHECKING:  # who judges nothing loads no grammar of it
    from rollback.model.policy import Condition

LOOKBACK_S = 24 * 3600.0  # an event without `within` counts for as long
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}(\.[0-9]{1,9})?\Z", re.ASCII)
_OPPOSITE = {Answer.PASS: Answer.FAIL, Answer.FAIL: Answer.PASS, Answer.UNKNOWN: Answer.UNKNOWN}
_Told = tuple[Answer, str]


@dataclass(frozen=True, slots=True)
class Told:
    """An event that was told to the journal, with its fields."""

    kind: str
    at: datetime
    fields: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What a decision may rest on.

    `events` is None where nobody can tell what happened; `deaf` says of single kinds of events why
    nobody can. `history` holds earlier readings by metric, oldest first, the present one left out; two
    that lie further apart than `gap_s` seconds have a gap between them. `now` is the moment of the
    decision; None: that of the newest reading. `overruled` are the filters that somebody with authority
    has overruled, with who it was and why, in words; `tripped` the breakers that opened and have not
    closed, with how many seconds ago.
    """

    samples: Mapping[str, Sample]
    facts: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[Told] | None = None
    history: Mapping[str, Reversible[Sample]] = field(default_factory=dict)
    normals: Mapping[str, float] = field(default_factory=dict)
    now: datetime | None = None
    lookback_s: float = LOOKBACK_S
    gap_s: float | None = None
    deaf: Mapping[str, str] = field(default_factory=dict)
    overruled: Mapping[str, str] = field(default_factory=dict)
    tripped: Mapping[str, float] = field(default_factory=dict)

    @property
    def moment(self) -> datetime | None:
        """When this is known; None when nothing has a time."""
        return self.now or max((sample.at for sample in self.samples.values()), default=None)


def evaluate(condition: Condition, known: Known, *, strict: bool = False) -> tuple[Answer, str]:
    """PASS when the condition holds, FAIL when not, UNKNOWN when it cannot be told; in words why.

    What is too young to have lasted does not hold yet: a no. Whoever acts on a no asks `strict`ly, as
    a negation does: then it is UNKNOWN. Less knowledge never makes a PASS, nor a FAIL to act on.
    """
    return _told(condition, known, strict=strict, negated=False)


def _told(condition: Condition, known: Known, *, strict: bool, negated: bool) -> _Told:
    if condition.not_ is not None:
        answer, because = _told(condition.not_, known, strict=strict, negated=not negated)
        return _OPPOSITE[answer], f"not ({because})"
    inner = (*condition.all, *condition.any)
    if inner:
        parts = [_told(one, known, strict=strict, negated=negated) for one in inner]
        return _several(condition, parts)
    return _single(condition, known, yet=Answer.UNKNOWN if strict or negated else Answer.FAIL)


def _single(condition: Condition, known: Known, *, yet: Answer) -> _Told:
    """What is made of no others; `yet` is the answer to what has not lasted long enough so far."""
    if condition.metric is not None:
        return _metric(condition, known, yet)
    if condition.fact is not None:
        return _fact(condition, known)
    return _event(condition, known)


def unsaid(condition: Condition, known: Known, *, strict: bool = False) -> bool:
    """True when only facts that nobody told keep a condition, asked like this, from being told.

    A fact that was told, and is no answer to what is asked, is a doubt like any other.
    """
    return all(
        answer is not Answer.UNKNOWN or (one.fact is not None and one.fact not in known.facts)
        for one, answer in _singles(condition, known, strict=strict, negated=False)
    )


def _singles(
    condition: Condition, known: Known, *, strict: bool, negated: bool
) -> Iterator[tuple[Condition, Answer]]:
    """Each condition inside that is made of no others, with its answer."""
    if not condition.inner:
        yet = Answer.UNKNOWN if strict or negated else Answer.FAIL
        yield condition, _single(condition, known, yet=yet)[0]
    for one in condition.inner:
        turned = condition.not_ is not None
        yield from _singles(one, known, strict=strict, negated=negated is not turned)


def limits(condition: Condition, value: float, normal: float | None = None) -> bool | None:
    """Whether the value is within every limit of the condition; strict where the words are strict.

    None when a limit rests on a normal value that is not known.
    """
    c = condition
    tests: list[bool | None] = [
        *([value > c.above] if c.above is not None else []),
        *([value < c.below] if c.below is not None else []),
        *([value >= c.at_least] if c.at_least is not None else []),
        *([value <= c.at_most] if c.at_most is not None else []),
        *([value == c.equals] if c.equals is not None else []),
    ]
    if c.times_normal is not None:
        tests.append(value > normal * c.times_normal if normal else None)
    if False in tests:
        return False
    return None if None in tests or not tests else True


def _metric(condition: Condition, known: Known, yet: Answer) -> _Told:
    name = str(condition.metric)
    sample = known.samples.get(name)
    if sample is None or sample.value is None:
        return Answer.UNKNOWN, f"{name} is unknown: {sample.note if sample else 'it was not read'}"
    held = _held(condition, sample, known)
    said = (
        f"{name} is {read_as(sample.value, sample.unit)} ({counted(sample.count, 'reading')}), "
        f"{_words(condition, sample.unit)}"
    )
    if held is None:
        return Answer.UNKNOWN, f"{name} has no normal value to compare with"
    if held and (condition.for_ is not None or condition.times is not None):
        return _lasting(condition, sample, known, said, yet)
    return (Answer.PASS if held else Answer.FAIL), said


def _held(condition: Condition, sample: Sample, known: Known) -> bool | None:
    if sample.value is None:
        return None
    return limits(condition, sample.value, known.normals.get(str(condition.metric)))


def _lasting(condition: Condition, present: Sample, known: Known, said: str, yet: Answer) -> _Told:
    """The present reading holds: for how long, and how often in a row, is counted backwards.

    A no within what is asked for is a no. A reading that nobody has within it leaves it open; where
    the readings end too early, or nobody looked, the answer is `yet`.
    """
    row, blind = [present], ""
    whole, near, place, later = True, True, 1, present
    for sample in reversed(known.history.get(str(condition.metric), ())):
        far = known.gap_s is not None and (later.at - sample.at).total_seconds() > known.gap_s
        near, place, later = near and not far, place + 1, sample
        whole = whole and near
        wanted = _wanted(
            condition, (present.at - sample.at).total_seconds(), place if near else None
        )
        if not whole and not wanted:
            break
        held = _held(condition, sample, known)
        if held is False and wanted:
            return Answer.FAIL, f"{said}; {_lasted(condition, row)}"
        if held is None and wanted:
            blind = f"{condition.metric} was unknown in between: {sample.note or 'it was not read'}"
        whole = whole and held is True
        if whole:
            row.append(sample)
    since_s = (present.at - row[-1].at).total_seconds()
    if len(row) >= (condition.times or 1) and since_s >= (condition.for_ or 0.0):
        lasted = (
            f"{len(row)} times in a row" if condition.for_ is None else f"for {spoken(since_s)}"
        )
        return Answer.PASS, f"{said}; {lasted}"
    if blind:
        return Answer.UNKNOWN, f"{said}; {_lasted(condition, row)}, and {blind}"
    return yet, f"{said}; {_lasted(condition, row)}"


def _wanted(condition: Condition, age_s: float, place: int | None) -> bool:
    """True for a reading, so old and at this place of the row (None: in none), that has to hold."""
    often = condition.times is not None and place is not None and place <= condition.times
    return often or (condition.for_ is not None and age_s <= condition.for_)


def _lasted(condition: Condition, row: Sequence[Sample]) -> str:
    """How far it has come, newest reading first, in words."""
    if condition.times is not None and len(row) < condition.times:
        return f"{len(row)} of {condition.times} times in a row"
    since_s = (row[0].at - row[-1].at).total_seconds()
    return f"for {spoken(since_s)} of {spoken(condition.for_ or 0.0)}"


def _fact(condition: Condition, known: Known) -> _Told:
    name = str(condition.fact)
    told = known.facts.get(name)
    if told is None:
        return Answer.UNKNOWN, f"nobody has told {name}; add --fact {name}=…"
    held: bool | None
    if condition.is_ is None and limits(condition, 0.0) is None:
        held = _TRUTHS.get(told.lower())
    elif isinstance(condition.is_, bool):
        truth = _TRUTHS.get(told.lower())
        held = None if truth is None else truth is condition.is_
    elif condition.is_ is not None:
        held = told.lower() == str(condition.is_).lower()
    else:
        held = limits(condition, float(told)) if _NUMBER.match(told) else None
    if held is None:
        return Answer.UNKNOWN, f"{name} is {told!r}, which is no answer to what is asked"
    return (Answer.PASS if held else Answer.FAIL), f"{name} is {told}"


def _event(condition: Condition, known: Known) -> _Told:
    name, now = str(condition.event), known.moment
    if known.events is None or now is None:
        return Answer.UNKNOWN, f"nobody can tell whether {name} happened"
    within_s = condition.within if condition.within is not None else known.lookback_s
    since = now - timedelta(seconds=within_s)
    found = [
        told for told in known.events
        if told.kind == name and since <= told.at <= now
        and all(same(told.fields.get(key), value) for key, value in condition.where.items())
        and not any(same(told.fields.get(key), value)
                    for key, values in condition.where_not.items() for value in values)
    ]  # fmt: skip
    wanted = condition.count or 1
    times = f"{len(found)} times" if len(found) != 1 else "once"
    said = f"{name} happened {times if found else 'not'} in the last {spoken(within_s)}"
    if wanted > 1:
        said += f", fires from {wanted}"
    if len(found) < wanted and name in known.deaf:
        return Answer.UNKNOWN, f"{said}, and more may have: {known.deaf[name]}"
    return (Answer.PASS if len(found) >= wanted else Answer.FAIL), said


def _several(condition: Condition, parts: Sequence[_Told]) -> _Told:
    answers = [answer for answer, _ in parts]
    joined = " and " if condition.all else " or "
    because = joined.join(text for _, text in parts)
    decisive, other = (Answer.FAIL, Answer.PASS) if condition.all else (Answer.PASS, Answer.FAIL)
    if decisive in answers:
        return decisive, because
    return (Answer.UNKNOWN if Answer.UNKNOWN in answers else other), because


def _words(condition: Condition, unit: str) -> str:
    words = {"above": condition.above, "below": condition.below, "at least": condition.at_least,
             "at most": condition.at_most, "equal to": condition.equals}  # fmt: skip
    said = [
        f"{word} {sized(limit) if unit == 'bytes' else f'{limit:g}'}"
        for word, limit in words.items()
        if limit is not None
    ]
    if condition.times_normal is not None:
        said.append(f"more than {condition.times_normal:g} times normal")
    return "fires " + " and ".join(said)
