"""When to go back: metrics, conditions on them, triggers, and the styles of deciding.

Hides: nothing.
Never: reads a metric or decides; that is `observe` and `judge`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rollback.model.people import Authority
from rollback.model.quantity import Lasting, Limit, Seconds, Share
from rollback.model.registry import Declared, Metric
from rollback.model.step import Id, MetricSource, Text

Unit = Literal[
    "fraction", "percent", "milliseconds", "seconds", "bytes", "count", "ratio", "boolean",
    "score", "minutes", "hours", "days",
]  # fmt: skip


class MetricDeclared(Declared):
    """A number that can be read, with its unit and which way is better."""

    title: Text | None = None
    unit: Unit
    direction: Literal["lower-is-better", "higher-is-better", "neither"] = "lower-is-better"
    window: Lasting | None = None
    min_samples: Annotated[int, Field(ge=1)] = 1
    normal: Limit | None = None
    source: Metric

    @model_validator(mode="after")
    def _measurable(self) -> MetricDeclared:
        units = self.source.units if isinstance(self.source, MetricSource) else ()
        if units and self.unit not in units:
            raise ValueError(
                f"{self.source.kind} gives no number in {self.unit}; write unit: {' or '.join(units)}"
            )
        return self


class Condition(Declared):
    """True, false or unknown. One of: metric with limits, event, fact, all, any, not.

    A fact is told by a person (`decide --fact k=v`); it is true, a word, or a number with limits.
    Limits: `above` and `below` are strict, `at_least` and `at_most` are not. `for` is how long
    it must hold; `times` how often in a row; `within` limits the age of an event. `where` are fields
    that the event has, `where_not` fields that have none of these values, or none at all.
    """

    metric: Id | None = None
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: Limit | None = None
    times_normal: float | None = None
    for_: Seconds | None = Field(default=None, alias="for")
    times: Annotated[int, Field(ge=1, le=1000)] | None = None
    event: Id | None = None
    where: dict[str, str | int | bool] = Field(default_factory=dict)
    where_not: dict[str, tuple[str | int | bool, ...]] = Field(default_factory=dict)
    within: Seconds | None = None
    count: Annotated[int, Field(ge=1)] | None = None
    fact: Id | None = None
    is_: bool | str | None = Field(default=None, alias="is")
    all: tuple[Condition, ...] = ()
    any: tuple[Condition, ...] = ()
    not_: Condition | None = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _whole(self) -> Condition:
        kinds = [
            name
            for name, given in (
                ("metric", self.metric is not None), ("event", self.event is not None),
                ("fact", self.fact is not None), ("all", bool(self.all)), ("any", bool(self.any)),
                ("not", self.not_ is not None),
            )
            if given
        ]  # fmt: skip
        if len(kinds) != 1:
            raise ValueError("a condition is one of: metric, event, fact, all, any, not")
        limits = (self.above, self.below, self.at_least, self.at_most, self.equals)
        numbers = any(v is not None for v in (*limits, self.times_normal))
        if kinds != ["event"] and (self.where or self.where_not):
            raise ValueError("where and where_not belong to an event; name it beside them")
        if kinds == ["metric"] and not numbers:
            raise ValueError(
                "a condition on a metric needs a number; write above, below, at_least, at_most or equals"
            )
        if kinds not in (["metric"], ["fact"]) and numbers:
            raise ValueError("limits belong to a metric or a fact; name it beside them")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric that the condition reads."""
        own = (self.metric,) if self.metric else ()
        return tuple(dict.fromkeys((*own, *(m for c in self.inner for m in c.metrics))))

    @property
    def events(self) -> tuple[str, ...]:
        """Every event that the condition asks about."""
        own = (self.event,) if self.event else ()
        return tuple(dict.fromkeys((*own, *(e for c in self.inner for e in c.events))))

    @property
    def inner(self) -> tuple[Condition, ...]:
        """The conditions that it is made of."""
        return (*self.all, *self.any, *((self.not_,) if self.not_ else ()))


class Watch(Declared):
    """Looking on for a while; where the metric goes decides. Flat is looked at once more."""

    for_: Seconds = Field(alias="for")
    every: Seconds | None = None
    metric: Id
    improving: Respond
    worsening: Respond
    flat: Respond | None = None


class Attempt(Declared):
    """A repair that a person tries within a time, as a task; how it ends decides."""

    task: Id
    within: Seconds
    success: Respond
    failure: Respond


