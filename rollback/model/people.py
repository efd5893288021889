"""Who may decide: roles, members, autonomy, authority of a level, guardrails.

Hides: nothing; these are the authority-bearing sections, pinned by `rollback trust`.
Never: holds a secret; keys are public keys, contacts are references.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rollback.model.component import RelativePath, Window
from rollback.model.quantity import Bytes, Limit, Seconds, Share
from rollback.model.registry import Declared, spelt
from rollback.model.step import Id, Text

Right = Literal["observe", "check", "warn", "ask", "roll-back", "open-tasks"]


Moment = Annotated[
    str,
    spelt(
        r"\A[0-9]{4}-[0-1][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?Z)?\z",
        "write a date like 2026-11-20, or a moment like 2026-11-20T21:30Z",
    ),
]


class Role(Declared):
    """A job that members hold. `reports_to` is who is asked when nobody here answers."""

    title: Text | None = None
    duty: Text | None = None
    reports_to: Id | None = None
    contact: Text | None = None
    hours: Window | None = None


class Member(Declared):
    """One person, or one rota, by id. `key` is a public signing key, or a reference to one."""

    id: Id
    roles: Annotated[tuple[Id, ...], Field(min_length=1)]
    key: Text | None = None
    contact: Text | None = None
    hours: Window | None = None


class BreakGlass(Declared):
    """Who may start a run alone when nobody can be asked, and who looks at it afterwards, by when."""

    roles: Annotated[tuple[Id, ...], Field(min_length=1)]
    review: Annotated[tuple[Id, ...], Field(min_length=1)]
    review_within: Annotated[Seconds, Field(gt=0)] = 24 * 3600.0


class People(Declared):
    """Everybody who may say something to a run."""

    owner: Id
    roles: dict[Id, Role]
    members: tuple[Member, ...] = ()
    break_glass: BreakGlass | None = None


class AutonomyLevel(Declared):
    """What the tool may do by itself at one level, and whether a person confirms."""

    title: Text | None = None
    may: tuple[Right, ...]
    confirm: bool = True


def _number(written: Any) -> Any:
    return int(written) if isinstance(written, str) and written.isdecimal() else written


_LEVELS = {
    1: AutonomyLevel(may=("observe",)),
    2: AutonomyLevel(may=("observe", "check", "warn")),
    3: AutonomyLevel(may=("observe", "check", "warn", "ask", "roll-back", "open-tasks")),
    4: AutonomyLevel(
        may=("observe", "check", "warn", "ask", "roll-back", "open-tasks"), confirm=False
    ),
}


class Autonomy(Declared):
    """How much the tool may do alone. Without a table: 1 looks, 2 checks, 3 acts if confirmed, 4 acts."""

    current: Annotated[int, Field(ge=0, le=100)] = 3
    table: dict[Annotated[int, BeforeValidator(_number)], AutonomyLevel] = Field(
        default_factory=dict
    )
    default_when_unknown: Literal["ask", "hold"] = "ask"

    @property
    def row(self) -> AutonomyLevel:
        """What holds now. Source: without a table, the four levels of the declared systems (QL-02..QL-05)."""
        declared = self.table or _LEVELS
        return declared.get(self.current, declared[max(declared)])


class Standing(Declared):
    """That approvals given beforehand count here: for these triggers (none: for any run), until it ends.

    Each is good for at most `uses` runs and for `longest`. `condition` is for people.
    """

    triggers: tuple[Id, ...] = ()
    condition: Text | None = None
    until: Moment | None = None
    uses: Annotated[int, Field(ge=1, le=100)] = 1
    longest: Annotated[Seconds, Field(gt=0, le=366 * 86400.0)] = 30 * 86400.0

    @model_validator(mode="after")
    def _a_day(self) -> Standing:
        if self.until is not None:
            datetime.fromisoformat(self.until)  # 2026-02-31 looks like a date
        return self

    @property
    def ends(self) -> datetime:
        """When none counts any more."""
        found = datetime.fromisoformat(self.until or "9999-12-31")
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class Authority(Declared):
    """Who may approve: any one, all, or the first reachable in order; `count` people of them.

    When nobody has within `answer_within`, `unanswered` says what follows: `stop` (the run is
    EXPIRED), `next` (those whom the roles report to may answer too, one after another, as long
    each), `person` (the run needs an operator). In order, the next role may answer after the one
    before was silent for `next_after`, at once outside of its hours. When the whole `ladder` was
    silent, who holds a role of its `self_authorize` may say yes alone.
    """

    roles: Annotated[tuple[Id, ...], Field(min_length=1)]
    quorum: Literal["any", "all", "ordered"] = "any"
    count: Annotated[int, Field(ge=1, le=50)] = 1
    alone: bool = False
    standing: Standing | None = None
    answer_within: Annotated[Seconds | None, Field(gt=0)] = None
    unanswered: Literal["stop", "next", "person"] = "stop"
    next_after: Annotated[Seconds | None, Field(gt=0)] = None
    ladder: Id | None = None
    also_inform: tuple[Id, ...] = ()

    @model_validator(mode="after")
    def _in_time(self) -> Authority:
        if self.unanswered != "stop" and self.answer_within is None:
            raise ValueError("unanswered needs a time: write answer_within: 15m")
        if self.unanswered == "next" and self.quorum == "all":
            raise ValueError(
                "all of the roles must answer, so no other can answer for them; leave unanswered out"
            )
        if (self.quorum == "ordered") != (self.next_after is not None):
            raise ValueError("in order, the next is asked after a time: write next_after: 5m")
        return self


class RateLimit(Declared):
    """At most `max` runs `per` time, at least `min_gap` apart."""

    max: Annotated[int, Field(ge=1, le=10000)]
    per: Seconds
    min_gap: Seconds = 0.0


class DiskGuard(Declared):
    """Free space must be `factor` times what is written, and `reserve` left over."""

    factor: Annotated[float, Field(ge=1.0, le=100.0)] = 1.1
    reserve: Bytes = 64 * 2**20
    at_least: Bytes | None = None


class Guard(Declared):
    """One named condition that must hold before a run: a metric's limit, a fact, or our own."""

    id: Id
    title: Text | None = None
    metric: Id | None = None
    fact: Id | None = None
    is_: bool | None = Field(default=None, alias="is")
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: Limit | None = None
    holds: Literal["checkpoint-made", "target-valid", "procedure-declared", "disk-free"] | None = (
        None
    )
    refuse: Literal["refuse", "ask", "warn"] = "refuse"

    @model_validator(mode="after")
    def _one(self) -> Guard:
        if sum(1 for one in (self.metric, self.fact, self.holds) if one is not None) != 1:
            raise ValueError("a condition is one of: metric, fact, holds")
        limits = (self.above, self.below, self.at_least, self.at_most, self.equals)
        if (self.metric is not None) != any(limit is not None for limit in limits):
            raise ValueError(
                "a metric needs a limit, and only a metric has one; write one like below: 10"
            )
        return self


