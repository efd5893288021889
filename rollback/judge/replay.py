"""What the present rules would have said to past readings, and how good that is where it is known.

An alert is an unbroken row of moments at which something was called for; an episode is an unbroken
row of moments that are labelled bad. An alert is true when it overlaps an episode. The first alert
within an episode gives its delay.

Hides: how rows of moments become alerts and episodes.
Never: reads a past that is not given; invents a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rollback.judge.condition import Known
from rollback.judge.decision import Decision, decide
from rollback.model.finding import Json
from rollback.model.system import System

MONTH_S = 30 * 86400.0
_QUIET = ("hold", "observe")


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known at one moment of the past; `bad` where somebody labelled it, else None."""

    known: Known
    bad: bool | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """From when to when something was called for, by which rule at first, and its strictest level."""

    since: datetime
    until: datetime
    trigger: str
    said: str
    level: str = ""

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {
            "since": self.since.isoformat(), "until": self.until.isoformat(),
            "trigger": self.trigger, "said": self.said, "level": self.level,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Something was called for, but not at enough moments in a row: from when, by which rule, at how many."""

    since: datetime
    trigger: str
    row: int

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"since": self.since.isoformat(), "trigger": self.trigger, "row": self.row}


@dataclass(frozen=True, slots=True)
class Replayed:
    """The whole replay. The figures that need labels are None where there are none.

    `threshold` is how many moments in a row have to call for something; `held_back` are the rows that
    were shorter. Units: `span_s` from the first moment to the last, `delays_s` by detected episode.
    """

    moments: int
    unknown: int
    span_s: float
    alerts: tuple[Alert, ...]
    episodes: int | None = None
    detected: int | None = None
    true_alerts: int | None = None
    delays_s: tuple[float, ...] = ()
    threshold: int = 1
    held_back: tuple[HeldBack, ...] = ()

    @property
    def precision(self) -> float | None:
        """Share of the alerts that were true; None without labels or alerts."""
        if self.true_alerts is None or not self.alerts:
            return None
        return self.true_alerts / len(self.alerts)

    @property
    def recall(self) -> float | None:
        """Share of the episodes that were noticed; None without labels or episodes."""
        return (
            self.detected / self.episodes if self.detected is not None and self.episodes else None
        )

    @property
    def false_a_month(self) -> float | None:
        """False alerts in 30 days at this rate; None without labels."""
        if self.true_alerts is None or self.span_s <= 0:
            return None
        return (len(self.alerts) - self.true_alerts) * MONTH_S / self.span_s

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {
            "moments": self.moments, "unknown": self.unknown, "span_s": self.span_s,
            "alerts": [alert.as_json() for alert in self.alerts], "episodes": self.episodes,
            "detected": self.detected, "true_alerts": self.true_alerts,
            "precision": self.precision, "recall": self.recall, "delays_s": [*self.delays_s],
            "false_alerts_a_month": self.false_a_month, "threshold": self.threshold,
            "held_back": [one.as_json() for one in self.held_back],
        }  # fmt: skip


def replay(system: System, moments: Iterable[Moment], *, threshold: int = 1) -> Replayed:
    """What the present rules say to each moment, in order of time.

    Something is called for once `threshold` moments in a row called for it.
    """
    told: list[tuple[datetime, Decision | None, bool | None]] = []
    held: list[HeldBack] = []
    unknown = row = 0
    for moment in moments:
        at = moment.known.moment
        assert at is not None, "a moment of the past has a time"
        decision = decide(system, moment.known)
        unknown += bool(decision.unknown)
        # a doubt is no alert: nothing fired
        calls = decision.respond not in _QUIET and bool(decision.matches)
        if calls and row < threshold:
            first = held.pop() if row else HeldBack(at, decision.trigger, 0)
            held.append(replace(first, row=row + 1))
        row = row + 1 if calls else 0
        if row == threshold:
            held.pop()  # it was not held back after all
        told.append((at, decision if row >= threshold else None, moment.bad))
    span_s = (told[-1][0] - told[0][0]).total_seconds() if told else 0.0
    alerts = tuple(_alerts(system, told))
    labelled = any(bad is not None for _, _, bad in told)
    back = tuple(held)
    if not labelled:
        return Replayed(len(told), unknown, span_s, alerts, threshold=threshold, held_back=back)
    episodes = _episodes([(at, bool(bad)) for at, _, bad in told])
    delays = [delay for delay in (_delay(one, alerts) for one in episodes) if delay is not None]
    true = sum(any(_overlap(alert, one) for one in episodes) for alert in alerts)
    return Replayed(
        len(told),
        unknown,
        span_s,
        alerts,
        len(episodes),
        len(delays),
        true,
        tuple(delays),
        threshold,
        back,
    )


def _alerts(
    system: System, told: Sequence[tuple[datetime, Decision | None, bool | None]]
) -> Iterable[Alert]:
    open_: Alert | None = None
    for at, decision, _ in told:
        if decision is None:
            if open_ is not None:
                yield open_
            open_ = None
        elif open_ is None:
            open_ = Alert(at, at, decision.trigger, _said(decision), decision.level)
        else:
            open_ = Alert(open_.since, at, open_.trigger, open_.said,
                          _higher(system, open_.level, decision.level))  # fmt: skip
    if open_ is not None:
        yield open_


def _said(decision: Decision) -> str:
    return decision.best.said if decision.best else decision.respond


def _higher(system: System, one: str, other: str) -> str:
    named = [name for name in (one, other) if name]
    return max(named, key=lambda name: system.levels[name].rank) if named else ""


def _episodes(labels: Sequence[tuple[datetime, bool]]) -> list[tuple[datetime, datetime]]:
    found: list[tuple[datetime, datetime]] = []
    before = False
    for at, bad in labels:
        if bad:
            found.append((found.pop()[0], at) if before else (at, at))
        before = bad
    return found


def _overlap(alert: Alert, episode: tuple[datetime, datetime]) -> bool:
    return alert.since <= episode[1] and episode[0] <= alert.until


def _delay(episode: tuple[datetime, datetime], alerts: Sequence[Alert]) -> float | None:
    """Seconds from the begin of the episode to its first alert; 0 if that began before it."""
    first = next((alert for alert in alerts if _overlap(alert, episode)), None)
    return None if first is None else max(0.0, (first.since - episode[0]).total_seconds())
