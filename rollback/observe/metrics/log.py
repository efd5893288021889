"""A number from the lines of a JSON-lines log: a share, a mean, a count, or the last value.

Hides: how much of the file is read: only as far back as the window reaches.
Never: counts a line that cannot be read, or one from the future.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from pydantic import Field, model_validator

from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting, Limit, Seconds, spoken
from rollback.model.registry import Declared, register
from rollback.model.step import MetricSource, Text
from rollback.observe.expect import Bound, Expected, JsonValue, is_number
from rollback.observe.lines import SKEW, Record, Tally, holds, records
from rollback.observe.metric import no_number, number
from rollback.observe.place import Place
from rollback.observe.view import View


class Selected(Declared):
    """A field of the lines, and which of them are meant: limits, a value, and other fields."""

    field: Text
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: JsonValue = None
    and_: dict[str, Expected] = Field(default_factory=dict, alias="and")

    @cached_property
    def wanted(self) -> dict[str, Any]:
        """What each field must be, this one included."""
        limits = {name: getattr(self, name) for name in self.model_fields_set
                  if name not in ("field", "and_")}  # fmt: skip
        own = {self.field: Bound.model_validate(limits)} if limits else {}
        return {**self.and_, **own}

    def meant(self, record: Record) -> bool:
        """True when the record has the field, within the limits, and the others as wanted."""
        return self.field in record.values and holds(record, self.wanted)


@register("metric", "log")
class Log(MetricSource):
    """One of share, mean, count, last, over the lines of the metric's window.

    share: lines that are meant, of all that have the field; count: how many are meant;
    mean and last: of the field's numbers in the lines that are meant.
    """

    file: Place
    share: Selected | None = None
    mean: Selected | None = None
    count: Selected | None = None
    last: Selected | None = None
    where: dict[str, Expected] = Field(default_factory=dict)
    window: Seconds | None = None
    time: Text = "at"
    within: Lasting = 10.0

    @model_validator(mode="after")
    def _one(self) -> Log:
        given = [one for one in (self.share, self.mean, self.count, self.last) if one is not None]
        if len(given) != 1:
            raise ValueError("a log metric is one of: share, mean, count, last")
        limits = given[0].model_fields_set - {"field"}
        if self.share is not None and not limits:
            raise ValueError("share needs a limit; write one like {field: status, above: 499}")
        return self

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number over the window that ends now; UNKNOWN when no line says anything."""
        now = view.host.clock.now()
        window_s = self.window if self.window is not None else declared.window
        since = now - timedelta(seconds=window_s) if window_s is not None else None
        tally = Tally()
        try:
            found = _present(records(view, self.file, tally, time=self.time, since=since),
                             now + SKEW)  # fmt: skip
            value, count = self._figure(found)
        except FileNotFoundError:
            return no_number(view, declared, f"{self.file}: there is no such file")
        note = tally.note()
        if tally.cut:
            return no_number(view, declared, note, count=count)
        if value is None:
            span = f" in the last {spoken(window_s)}" if window_s is not None else ""
            why = f"{self.file}: no line says it{span}"
            return no_number(view, declared, f"{why}; {note}" if note else why, count=count)
        return number(view, declared, value, count=count, note=note)

    def _figure(self, found: Iterator[Record]) -> tuple[float | None, int]:
        chosen = (record for record in found if holds(record, self.where))
        if self.count is not None:
            return _count(chosen, self.count)
        if self.share is not None:
            return _share(chosen, self.share)
        if self.mean is not None:
            return _mean(chosen, self.mean)
        assert self.last is not None, "one of four"
        return _last(chosen, self.last)


def _present(found: Iterator[Record], end: datetime) -> Iterator[Record]:
    return (record for record in found if record.at is None or record.at <= end)


def _count(found: Iterator[Record], wanted: Selected) -> tuple[float, int]:
    looked = meant = 0
    for record in found:
        looked += 1
        meant += wanted.meant(record)
    return float(meant), looked


def _share(found: Iterator[Record], wanted: Selected) -> tuple[float | None, int]:
    looked = meant = 0
    for record in found:
        if wanted.field in record.values:
            looked += 1
            meant += wanted.meant(record)
    return (meant / looked if looked else None), looked


def _mean(found: Iterator[Record], wanted: Selected) -> tuple[float | None, int]:
    total, count = 0.0, 0
    for record in found:
        value = record.values.get(wanted.field)
        if is_number(value) and wanted.meant(record):
            total += float(value)  # type: ignore[arg-type] # is_number says so
            count += 1
    return (total / count if count else None), count


def _last(found: Iterator[Record], wanted: Selected) -> tuple[float | None, int]:
    for record in found:  # newest first
        value = record.values.get(wanted.field)
        if is_number(value) and wanted.meant(record):
            return float(value), 1  # type: ignore[arg-type] # is_number says so
    return None, 0