class BlastRadius(Declared):
    """How much one run may change at most; what is not said is not limited."""

    components: Annotated[int, Field(ge=1)] | None = None
    paths: Annotated[int, Field(ge=1)] | None = None
    services: Annotated[int, Field(ge=0)] | None = None


class SecurityFloor(Declared):
    """Nothing older is gone back to: made before `not_before` (UTC), or without `commit` in it.

    `commit` is a commit or tag that holds the repair; a target whose commit is not known is refused.
    """

    not_before: Moment | None = None
    commit: Text | None = None
    reason: Text

    @model_validator(mode="after")
    def _some(self) -> SecurityFloor:
        if self.not_before is None and self.commit is None:
            raise ValueError("a security floor needs one of: not_before, commit")
        if self.not_before is not None:
            datetime.fromisoformat(self.not_before)  # 2026-02-31 looks like a date
        return self


class Guardrails(Declared):
    """What holds a run back, whoever asks for it.

    `whole_procedures`: no level or procedure may go on without a checkpoint of the present, a gate, and
    somebody who is called.
    """

    security_floor: SecurityFloor | None = None
    rate_limit: RateLimit | None = None
    disk: DiskGuard = Field(default_factory=DiskGuard)
    protected_paths: tuple[RelativePath, ...] = ()
    max_lost_share: Share | None = None
    blast_radius: BlastRadius | None = None
    dry_run_first: bool = False
    window: Window | None = None
    conditions: tuple[Guard, ...] = ()
    no_deployment_during_run: bool = True
    staging_first: Id | None = None
    climb_in_order: bool = False
    escalate: Id | None = None
    whole_procedures: bool = False
    redact_keys: tuple[Text, ...] = ()
