"""The styles of deciding: an ordered tree, scores with confidence, tiers, and the triggers themselves.

Each looks at rules in their declared order and says which fired, which could not be told, and which
did not. A rule that cannot be told never fires, and where the first one decides, none behind it acts
that it could have kept from acting; whether it would have been stricter is for the caller.

Hides: what a yes, a no and a confidence lead to.
Never: lets UNKNOWN pass for a no without saying so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from rollback.judge.condition import Known, evaluate, unsaid
from rollback.judge.match import Match, called_for, weight
from rollback.judge.severity import graded, rules
from rollback.model.finding import Answer
from rollback.model.people import Authority
from rollback.model.policy import Branch, Condition, Decision, Respond, Score, Tier, Trigger
from rollback.model.system import System

_ACTS = ("roll-back", "procedure", "attempt", "watch")  # the others ask a person, or change nothing


@dataclass(frozen=True)
class Heard:
    """What one style says: the rules that fired, and those that could not be told.

    The latter hold what they would have called for.
    """

    fired: tuple[Match, ...] = ()
    unsure: tuple[Match, ...] = ()


def triggers(system: System, known: Known) -> Heard:
    """Every enabled trigger, those of the severity table too, by itself.

    Where the first one decides, nothing fires that is not known to be first.
    """
    fired: list[Match] = []
    unsure: list[Match] = []
    passed: list[_Passed] = []
    in_order = system.decision.style == "first"
    for trigger in rules(system):
        if not trigger.enabled or not _here(system, trigger):
            continue
        answer, because = evaluate(trigger.when, known)
        match = graded(system, _triggered(trigger, because))
        if answer is Answer.PASS:
            fired.append(match)
        elif answer is Answer.UNKNOWN:
            unsure.append(_doubted(match, trigger.when, known))
        if in_order and not fired:
            passed += _passed_over(match, trigger.when, known, answer)
    if not in_order or not fired:
        return Heard(tuple(fired), tuple(unsure))
    first = _after(system, fired[0], passed)
    also = fired[1:] if first.fired else ()
    return Heard((*first.fired, *also), _once(unsure, first.unsure))


def _here(system: System, trigger: Trigger) -> bool:
    return not trigger.environment or system.environment_name in trigger.environment


def _triggered(trigger: Trigger, because: str) -> Match:
    word, what = called_for(trigger.respond)
    return Match(
        trigger.id, word, what, because, trigger.urgency, trigger.severity or "",
        authority=trigger.authority, automatic=trigger.automatic, inform=trigger.inform,
        respond=trigger.respond, component=trigger.component or "",
    )  # fmt: skip


# -- rules in an order ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Passed:
    """What an earlier rule would have called for, had it held; `known` to be UNKNOWN, or only not yet."""

    match: Match
    unknown: bool


def _passed_over(
    match: Match, when: Condition, known: Known, answer: Answer
) -> tuple[_Passed, ...]:
    """What is passed over with a rule that did not hold; nothing, when it is known not to."""
    if answer is Answer.UNKNOWN:
        return (_Passed(_doubted(match, when, known), unknown=True),)
    strict, because = evaluate(when, known, strict=True)
    if answer is Answer.PASS or strict is Answer.FAIL:
        return ()
    return (_Passed(replace(match, because=because), unknown=False),)


def _after(system: System, match: Match, passed: Sequence[_Passed]) -> Heard:
    """A rule that holds, behind those that were passed over.

    It is the first that holds only if they do not. Where one of them, which nobody can tell, would have
    called for something else, it cannot be told whether this one acts; neither where one that does not
    hold yet would have called for something milder. That nobody has stated a fact is no such doubt; but
    what a fact could have made milder is not done unasked.
    """
    match = _asking(system, match, passed)
    unsure = tuple(one.match for one in passed if one.unknown)
    shaken = [
        one.match for one in passed
        if not one.match.unsaid and not _same(one.match, match)
        and (one.unknown or weight(system, one.match) < weight(system, match))
    ]  # fmt: skip
    if match.word not in _ACTS or not shaken:
        return Heard((match,), unsure)
    names = ", ".join(one.trigger for one in shaken)
    doubted = replace(match, because=f"{match.because}, but {names} cannot be told", unsaid=False)
    return Heard((), _once((*unsure, *shaken), (doubted,)))


def _asking(system: System, match: Match, passed: Sequence[_Passed]) -> Match:
    unsaid = [
        one.match for one in passed
        if one.match.unsaid and weight(system, one.match) < weight(system, match)
    ]  # fmt: skip
    return replace(match, asks="; ".join(dict.fromkeys(one.because for one in unsaid)))


def _once(some: Iterable[Match], others: Iterable[Match]) -> tuple[Match, ...]:
    found: list[Match] = []
    for one in (*some, *others):
        found += [] if one in found else [one]
    return tuple(found)


def _same(one: Match, other: Match) -> bool:
    """True when both call for the very same by the same people."""
    wanted = ("word", "what", "component", "authority", "respond")
    return all(getattr(one, name) == getattr(other, name) for name in wanted)


def tree(system: System, known: Known) -> Heard:
    """The first question with a yes decides; one whose no is declared decides by its no."""
    passed: list[_Passed] = []
    for branch in system.decision.tree:
        answer, because = evaluate(branch.when, known)
        said = f"{branch.question} {because}"
        yes, no = (_branched(system, branch, one, said) for one in (branch.yes, branch.no))
        if answer is Answer.PASS and yes is not None:
            return _after(system, yes, passed)
        if yes is not None:
            passed += _passed_over(yes, branch.when, known, answer)
        if answer is Answer.FAIL and no is not None:
            return _after(system, no, passed)
        if answer is Answer.UNKNOWN and no is not None:
            doubted = _doubted(no, branch.when, known)
            passed.append(_Passed(doubted, unknown=True))
            if yes is not None and not doubted.unsaid:
                break  # whatever the answer is, no later question is asked
    return Heard((), tuple(one.match for one in passed if one.unknown))


def _branched(
    system: System, branch: Branch, respond: Respond | None, because: str
) -> Match | None:
    if respond is None:
        return None
    word, what = called_for(respond)
    found = Match(branch.id, word, what, because, branch.urgency, branch.severity or "",
                  authority=branch.authority, respond=respond)  # fmt: skip
    return graded(system, found)


def scored(system: System, known: Known) -> Heard:
    """The first row that holds decides, as far as it is sure: act, ask, or only write it down."""
    policy = system.decision
    rows = policy.scores
    return _first(system, rows, known, lambda score, because: _scored(policy, score, because))


def _scored(policy: Decision, score: Score, because: str) -> Match:
    said = f"{score.reason}: {because}; confidence {score.confidence:.2f}"
    if not score.needed or score.level is None:
        return Match(score.id, "hold", score.reason, said, confidence=score.confidence)
    sure = policy.confidence
    if sure is None or score.confidence > sure.act_above:
        return Match(score.id, "roll-back", score.level, said, confidence=score.confidence)
    if score.confidence > sure.ask_above or sure.otherwise == "escalate":
        why = f"{said}, not above {sure.act_above:.2f}: a person decides about {score.level}"
        return Match(score.id, "escalate", score.level, why, confidence=score.confidence)
    why = f"{said}, not above {sure.ask_above:.2f}: {score.level} would be needed"
    return Match(score.id, "hold", "not sure enough", why, confidence=score.confidence)


def tiers(system: System, known: Known) -> Heard:
    """The first tier of the table that holds."""
    return _first(system, system.decision.tiers, known, _tier)


def _tier(tier: Tier, because: str) -> Match:
    word, what = called_for(tier.respond)
    authority = Authority(roles=tier.authority) if tier.authority else None
    return Match(tier.id, word, what, f"{tier.title}: {because}", tier.within, authority=authority,
                 respond=tier.respond)  # fmt: skip


def _first(
    system: System, rows: tuple[Score, ...] | tuple[Tier, ...], known: Known,
    match: Callable[..., Match],
) -> Heard:  # fmt: skip
    passed: list[_Passed] = []
    for row in rows:
        answer, because = evaluate(row.when, known)
        if answer is Answer.PASS:
            return _after(system, match(row, because), passed)
        passed += _passed_over(match(row, because), row.when, known, answer)
    return Heard((), tuple(one.match for one in passed if one.unknown))


def _doubted(match: Match, when: Condition, known: Known) -> Match:
    return replace(match, unsaid=unsaid(when, known))
