"""The styles of deciding: an ordered tree, scores with confidence, tiers, and the triggers themselves.

Each looks at rules in their declared order and says which fired, which could not be told, and which
did not. A rule that cannot be told never fires; whether it would have been stricter is for the caller.

Hides: what a yes, a no and a confidence lead to.
Never: lets UNKNOWN pass for a no without saying so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rollback.judge.condition import Known, evaluate, unsaid
from rollback.judge.match import Match, called_for
from rollback.model.finding import Answer
from rollback.model.people import Authority
from rollback.model.policy import Branch, Condition, Decision, Respond, Score, Tier, Trigger
from rollback.model.system import System


@dataclass(frozen=True)
class Heard:
    """What one style says: the rules that fired, and those that could not be told.

    The latter hold what they would have called for.
    """

    fired: tuple[Match, ...] = ()
    unsure: tuple[Match, ...] = ()


def triggers(system: System, known: Known) -> Heard:
    """Every enabled trigger, by itself."""
    fired: list[Match] = []
    unsure: list[Match] = []
    for trigger in system.triggers:
        if trigger.enabled and _here(system, trigger):
            answer, because = evaluate(trigger.when, known)
            if answer is Answer.PASS:
                fired.append(_triggered(trigger, because))
            elif answer is Answer.UNKNOWN:
                unsure.append(_doubted(_triggered(trigger, because), trigger.when, known))
    return Heard(tuple(fired), tuple(unsure))


def _here(system: System, trigger: Trigger) -> bool:
    return not trigger.environment or system.environment_name in trigger.environment


def _triggered(trigger: Trigger, because: str) -> Match:
    word, what = called_for(trigger.respond)
    return Match(
        trigger.id, word, what, because, trigger.urgency, trigger.severity or "",
        authority=trigger.authority, automatic=trigger.automatic, inform=trigger.inform,
        respond=trigger.respond, component=trigger.component or "",
    )  # fmt: skip


def tree(policy: Decision, known: Known) -> Heard:
    """The first question with a yes decides; one whose no is declared decides by its no."""
    unsure: list[Match] = []
    for branch in policy.tree:
        answer, because = evaluate(branch.when, known)
        said = f"{branch.question} {because}"
        if answer is Answer.UNKNOWN:
            if branch.yes is not None:
                unsure.append(_doubted(_branched(branch, branch.yes, said), branch.when, known))
            continue
        respond = branch.yes if answer is Answer.PASS else branch.no
        if respond is not None:
            return Heard((_branched(branch, respond, said),), tuple(unsure))
    return Heard((), tuple(unsure))


def _branched(branch: Branch, respond: Respond, because: str) -> Match:
    word, what = called_for(respond)
    return Match(branch.id, word, what, because, branch.urgency, branch.severity or "",
                 authority=branch.authority, respond=respond)  # fmt: skip


def scored(policy: Decision, known: Known) -> Heard:
    """The first row that holds decides, as far as it is sure: act, ask, or only write it down."""
    return _first(policy.scores, known, lambda score, because: _scored(policy, score, because))


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


def tiers(policy: Decision, known: Known) -> Heard:
    """The first tier of the table that holds."""
    return _first(policy.tiers, known, _tier)


def _tier(tier: Tier, because: str) -> Match:
    word, what = called_for(tier.respond)
    authority = Authority(roles=tier.authority) if tier.authority else None
    return Match(tier.id, word, what, f"{tier.title}: {because}", tier.within, authority=authority,
                 respond=tier.respond)  # fmt: skip


def _first(
    rows: tuple[Score, ...] | tuple[Tier, ...], known: Known, match: Callable[..., Match]
) -> Heard:
    unsure: list[Match] = []
    for row in rows:
        answer, because = evaluate(row.when, known)
        if answer is Answer.PASS:
            return Heard((match(row, because),), tuple(unsure))
        if answer is Answer.UNKNOWN:
            unsure.append(_doubted(match(row, because), row.when, known))
    return Heard((), tuple(unsure))


def _doubted(match: Match, when: Condition, known: Known) -> Match:
    return replace(match, unsaid=unsaid(when, known))


def breakers(policy: Decision, known: Known) -> Heard:
    """Each breaker whose every condition holds, and of whose `unless` none does."""
    fired: list[Match] = []
    unsure: list[Match] = []
    for breaker in policy.breakers:
        if not breaker.enabled:
            continue
        wanted = [evaluate(one, known) for one in breaker.all]
        spared = [evaluate(one, known) for one in breaker.unless]
        answers = {answer for answer, _ in wanted}
        because = " and ".join(text for _, text in (*wanted, *spared))
        match = Match(breaker.id, "roll-back", breaker.roll_back, because, automatic=True,
                      inform=breaker.inform)  # fmt: skip
        if Answer.FAIL in answers or any(answer is Answer.PASS for answer, _ in spared):
            continue
        if answers == {Answer.PASS} and all(answer is Answer.FAIL for answer, _ in spared):
            fired.append(match)
        else:
            unsure.append(match)
    return Heard(tuple(fired), tuple(unsure))
