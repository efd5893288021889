"""The memory of failures: what the journal knows of each, and which of them are alike.

It is permanent because the journal is: no restore reaches it, and no restart.

Hides: which event carries a failure.
Never: writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollback.model.event import Event
from rollback.model.finding import Json

REMEMBERED = "failure.remembered"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure that somebody wrote down; `known` by the names of the declared fields.

    `hash` is that of its event, and no other failure has it.
    """

    hash: str
    at: str
    by: str
    known: Mapping[str, str]

    def as_json(self) -> dict[str, Json]:
        """One line of the memory: {"hash": …, "at": …, "by": …, "pattern": …, …}."""
        return {"hash": self.hash, "at": self.at, "by": self.by, **self.known}


def failures_of(events: Iterable[Event]) -> tuple[Failure, ...]:
    """Every failure that was remembered, oldest first."""
    return tuple(failure_of(event) for event in events if event.kind == REMEMBERED)


def failure_of(event: Event) -> Failure:
    """The failure that this event of the journal carries."""
    known = event.data.get("known")
    fields = known if isinstance(known, dict) else {}
    return Failure(
        event.hash, event.at, str(event.data.get("by", "")),
        {str(name): str(value) for name, value in fields.items()},
    )  # fmt: skip


def alike(
    failures: Iterable[Failure], one: Failure, similar_by: Iterable[str]
) -> tuple[Failure, ...]:
    """Those that say the same as `one` in each field of `similar_by`, itself included, oldest first.

    Capitals and blanks at the ends make no difference.

    >>> a, b = (Failure(x, "", "", {"pattern": x}) for x in ("Port", " port"))
    >>> len(alike((a, b), a, ("pattern",)))
    2
    """
    names = tuple(similar_by)
    wanted = [_plain(one, name) for name in names]
    return tuple(other for other in failures
                 if [_plain(other, name) for name in names] == wanted)  # fmt: skip


def _plain(one: Failure, name: str) -> str:
    return one.known.get(name, "").strip().casefold()
