"""What surrounds a rollback: checkpoints, verification, messages, drills, records, follow-ups.

Hides: nothing.
Never: does any of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from rollback.model.component import AnyPath, RelativePath
from rollback.model.policy import Condition
from rollback.model.quantity import Lasting, Limit, Retention, Seconds, Share
from rollback.model.registry import Check, Declared, Notifier, Store, spelt
from rollback.model.step import Date, Id, Text

_Value = str | bool | int | float
Sha256 = Annotated[str, spelt(r"\A[0-9a-f]{64}\z", "write the 64 hex digits that sha256sum prints")]


class Export(Declared):
    """Checkpoints of a kind as plain tars in a place that may be used to archive.

    Without `every`, each of them; with it, those that were taken at least so far apart. The newest
    `keep` stay.
    """

    place: Id
    every: Seconds | None = None
    keep: Annotated[int, Field(ge=1, le=1000)] = 3


class CheckpointKind(Declared):
    """When checkpoints of this kind are taken, of what, how often stored, and kept how long.

    `with_plan`: the way back stands in each of them; left out, in those taken `on: risky`. `drain` are
    services that do no work while one is taken, so that its components are of one moment.
    """

    title: Text | None = None
    on: Literal["release", "rollback", "phase", "schedule", "risky", "manual", "idle"]
    every: Seconds | None = None
    components: Literal["all"] | tuple[Id, ...] = "all"
    copies: Annotated[int, Field(ge=1, le=9)] = 1
    stores: tuple[Id, ...] = ()
    retention: Retention
    with_plan: bool | None = None
    drain: tuple[Id, ...] = ()
    export: Export | None = None
    warn_when_missed: bool = True

    @property
    def planned_back(self) -> bool:
        """True when each checkpoint of this kind holds the way back to it."""
        return self.on == "risky" if self.with_plan is None else self.with_plan


class Checkpoints(Declared):
    """The kinds of checkpoints. `stores` are further places for copies, by id."""

    kinds: dict[Id, CheckpointKind] = Field(default_factory=dict)
    stores: dict[Id, Store] = Field(default_factory=dict)
    restore_order: tuple[Text, ...] = ()


class KnownRed(Declared):
    """A check that was red before, with who answers for it and until when."""

    id: Id
    owner: Id
    expires: Date
    reason: Text


Asked = Annotated[
    str,
    spelt(
        r"\A(?:[a-z0-9][a-z0-9._-]{0,62}|[^\s:]{1,300}\.py(?:::\S.{0,300})?)\z",
        "write the id of a check, or a test of yours like verification/smoke/test_shop.py::test_till",
    ),
]


class Retired(Declared):
    """A check that is asked no more, or a test (or test file) of the team, by whom and why."""

    id: Asked
    by: Id
    reason: Text


class SuiteFile(Declared):
    """A test file of the team, pinned by its SHA-256."""

    path: Text
    sha256: Sha256


class Tolerance(Declared):
    """How much worse than the seal a number may be: a ratio and an absolute floor."""

    ratio: Share | None = None
    floor: Limit | None = None
    factor: Annotated[float, Field(gt=0, le=1000)] | None = None


class Divergence(Declared):
    """Components that may stop fitting together when one of them goes back, and the check that sees it.

    `of`: they are of different epochs, messages between them are in flight, or tasks were orphaned. Asked
    at a gate when one of `between` was put back.
    """

    id: Id
    title: Text | None = None
    between: Annotated[tuple[Id, ...], Field(min_length=2)]
    of: Literal["epoch", "messages", "tasks"]
    check: Check


def _reads_only(check: Any) -> Any:
    why = getattr(check, "writes", "")
    if why:
        suite = (
            "performance"
            if getattr(check, "effects", "") == "load"
            else "functional or integration"
        )
        effects = "load" if suite == "performance" else "test-data"
        raise ValueError(
            f"{why}, and smoke is read-only: move it to {suite}, with effects: {effects}"
        )
    return check


ReadsOnly = Annotated[Check, AfterValidator(_reads_only)]
"""A check that stands in smoke: it is asked on every rollback, everywhere, again and again."""


def _says_what_it_does(check: Any) -> Any:
    why = getattr(check, "writes", "")
    if why and check.effects == "none" and "effects" not in check.model_fields_set:
        raise ValueError(
            f"{why}: write effects: test-data, or effects: none where it changes nothing"
        )
    return check


MayWrite = Annotated[Check, AfterValidator(_says_what_it_does)]
"""A check that may change something, and says so: an environment allows it, or not."""


class Verification(Declared):
    """The checks of every suite, what is known to be red, and the team's own test files.

    `budgets` are how long the suites may take; `divergence` is asked when the suites are green.
    `requirements` is where the `item` of a check is written down, for links: `https://…/{item}`.
    """

    smoke: tuple[ReadsOnly, ...] = ()
    functional: tuple[MayWrite, ...] = ()
    integration: tuple[MayWrite, ...] = ()
    performance: tuple[MayWrite, ...] = ()
    known_red: tuple[KnownRed, ...] = ()
    retired: tuple[Retired, ...] = ()
    suites: tuple[SuiteFile, ...] = ()
    divergence: tuple[Divergence, ...] = ()
    tolerances: dict[Id, Tolerance] = Field(default_factory=dict)
    requirements: Annotated[
        str | None,
        spelt(r"\Ahttps?://[^\s{}@]+\{item\}[^\s{}@]*\z", "write an address with {item} in it"),
    ] = None
    budgets: dict[Literal["smoke", "functional", "integration", "performance"], Seconds] = Field(
        default_factory=dict
    )


class Message(Declared):
    """A text with plain fields. `on` are states of a run that send it; `fields` must be filled."""

    audience: Id
    text: Text
    title: Text | None = None
    on: tuple[str, ...] = ()
    fields: tuple[Text, ...] = ()
    every: Seconds | None = None
    within: Seconds | None = None
    urgent: bool = False


class Rung(Declared):
    """One contact of a ladder: who, and how long after its start."""

    role: Id
    within: Seconds
    audience: Id | None = None


class Ladder(Declared):
    """Contacts in order until somebody acknowledges.

    It begins where it is named, and with `on: [overdue]` whenever something did not happen by its time.
    """

    title: Text | None = None
    on: tuple[Literal["overdue"], ...] = ()
    reasons: tuple[Text, ...] = ()
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1)]
    message: Id | None = None
    self_authorize: tuple[Id, ...] = ()


class Notify(Declared):
    """Channels, who listens on which, what is said, and who is called next."""

    channels: dict[Id, Notifier] = Field(default_factory=dict)
    audiences: dict[Id, tuple[Id, ...]] = Field(default_factory=dict)
    messages: dict[Id, Message] = Field(default_factory=dict)
    ladders: dict[Id, Ladder] = Field(default_factory=dict)


class Drill(Declared):
    """A rehearsal: what is broken, what must answer it, how often, and how fast."""

    id: Id
    title: Text | None = None
    fault: Text
    level: Id | None = None
    procedure: Id | None = None
    every: Seconds | None = None
    after: tuple[Text, ...] = ()
    mitigated_within: Seconds | None = None
    complete_within: Seconds | None = None
    success_rate: Share | None = None
    min_samples: Annotated[int, Field(ge=1)] = 1
    measures: tuple[Text, ...] = ()
    audience: Id | None = None
    missing: Text | None = None


class RecordField(Declared):
    """One field of a record; of a text `longest` characters at most.

    `computed` says from what the tool fills it; while that is not known, a person may.
    """

    title: Text | None = None
    type: Literal[
        "text", "number", "date", "duration", "bool", "list", "choice", "person", "link"
    ] = "text"
    choices: tuple[Text, ...] = ()
    required: bool = True
    by: Id | None = None
    computed: Text | None = None
    unit: Text | None = None
    longest: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _choices(self) -> RecordField:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError(
                "a choice has choices, and nothing else has; write choices: [a, b] with type: choice"
            )
        return self


class Record(Declared):
    """A declared form: its fields, who fills it, by when, and how often it is looked at again."""

    title: Text
    by: Id | None = None
    due: Seconds | None = None
    review_every: Seconds | None = None
    fields: dict[Id, RecordField]


class EventLog(Declared):
    """The lines of a log that mean an event: JSON records with these values, or text of a pattern.

    Of `where`, a list means any of its values. A field of the event is filled from the record's field
    that `fields` names, or of its own name, or from the pattern's group of its name. `time` and `zone`
    are as in a check of a log.
    """

    file: AnyPath
    where: dict[Text, _Value | tuple[_Value, ...]] = Field(default_factory=dict)
    pattern: Text | None = None
    fields: dict[Id, Text] = Field(default_factory=dict)
    time: Text = "at"
    zone: Literal["utc", "local"] | None = None

    @model_validator(mode="after")
    def _one(self) -> EventLog:
        if bool(self.where) == (self.pattern is not None):
            raise ValueError("write one of: where, pattern")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(
                f"the pattern is no regular expression: {error}; write one like 'killed [0-9]+'"
            ) from None
        return self


class EventKind(Declared):
    """Something that happens outside of the tool and is told to the journal, or read from a log."""

    title: Text | None = None
    fields: dict[Id, Literal["text", "number", "bool"]] = Field(default_factory=dict)
    source: Text | None = None
    log: EventLog | None = None

    @model_validator(mode="after")
    def _named(self) -> EventKind:
        pattern = self.log.pattern if self.log else None
        groups = re.compile(pattern).groupindex if pattern else {}
        for name in (*groups, *(self.log.fields if self.log else ())):
            if name not in self.fields:
                raise ValueError(
                    f"the log names {name}, which is no field of the event; add it under fields"
                )
        return self


class SeverityWord(Declared):
    """One word of severity; the higher `order`, the worse.

    With `when` it is a trigger too, which calls for its `level` or `procedure`, else for a person.
    Whatever rule names the word must be acted on within `respond_within`, and says the `response`.
    `automatic` is as in a trigger.
    """

    order: Annotated[int, Field(ge=0, le=100)]
    title: Text
    symptoms: tuple[Text, ...] = ()
    when: Condition | None = None
    impact: Text | None = None
    respond_within: Seconds | None = None
    response: tuple[Text, ...] = ()
    level: Id | None = None
    procedure: Id | None = None
    automatic: bool = False
    examples: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> SeverityWord:
        if self.when is not None and self.level is not None and self.procedure is not None:
            raise ValueError("with when, a severity calls for one of: level, procedure")
        if self.automatic and self.when is None:
            raise ValueError(
                "only a severity with when acts by itself; write when too, or leave automatic out"
            )
        return self


class Stability(Declared):
    """What must hold after a rollback, for how long, before the incident calms down."""

    watch: Seconds
    every: Seconds | None = None
    limits: Annotated[tuple[Condition, ...], Field(min_length=1)]
    worse: Text | None = None
    flat: Text | None = None


class Tightening(Declared):
    """Factors on intervals and limits for a while after an incident."""

    interval: Annotated[float, Field(gt=0, le=1)] = 1.0
    checkpoints: Annotated[float, Field(gt=0, le=1)] = 1.0
    thresholds: Annotated[float, Field(gt=0, le=1)] = 1.0
    lasts: Seconds | None = None


class Monitor(Declared):
    """How the agent looks at the system between incidents."""

    interval: Lasting = 60.0
    timeout: Lasting = 5.0
    threshold: Annotated[int, Field(ge=1, le=1000)] = 1
    cooldown: Seconds = 0.0
    stability: Stability | None = None
    tightening: Tightening | None = None
    lookback: Seconds | None = None


class Report(Declared):
    """A document written from the journal; or, with `line` and `per`, a log rendered line by line."""

    title: Text
    template: Text | None = None
    by: Id | None = None
    due: Seconds | None = None
    sections: tuple[Text, ...] = ()
    fields: tuple[Text, ...] = ()
    signatures: tuple[Id, ...] = ()
    place: Id | None = None
    path: Text | None = None
    audience: Id | None = None
    record: Id | None = None
    when: Condition | None = None
    line: Text | None = None
    per: Literal["step", "decision", "run"] | None = None


class Memory(Declared):
    """What is remembered of failures, and when a repetition becomes a matter of its own.

    Each is in the journal, and a line of the file `path`: below the root, or in a `place` that may be
    written. Two are alike that say the same in every field of `similar_by`; with the one that makes
    them `systemic_after`, the task `systemic_task` is opened, once.
    """

    place: Id | None = None
    path: RelativePath | None = None
    fields: tuple[Id, ...] = ()
    similar_by: tuple[Id, ...] = ("pattern",)
    systemic_after: Annotated[int, Field(ge=2, le=1000)] | None = None
    systemic_task: Id | None = None

    @model_validator(mode="after")
    def _whole(self) -> Memory:
        if self.fields and "pattern" not in self.fields:
            raise ValueError("a failure is found by its pattern: name that field")
        for name in self.similar_by if self.fields else ():
            if name not in self.fields:
                raise ValueError(f"similar_by names {name}, which is no field; add it to fields")
        if (self.systemic_after is None) != (self.systemic_task is None):
            raise ValueError(
                "systemic_after and systemic_task belong together; write both or neither"
            )
        if self.place is not None and self.path is None:
            raise ValueError("a place needs a path in it; write path: FILE beside it")
        return self


class Task(Declared):
    """Work that follows: opened as an item with owner, priority and due time."""

    title: Text
    text: Text | None = None
    owner: Id | None = None
    priority: Id | None = None
    due: Seconds | None = None
    record: Id | None = None
    when: Condition | None = None
    subtasks: tuple[Text, ...] = ()
    type: Text | None = None


class FollowUps(Declared):
    """Tasks by id, and the words of priority in order, the most pressing first."""

    priorities: dict[Id, int] = Field(default_factory=dict)
    types: tuple[Text, ...] = ()
    tasks: dict[Id, Task] = Field(default_factory=dict)
    folder: RelativePath | None = None


class Stage(Declared):
    """One stage of a re-deployment: how much, for how long, and what must hold."""

    id: Id
    title: Text | None = None
    share: Share | None = None
    dwell: Seconds | None = None
    environment: Id | None = None
    limits: tuple[Condition, ...] = ()
    suites: tuple[Literal["smoke", "functional", "integration", "performance"], ...] = ()
    audience: Id | None = None


class Requirement(Declared):
    """One thing that must be shown before going out again; `levels` limits it to runs of those."""

    id: Id
    title: Text
    approve: Id | None = None
    record: Id | None = None
    task: Id | None = None
    check: Id | None = None
    suites: tuple[Literal["smoke", "functional", "integration", "performance"], ...] = ()
    at_least: int | None = None
    drill: Id | None = None
    message: Id | None = None
    levels: tuple[Id, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Requirement:
        given = (self.approve, self.record, self.task, self.check, self.drill, self.message)
        if sum(1 for one in given if one is not None) + bool(self.suites) != 1:
            raise ValueError(
                "a requirement is one of: approve, record, task, check, suites, drill, message"
            )
        return self


class Redeploy(Declared):
    """What must be true before what was taken back goes out again, and in which stages."""

    requires: tuple[Requirement, ...] = ()
    authority: tuple[Id, ...] = ()
    stages: tuple[Stage, ...] = ()
    on_bad: Literal["back", "stop"] = "back"
    plan: dict[Id, Text] = Field(default_factory=dict)


class Pattern(Declared):
    """A known shape of failure: how it shows and what has helped."""

    title: Text
    symptoms: tuple[Text, ...] = ()
    match: tuple[Text, ...] = ()
    causes: tuple[Text, ...] = ()
    severity: Id | None = None
    procedure: Id | None = None
    level: Id | None = None
    remedy: tuple[Text, ...] = ()
    prevention: tuple[Text, ...] = ()


class Practice(Declared):
    """One practice that prevents failures: what, how often, who, and how it shows.

    It shows by a check that passes, a drill that is not overdue, a checkpoint of a kind no older than
    `every`, a condition that holds, a procedure that has steps, or the word of somebody who knows.
    """

    id: Id
    title: Text
    every: Seconds | None = None
    on: Text | None = None
    owner: Id | None = None
    procedure: Id | None = None
    check: Id | None = None
    drill: Id | None = None
    checkpoint: Id | None = None
    when: Condition | None = None
    stage: Literal["before", "during", "after"] | None = None
    hours: Annotated[float, Field(ge=0)] | None = None
    per_person: bool = False
