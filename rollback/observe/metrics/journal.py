"""A number from the journal: how often or how long ago something happened, or a share of outcomes.

Hides: which events of the journal mean which happening.
Never: takes a missing journal for "it never happened".
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import model_validator

from rollback.host.clock import parse_iso
from rollback.keep.journal import events_at
from rollback.model.event import Event
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import register
from rollback.model.step import MetricSource, Text
from rollback.observe.metric import no_number, number
from rollback.observe.view import View

ALERT = "first-alert"
_CALLS = ("roll-back", "procedure", "decide", "escalate", "task")
# what a person does about an alert
_ACTS = (
    "approval.given",
    "approval.denied",
    "answer.given",
    "run.planned",
    "fact.told",
    "alert.acknowledged",
)


@register("metric", "journal")
class JournalMetric(MetricSource):
    """One of these, over the metric's window (or `within`).

    `event`: 1 when this declared event was told, else 0. `count`: how many events of this kind.
    `since`: seconds since the last event of this kind, `of` a checkpoint kind; or since `first-alert`
    `without` an act of a person: 0 while there is no alert, or somebody acted. `share`: of the events
    `drill.passed` and `drill.failed`, those that are the former. `record` with `field`: share of the
    filled records in which that field is yes.
    """

    event: Text | None = None
    count: Text | None = None
    since: Text | None = None
    of: Text | None = None
    without: Text | None = None
    share: Text | None = None
    record: Text | None = None
    field: Text | None = None
    within: Seconds | None = None

    @model_validator(mode="after")
    def _one(self) -> JournalMetric:
        given = [self.event, self.count, self.since, self.share, self.record]
        if sum(one is not None for one in given) != 1:
            raise ValueError("a journal metric is one of: event, count, since, share, record")
        if (self.record is None) != (self.field is None):
            raise ValueError("record and field belong together; write both or neither")
        return self

    @property
    def deadline_s(self) -> float:
        """Reading a journal takes as long as it is long."""
        return 30.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number; UNKNOWN when there is no journal."""
        events = events_at(view.system.state_path, view.host)
        if events is None:
            return no_number(view, declared, "there is no journal yet")
        now = view.host.clock.now()
        within_s = self.within if self.within is not None else declared.window
        if within_s is not None:
            begin = now - timedelta(seconds=within_s)
            young = [event for event in events if parse_iso(event.at) >= begin]
        else:
            young = list(events)
        if self.event is not None:
            told = [
                e for e in young if e.kind == "event.told" and e.data.get("event") == self.event
            ]
            return number(view, declared, float(bool(told)), count=1, note=f"{len(told)} times")
        if self.count is not None:
            found = [event for event in young if event.kind == self.count]
            return number(view, declared, float(len(found)), count=max(1, len(young)))
        if self.since == ALERT:
            return self._unattended(view, declared, young)
        if self.since is not None:
            return self._age(view, declared, events)
        if self.share is not None:
            return self._share(view, declared, young)
        return self._record(view, declared, young)

    def _age(self, view: View, declared: MetricDeclared, events: Sequence[Event]) -> Sample:
        found = [event for event in events if event.kind == self.since
                 and (self.of is None or event.data.get("type") == self.of)]  # fmt: skip
        if not found:
            return no_number(view, declared, f"{self.since} has never happened")
        age_s = (view.host.clock.now() - parse_iso(found[-1].at)).total_seconds()
        return number(view, declared, max(0.0, age_s), count=len(found))

    def _unattended(self, view: View, declared: MetricDeclared, young: Sequence[Event]) -> Sample:
        """Since the first decision of an unbroken row that called for something, nobody acting."""
        first: Event | None = None
        for event in young:
            if event.kind in _ACTS:
                first = None
            elif event.kind == "decision.taken":
                calls = event.data.get("respond") in _CALLS and bool(event.data.get("matches"))
                first = (first or event) if calls else None
        if first is None:
            return number(view, declared, 0.0, count=1, note="no alert that nobody acted on")
        age_s = (view.host.clock.now() - parse_iso(first.at)).total_seconds()
        return number(
            view, declared, max(0.0, age_s), count=1, note=f"for {spoken(max(0.0, age_s))}"
        )

    def _share(self, view: View, declared: MetricDeclared, young: Sequence[Event]) -> Sample:
        family = str(self.share).rpartition(".")[0]
        ended = [event for event in young if event.kind.rpartition(".")[0] == family]
        good = sum(event.kind == self.share for event in ended)
        if not ended:
            return no_number(view, declared, f"no {family} has ended")
        return number(view, declared, good / len(ended), count=len(ended))

    def _record(self, view: View, declared: MetricDeclared, young: Sequence[Event]) -> Sample:
        values = []
        for event in young:
            if event.kind == "record.filled" and event.data.get("record") == self.record:
                fields = event.data.get("fields")
                value = fields.get(str(self.field)) if isinstance(fields, dict) else None
                values += [value] if isinstance(value, bool) else []
        if not values:
            return no_number(view, declared, f"no record {self.record} says {self.field}")
        return number(view, declared, sum(values) / len(values), count=len(values))