class Respond(Declared):
    """What a trigger calls for: one of these. `evaluate` goes on to the scores."""

    roll_back: Id | None = None
    procedure: Id | None = None
    decide: Id | None = None
    escalate: Id | None = None
    hold: Text | None = None
    observe: Seconds | None = None
    task: Id | None = None
    watch: Watch | None = None
    attempt: Attempt | None = None
    evaluate: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Respond:
        given = (
            self.roll_back, self.procedure, self.decide, self.escalate, self.hold, self.observe,
            self.task, self.watch, self.attempt, self.evaluate,
        )  # fmt: skip
        if sum(1 for one in given if one is not None) != 1:
            raise ValueError(
                "a response is one of: roll_back, procedure, decide, escalate, hold, observe, "
                "task, watch, attempt, evaluate"
            )
        return self


class Trigger(Declared):
    """A condition that calls for a response, within `urgency`.

    `component` is the one to put back, for a level that works on a single one.
    """

    id: Id
    title: Text | None = None
    when: Condition
    respond: Respond
    component: Id | None = None
    urgency: Seconds | None = None
    severity: Id | None = None
    cooldown: Seconds = 0.0
    automatic: bool = False
    enabled: bool = True
    authority: Authority | None = None
    inform: tuple[Id, ...] = ()
    environment: tuple[Id, ...] = ()


class Branch(Declared):
    """One question of an ordered tree: what a yes leads to, and a no (empty: the next one)."""

    id: Id
    question: Text
    when: Condition
    yes: Respond | None = None
    no: Respond | None = None
    urgency: Seconds | None = None
    severity: Id | None = None
    authority: Authority | None = None


class Score(Declared):
    """One row of a scored evaluator: how sure it makes us that `level` is right."""

    id: Id
    when: Condition
    level: Id | None = None
    confidence: Share
    reason: Text
    needed: bool = True


class Confidence(Declared):
    """From which confidence on the tool acts, asks, or only watches; both limits are strict."""

    act_above: Share
    ask_above: Share
    otherwise: Literal["escalate", "hold"] = "escalate"


class Tier(Declared):
    """One row of a table of tiers: its condition, its answer, and who decides by when."""

    id: Id
    title: Text
    when: Condition
    respond: Respond
    within: Seconds | None = None
    authority: tuple[Id, ...] = ()
    consider: tuple[Text, ...] = ()


class Option(Declared):
    """One thing a person may choose."""

    id: Id
    title: Text
    respond: Respond
    record: Id | None = None
    use_when: Text | None = None


class DecisionPoint(Declared):
    """A question that a person answers, from at least two options; none is taken silently."""

    title: Text
    asks: Id
    when: Condition | None = None
    options: Annotated[tuple[Option, ...], Field(min_length=2)]
    answer_within: Seconds | None = None


class Filter(Declared):
    """A reason for, or against, going back at all.

    Where there are `manual` ones for it, a person who starts a level that no decision calls for says
    one of them: `--reason "ID: what was seen"`.
    """

    id: Id
    title: Text
    when: Condition | None = None
    answer: Literal["appropriate", "not-appropriate"]
    manual: bool = False
    overridden_by: tuple[Id, ...] = ()


class Breaker(Declared):
    """Fires without being asked when every condition of `all` holds and none of `unless`.

    With `reset_after` a run that it led to leaves it open for so long: then one look tries it. It closes
    when that says no, and stays open as long again when that says yes.
    """

    id: Id
    title: Text | None = None
    all: Annotated[tuple[Condition, ...], Field(min_length=1)]
    unless: tuple[Condition, ...] = ()
    roll_back: Id
    enabled: bool = True
    inform: tuple[Id, ...] = ()
    reset_after: Seconds | None = None


class Decision(Declared):
    """How the matching triggers become one answer.

    `most-severe`: the highest level wins. `first`: the first that matches. `tree`: the questions
    in order. `scored`: the most confident row. `tiers`: the first row of the table. `strictest`:
    tree and scores both speak, the stricter answer wins. `asked`: a person always decides.

    `assessment` is a record that is whole before any level starts. What is called for without an urgency
    of its own is overdue when nobody has answered it `review_after` so long.
    """

    style: Literal["most-severe", "first", "tree", "scored", "tiers", "strictest", "asked"]
    tree: tuple[Branch, ...] = ()
    scores: tuple[Score, ...] = ()
    confidence: Confidence | None = None
    tiers: tuple[Tier, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    filters: tuple[Filter, ...] = ()
    points: dict[Id, DecisionPoint] = Field(default_factory=dict)
    assessment: Id | None = None
    otherwise: Respond | None = None
    review_after: Seconds | None = None
