"""From samples to a decision: hold, roll back at a level, or escalate, with what led to it.

Conditions have three values; what is UNKNOWN never fires a rollback, and is named.

Hides: how conditions combine, and which trigger wins.
Never: reads a metric; samples, facts and events are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rollback.model.errors import PlanError
from rollback.model.finding import Answer, Json, Sample
from rollback.model.policy import Condition, Trigger
from rollback.model.quantity import counted, read_as, sized
from rollback.model.system import System

BUILT = ("most-severe", "first")
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}(\.[0-9]{1,9})?\Z", re.ASCII)


@dataclass(frozen=True)
class Known:
    """What a decision may rest on: readings, facts told by people, the normal value of metrics."""

    samples: Mapping[str, Sample]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A trigger that fired, and why, in words."""

    trigger: str
    level: str
    because: str
    urgency_s: float | None


@dataclass(frozen=True)
class Decision:
    """`respond` with `level` where it is roll-back; `unknown` are the metrics that gave no number."""

    respond: Literal["hold", "roll-back", "escalate"]
    level: str
    trigger: str
    reasoning: tuple[str, ...]
    samples: tuple[Sample, ...]
    unknown: tuple[str, ...] = ()
    matches: tuple[Match, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """For the journal and `--json`."""
        return {
            "respond": self.respond, "level": self.level, "trigger": self.trigger,
            "reasoning": [*self.reasoning], "unknown": [*self.unknown],
            "matches": [
                {"trigger": m.trigger, "level": m.level, "because": m.because, "urgency_s": m.urgency_s}
                for m in self.matches
            ],
            "samples": [
                {"metric": s.metric, "value": s.value, "unit": s.unit, "count": s.count,
                 "window_s": s.window_s, "at": s.at.isoformat(), "note": s.note, "source": s.source}
                for s in self.samples
            ],
        }  # fmt: skip


def decide(system: System, known: Known) -> Decision:
    """What the declared triggers call for. Raises: PlanError for a style that is not built yet."""
    style = system.decision.style
    if style not in BUILT:
        raise PlanError(
            f"decisions of style {style} are not built yet", where=str(system.declaration),
            hint=f"built: {', '.join(BUILT)}; name the level yourself: rollback run LEVEL",
        )  # fmt: skip
    matches: list[Match] = []
    escalations: list[str] = []
    unsure: list[str] = []
    for trigger in system.triggers:
        if not trigger.enabled:
            continue
        answer, because = evaluate(trigger.when, known)
        if answer is Answer.UNKNOWN:
            unsure.append(f"{trigger.id} cannot be told: {because}")
        elif answer is Answer.PASS:
            _file(trigger, because, matches, escalations)
    return _conclude(system, style, known, matches, escalations, unsure)


def evaluate(condition: Condition, known: Known) -> tuple[Answer, str]:
    """PASS when the condition holds, FAIL when not, UNKNOWN when it cannot be told; in words why."""
    if condition.metric is not None:
        return _metric(condition, known)
    if condition.fact is not None:
        return _fact(condition, known)
    if condition.not_ is not None:
        answer, because = evaluate(condition.not_, known)
        turned = {Answer.PASS: Answer.FAIL, Answer.FAIL: Answer.PASS}.get(answer, answer)
        return turned, f"not ({because})"
    if condition.all or condition.any:
        return _several(condition, known)
    return Answer.UNKNOWN, "events are not counted yet"


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


def _metric(condition: Condition, known: Known) -> tuple[Answer, str]:
    name = str(condition.metric)
    sample = known.samples.get(name)
    if sample is None or sample.value is None:
        return Answer.UNKNOWN, f"{name} is unknown: {sample.note if sample else 'it was not read'}"
    if condition.for_ is not None or condition.times is not None:
        return Answer.UNKNOWN, f"{name}: lasting conditions need the agent, which is not built yet"
    held = limits(condition, sample.value)
    said = (
        f"{name} is {read_as(sample.value, sample.unit)} ({counted(sample.count, 'reading')}), "
        f"{_words(condition, sample.unit)}"
    )
    if held is None:
        return Answer.UNKNOWN, f"{name} has no normal value to compare with"
    return (Answer.PASS if held else Answer.FAIL), said


def _fact(condition: Condition, known: Known) -> tuple[Answer, str]:
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


def _several(condition: Condition, known: Known) -> tuple[Answer, str]:
    parts = [evaluate(one, known) for one in (*condition.all, *condition.any)]
    answers = [answer for answer, _ in parts]
    joined = " and " if condition.all else " or "
    because = joined.join(text for _, text in parts)
    decisive, other = (Answer.FAIL, Answer.PASS) if condition.all else (Answer.PASS, Answer.FAIL)
    if decisive in answers:
        return decisive, because
    return (Answer.UNKNOWN if Answer.UNKNOWN in answers else other), because


def _file(trigger: Trigger, because: str, matches: list[Match], escalations: list[str]) -> None:
    if trigger.respond.roll_back:
        matches.append(Match(trigger.id, trigger.respond.roll_back, because, trigger.urgency))
    elif trigger.respond.hold is None:
        escalations.append(f"{trigger.id}: {because}; its response needs a person")


def _conclude(
    system: System, style: str, known: Known, matches: Sequence[Match], escalations: Sequence[str],
    unsure: Sequence[str],
) -> Decision:  # fmt: skip
    samples = tuple(known.samples.values())
    unknown = tuple(sample.metric for sample in samples if not sample.known)
    if matches:
        first = style == "first"
        best = matches[0] if first else max(matches, key=lambda m: system.levels[m.level].rank)
        said = [f"{best.trigger}: {best.because}: roll back at {best.level}"]
        said += [f"also {m.trigger}: {m.because}: {m.level}" for m in matches if m is not best]
        return Decision("roll-back", best.level, best.trigger, (*said, *escalations, *unsure), samples,
                        unknown, tuple(matches))  # fmt: skip
    if escalations or unsure:
        return Decision("escalate", "", "", (*escalations, *unsure), samples, unknown)
    return Decision("hold", "", "", ("no trigger holds",), samples)


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
