"""The severity table as rules: a word whose symptoms are declared (`when`) is a trigger like any other.

Most severe first. It calls for the word's level or procedure; where it names neither, for a person.

Hides: how a row of the table becomes a trigger.
Never: evaluates one: that is the same for every trigger.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from rollback.judge.match import Match
from rollback.model.operations import SeverityWord
from rollback.model.policy import Condition, Respond, Trigger
from rollback.model.system import System


@lru_cache(maxsize=8)  # a declared system never changes, and is asked at every tick
def rules(system: System) -> tuple[Trigger, ...]:
    """Every trigger: the declared ones, then those of the severity table, the most severe first."""
    words = sorted(system.severity.items(), key=lambda item: -item[1].order)
    table = (_rule(system, name, word, word.when) for name, word in words if word.when is not None)
    return (*system.triggers, *table)


def graded(system: System, match: Match) -> Match:
    """The rule with what its word of severity says: by when somebody must act, and what people do."""
    word = system.severity.get(match.severity)
    if word is None:
        return match
    urgency_s = word.respond_within if match.urgency_s is None else match.urgency_s
    due = f"; what is to be done: {', '.join(word.response)}" if word.response else ""
    return replace(match, urgency_s=urgency_s, because=f"{match.because}{due}")


def _rule(system: System, name: str, word: SeverityWord, when: Condition) -> Trigger:
    respond = Respond.model_construct(escalate=system.guardrails.escalate or system.people.owner)
    if word.level is not None:
        respond = Respond.model_construct(roll_back=word.level)
    elif word.procedure is not None:
        respond = Respond.model_construct(procedure=word.procedure)
    return Trigger.model_construct(
        id=name, title=word.title, when=when, respond=respond,
        severity=name, automatic=word.automatic,
    )  # fmt: skip
