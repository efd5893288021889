"""What every step, check, metric source and notifier has in common, whatever its kind.

Hides: nothing; these are the fields that stand among the parameters of each kind.
Never: how a kind does its work: that is in the folder of its family.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from rollback.model.quantity import Seconds
from rollback.model.registry import Action, Declared, Kind, spelt

Id = Annotated[
    str,
    spelt(
        r"\A[a-z0-9][a-z0-9._-]{0,62}\z",
        "use a-z, 0-9, '-', '_' and '.', at most 63 characters, first a letter or digit",
    ),
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


def _in_the_calendar(written: str) -> str:
    try:
        date.fromisoformat(written)
    except ValueError:
        raise ValueError(
            f"{written!r} is no day of any month; write a date like 2026-11-20"
        ) from None
    return written


Date = Annotated[
    str, spelt(r"\A[0-9]{4}-[0-1][0-9]-[0-3][0-9]\z", "write a date like 2026-11-20"),
    AfterValidator(_in_the_calendar),
]  # fmt: skip
Suite = Literal["smoke", "functional", "integration", "performance"]
SUITES: tuple[Suite, ...] = ("smoke", "functional", "integration", "performance")
Effects = Literal["none", "test-data", "load"]


Otherwise = Literal["stop", "continue", "climb", "person"]


class OnFail(Declared):
    """What follows when a step fails: alternatives beside it first, then what `else` says.

    All of `then` is done, in order; as a `ladder` only until the first of them ends well. `opens` are
    tasks that a person gets; `climb` names the next level.
    """

    then: tuple[Action, ...] = ()
    ladder: bool = False
    otherwise: Otherwise = "stop"
    opens: tuple[Text, ...] = ()


def _on_fail(written: Any) -> Any:
    return {"otherwise": written} if isinstance(written, str) else written


Alters = Literal["nothing", "running", "stored"]
"""What a kind of step may change. One that alters `nothing` only looks, waits or tells: what is wrong
after it was wrong before it. `running` is how the system runs and what it is told; only what is
`stored` can be lost, and is kept before."""


class Step(Kind):
    """One action with a time limit. Subclasses are kinds of the family `action`.

    `exempt` steps may stand before PROTECTED; None takes the kind's own answer. `variant` limits
    the step to one variant of its level, `phase` files it under a phase.
    """

    alters: ClassVar[Alters] = "stored"

    id: Id | None = None
    title: Text | None = None
    within: Seconds = 60.0
    on_fail: Annotated[
        OnFail,
        BeforeValidator(_on_fail, json_schema_input_type=OnFail | Otherwise),
    ] = Field(default_factory=OnFail)
    environment: Id | None = None
    exempt: bool | None = None
    variant: Id | None = None
    phase: Id | None = None

    @property
    def harmless(self) -> bool:
        """True when it is known to alter nothing that is stored: only such a step may be `exempt`."""
        return self.alters != "stored"

    @property
    def again(self) -> bool:
        """True when taking it back is doing it again, once everything else is as before it."""
        return False

    @property
    def reversible(self) -> bool:
        """True when it says how it is taken back, for kinds that leave that to the declaration."""
        return True


NOT_EXEMPT = "changes what is stored, or may: it cannot be exempt from PROTECTED"
NOT_EXEMPT_HINT = "leave exempt out: the present is kept first, and then the step is taken"


class Check(Kind):
    """One read-only question. Subclasses are kinds of the family `check`.

    `levels` limits the check to those levels' gates (empty: always asked). `item` is the
    checklist line or demand it shows; `effects` says what asking it does to the system.
    """

    id: Id | None = None
    title: Text | None = None
    item: Text | None = None
    within: Seconds = 5.0
    effects: Effects = "none"
    severity: Literal["blocker", "critical", "normal", "minor", "trivial"] = "normal"
    levels: tuple[Id, ...] = ()

    @property
    def writes(self) -> str:
        """How asking it may change the system, in a few words; "" when it only reads."""
        return f"has effects {self.effects}" if self.effects != "none" else ""


class MetricSource(Kind):
    """Where a number comes from. Subclasses are kinds of the family `metric`."""

    @property
    def units(self) -> tuple[str, ...]:
        """The units that its number can have, as it is declared; empty: any."""
        return ()


class NotifierKind(Kind):
    """A way for a message to leave. Subclasses are kinds of the family `notifier`.

    `fallback` is the channel that gets the message when this one fails. A kind is `near` when it is
    done at once on this machine: who drives a run waits for it, and for no other.
    """

    near: ClassVar[bool] = False
    by_person: ClassVar[bool] = False

    fallback: Id | None = None
