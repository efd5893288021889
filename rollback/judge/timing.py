"""Since when something is called for, and when it was answered: read from events, by the clock in them.

What is called for is detected with the first decision of an unbroken row that says so. It has begun
with the first step of a run at that level or a higher one.

Hides: how a row of decisions is read, and when everybody works again.
Never: reads a clock; takes a request for the deed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollback.model.event import Event
from rollback.model.lifecycle import between

DECISION = "decision.taken"
_QUIET = ("hold", "observe")


@dataclass(frozen=True, slots=True)
class Called:
    """A rule that has called for `what` since the decision `since`, and still does.

    `word` is what kind of answer that is; `level` is `what` where it is to go back.
    """

    trigger: str
    word: str
    what: str
    level: str
    urgency_s: float | None
    since: Event

    @property
    def key(self) -> str:
        """Tells one such row from another."""
        return f"{self.trigger}@{self.since.seq}"


def called_for(events: Iterable[Event]) -> tuple[Called, ...]:
    """What the newest decision calls for, each since the first of its row."""
    open_: dict[tuple[str, str, str], Called] = {}
    for event in events:
        if event.kind == DECISION:
            said = {(one.trigger, one.word, one.what): one for one in _said(event)}
            open_ = {key: open_.get(key, one) for key, one in said.items()}
    return tuple(open_.values())


def detected(events: Sequence[Event], run: str, level: str) -> Event | None:
    """The decision that first called for this level, in the row that the run answers.

    None where none did: it was begun by hand.
    """
    at = _planned_at(events, run)
    if at is None:
        return None
    found = [one.since for one in called_for(events[:at]) if one.what == level]
    return min(found, key=lambda event: event.seq) if found else None


def first_step(events: Iterable[Event], run: str) -> Event | None:
    """When the run first did something."""
    return next((e for e in events if e.run == run and e.kind == "step.began"), None)


def recovered(events: Sequence[Event], run: str, *, watched: bool) -> Event | None:
    """When everybody worked again after this run: its incident was proved over.

    `watched`: systems that are watched after a run are well when that has held, not before.
    """
    at = _planned_at(events, run)
    if at is None:
        return None
    incident = events[at].data.get("incident")
    mine = {e.run for e in events if e.kind == "run.planned" and e.data.get("incident") == incident}
    for event in events[at + 1 :]:
        stable = event.kind == "incident.stable" and event.data.get("incident") == incident
        proved = event.kind == "gate.opened" and event.run in mine
        if stable if watched else proved:
            return event
    return None


def took(began: Event | None, ended: Event | None) -> tuple[float, bool] | None:
    """Seconds from one to the other, and whether they are only approximate; None while one is missing."""
    if began is None or ended is None:
        return None
    spent_s, approximate = between(began, ended)
    return round(max(0.0, spent_s), 3), approximate


def _planned_at(events: Sequence[Event], run: str) -> int | None:
    """Where the run begins; what lay aside has numbers of its own, so the place counts."""
    places = (n for n, e in enumerate(events) if e.run == run and e.kind == "run.planned")
    return next(places, None)


def _said(event: Event) -> Iterable[Called]:
    """Each rule of the decision that calls for something; one that was held back calls for nothing."""
    matches = event.data.get("matches")
    for one in matches if isinstance(matches, list) else ():
        if isinstance(one, dict) and one.get("respond") not in _QUIET:
            yield _called(one, event)


def _called(match: Mapping[str, Any], event: Event) -> Called:
    urgency = match.get("urgency_s")
    return Called(
        str(match.get("trigger")), str(match.get("respond")), str(match.get("what")),
        str(match.get("level") or ""),
        float(urgency) if isinstance(urgency, (int, float)) else None, event,
    )  # fmt: skip
