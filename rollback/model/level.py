"""How far to go back: levels with budgets, authority, target, steps, gate and checklist.

Hides: nothing.
Never: decides which level; that is `judge`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rollback.model.people import Authority
from rollback.model.quantity import Seconds, Share
from rollback.model.registry import Action, Declared
from rollback.model.step import Id, Suite, Text


class Budgets(Declared):
    """How long a run may take, from its creation: to MITIGATED, and to COMPLETE.

    `start` counts from the first decision that called for the level to the first step; `recovery`
    until everybody works as before: the gate has opened, and what `monitor.stability` says has held.
    """

    mitigated: Seconds
    complete: Seconds
    start: Seconds | None = None
    recovery: Seconds | None = None


class Source(Declared):
    """Where a target may come from: one of these."""

    checkpoint: Text | None = None
    git: Text | None = None
    phase: Text | None = None
    archive: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        given = [v for v in (self.checkpoint, self.git, self.phase, self.archive) if v is not None]
        if len(given) != 1:
            raise ValueError("a source is one of: checkpoint, git, phase, archive")
        return self


class Target(Declared):
    """The sources in the order in which they are tried; the first valid one is taken."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]


class Gate(Declared):
    """What must hold before the run is COMPLETE; checks not in `expect` must pass.

    `settle` is how long smoke, asked again and again, has to hold after everything has held once.
    `strength` is the share of planted faults that the gate must have noticed when it was last measured,
    for a run that nobody confirmed to complete; a measurement counts for `strength_lasts`, and as long
    as the gate asks the same.
    """

    suites: tuple[Suite, ...] = ()
    checks: tuple[Id, ...] = ()
    expect: dict[Id, Literal["pass", "fail", "absent"]] = Field(default_factory=dict)
    settle: Seconds = 0.0
    known_red: Literal["none", "allowed"] = "none"
    strength: Share | None = None
    strength_lasts: Seconds = 90 * 86400.0

    @model_validator(mode="after")
    def _repeats(self) -> Gate:
        if self.settle and "smoke" not in self.suites:
            raise ValueError("settle asks smoke again and again: name smoke under suites")
        return self


class ChecklistItem(Declared):
    """One line that somebody or something ticks off: evidence is exactly one of the sources."""

    id: Id
    item: Text
    check: Id | None = None
    step: Id | None = None
    message: Id | None = None
    attest: Id | None = None
    follow_up: Id | None = None
    record: Id | None = None
    gates: Literal["start", "complete", "closing"] = "complete"
    due: Seconds | None = None
    fulfils: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> ChecklistItem:
        sources = (
            self.check, self.step, self.message, self.attest, self.follow_up, self.record,
        )  # fmt: skip
        if sum(1 for source in sources if source is not None) != 1:
            raise ValueError(
                "an item rests on one of: check, step, message, attest, follow_up, record"
            )
        return self


_SETTLE = re.compile(r"\A(yes|done)\b", re.IGNORECASE)


def settles(text: str) -> bool:
    """True for a person's word that settles an item: it begins with yes or done.

    >>> settles("yes, she saw it"), settles("no"), settles("yesterday it was well")
    (True, False, False)
    """
    return _SETTLE.match(text.strip()) is not None


class ClimbTo(Declared):
    """What a closed gate leads to: the next level, asked or by itself; tasks; a call for people."""

    climb: Id = ""
    when: Literal["ask", "auto"] = "ask"
    tasks: tuple[Id, ...] = ()
    escalate: Id | None = None


class Prerequisite(Declared):
    """What must be true before the plan is made: one of these."""

    repository: Literal["clean-objects", "clean-tree", "head-known"] | None = None
    check: Id | None = None
    checkpoint: Text | None = None
    fact: Id | None = None
    record: Id | None = None
    attest: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> Prerequisite:
        given = (self.repository, self.check, self.checkpoint, self.fact, self.record, self.attest)
        if sum(1 for one in given if one is not None) != 1:
            raise ValueError(
                "a prerequisite is one of: repository, check, checkpoint, fact, record, attest"
            )
        return self


class Phase(Declared):
    """A named part of a level or procedure, with a budget of its own."""

    id: Id
    title: Text | None = None
    within: Seconds | None = None


Waiver = Literal[
    "dry-run", "disk", "rate-limit", "window", "confirmation", "prerequisites", "checkpoint",
    "lost-share", "blast-radius", "staging",
]  # fmt: skip


class Level(Declared):
    """A named scope of going back. `component: required` asks for one; a name fixes it."""

    rank: Annotated[int, Field(ge=0, le=1000)]
    title: Text
    scope: Text | None = None
    severity: Id | None = None
    component: Id | None = None
    budgets: Budgets
    data_loss: Text
    authority: Authority
    emergency: bool = False
    waives: tuple[Waiver, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    use_when: tuple[Text, ...] = ()
    not_when: tuple[Text, ...] = ()
    requires_lower_failed: bool = False
    target: Target | None = None
    variants: dict[Id, Text] = Field(default_factory=dict)
    variant: Id | None = None
    phases: tuple[Phase, ...] = ()
    steps: Annotated[tuple[Action, ...], Field(min_length=1)]
    gate: Gate | None = None
    checklist: tuple[ChecklistItem, ...] = ()
    on_fail: ClimbTo | None = None
    follow_ups: tuple[Id, ...] = ()
    reports: tuple[Id, ...] = ()


class Procedure(Declared):
    """A named list of steps that is no level: a response, a scenario, a repair, a shutdown."""

    title: Text
    purpose: Text | None = None
    budgets: Budgets | None = None
    authority: Authority | None = None
    success: Text | None = None
    emergency: bool = False
    waives: tuple[Waiver, ...] = ()
    prerequisites: tuple[Prerequisite, ...] = ()
    use_when: tuple[Text, ...] = ()
    target: Target | None = None
    phases: tuple[Phase, ...] = ()
    variants: dict[Id, Text] = Field(default_factory=dict)
    variant: Id | None = None
    steps: Annotated[tuple[Action, ...], Field(min_length=1)]
    gate: Gate | None = None
    checklist: tuple[ChecklistItem, ...] = ()
    on_fail: ClimbTo | None = None
    follow_ups: tuple[Id, ...] = ()
    reports: tuple[Id, ...] = ()
