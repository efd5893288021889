"""The one way to read a metric: a sample in time, or one that says why there is no number.

Hides: deadlines, and which error means what.
Never: raises for a metric that is declared; never turns absence into a number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rollback.model.errors import PlanError, RollbackError
from rollback.model.finding import Sample
from rollback.model.registry import Planned, nearest
from rollback.observe.deadline import alone, together
from rollback.observe.expect import figure, shown
from rollback.observe.service import followed
from rollback.observe.view import View

if TYPE_CHECKING:  # a step that reads no metric need not wait for what describes one
    from rollback.model.policy import MetricDeclared

GRACE_S = 0.5
_NEVER_NEGATIVE = ("count", "bytes", "milliseconds", "seconds", "minutes", "hours", "days")
_reading: ContextVar[tuple[str, ...]] = ContextVar("metrics being read", default=())


@runtime_checkable
class Reads(Protocol):
    """What every metric source has."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """One reading; `metric` is left empty, the front fills it in."""


@runtime_checkable
class Recalls(Protocol):
    """What a source has that still knows its readings of the past."""

    def recall(
        self, view: View, declared: MetricDeclared, moments: Sequence[datetime]
    ) -> Sequence[Sample]:
        """One sample for each of these moments, which are evenly spaced. Raises: HostUnreachable."""


def no_number(view: View, declared: MetricDeclared, why: str, *, count: int = 0) -> Sample:
    """A sample that is UNKNOWN, and why."""
    return Sample(
        "", None, declared.unit, view.host.clock.now(), window_s=declared.window, count=count,
        note=why,
    )  # fmt: skip


def number(
    view: View, declared: MetricDeclared, value: float, *, count: int, note: str = ""
) -> Sample:
    """A sample with a number; NaN, infinity and what the unit cannot be become UNKNOWN."""
    if not math.isfinite(value):
        return no_number(view, declared, f"{value} is no number", count=count)
    if declared.unit in _NEVER_NEGATIVE and value < 0:
        why = f"{figure(value)} {declared.unit}, which is less than nothing"
        return no_number(view, declared, why, count=count)
    if declared.unit == "boolean" and value not in (0, 1):
        return no_number(view, declared, f"{figure(value)} is neither yes nor no", count=count)
    return Sample(
        "", float(value), declared.unit, view.host.clock.now(), window_s=declared.window,
        count=count, note=note,
    )  # fmt: skip


def read(name: str, view: View) -> Sample:
    """One reading of a declared metric. Raises: PlanError when no such metric is declared."""
    declared = view.system.metrics.get(name)
    if declared is None:
        raise PlanError(
            f"there is no metric {name}", hint=nearest(name, tuple(view.system.metrics))
        )
    return dataclasses.replace(_read(name, declared, view), metric=name)


def read_all(view: View, names: Iterable[str] | None = None) -> dict[str, Sample]:
    """A reading of each named metric (of all, if none is named), taken at the same time."""
    wanted = tuple(dict.fromkeys(names)) if names is not None else tuple(view.system.metrics)
    if not wanted:
        return {}
    for name in wanted:
        if name not in view.system.metrics:
            read(name, view)  # raises
    limit_s = max(deadline_s(view, view.system.metrics[name]) for name in wanted) + 2 * GRACE_S
    works = [lambda name=name: read(name, view) for name in wanted]
    outcomes = together(works, within_s=limit_s, clock=view.host.clock)
    samples = {}
    for name, outcome in zip(wanted, outcomes, strict=True):
        declared = view.system.metrics[name]
        why = str(outcome.error) if outcome.error else f"no answer within {figure(limit_s)} s"
        samples[name] = outcome.result or dataclasses.replace(
            no_number(view, declared, why), metric=name
        )
    return samples


def recalls(view: View) -> tuple[str, ...]:
    """The declared metrics whose source still knows its readings of the past."""
    return tuple(
        name for name, one in view.system.metrics.items() if isinstance(one.source, Recalls)
    )


def recall(name: str, view: View, moments: Sequence[datetime]) -> tuple[Sample, ...]:
    """What a metric was at these moments, evenly spaced; UNKNOWN where its source has no number.

    Raises: HostUnreachable, PlanError when the source cannot be asked for it at all.
    """
    declared = view.system.metrics[name]
    source = followed(declared.source, view)
    if not isinstance(source, Recalls):
        raise PlanError(
            f"metric {name} comes from {declared.source.kind}, which knows no past readings"
        )
    found = source.recall(view, declared, moments)
    assert len(found) == len(moments), "a sample for each moment"
    return tuple(
        dataclasses.replace(_enough(declared, one), metric=name, at=at, source=source.kind)
        for one, at in zip(found, moments, strict=True)
    )


def deadline_s(view: View, declared: MetricDeclared) -> float:
    """How long a reading may take, in seconds: the source's own deadline, else that of the declaration."""
    own = getattr(declared.source, "deadline_s", getattr(declared.source, "within", None))
    return float(own if own is not None else view.system.monitor.timeout)


def _read(name: str, declared: MetricDeclared, view: View) -> Sample:
    source = declared.source
    if isinstance(source, Planned):
        return no_number(view, declared, f"{source.planned_kind} is not built: {source.missing}")
    if not isinstance(source, Reads):
        return no_number(view, declared, f"{source.kind} is no metric source")
    around = _reading.get()
    if name in around:
        return no_number(view, declared, "the metric is made of itself")
    token = _reading.set((*around, name))  # threads begun below inherit it
    try:
        limit_s = deadline_s(view, declared)
        outcome = alone(
            lambda: followed(source, view).read(view, declared), within_s=limit_s + GRACE_S,
            clock=view.host.clock,
        )  # fmt: skip
    finally:
        _reading.reset(token)
    if not outcome.finished:
        return no_number(view, declared, f"no answer within {figure(limit_s)} s")
    if outcome.error is not None:
        return no_number(view, declared, _told(outcome.error))
    sample = outcome.result
    if not isinstance(sample, Sample):
        return no_number(view, declared, f"{source.kind} gave no sample")
    return _enough(declared, dataclasses.replace(sample, source=sample.source or source.kind))


def _enough(declared: MetricDeclared, sample: Sample) -> Sample:
    """The sample; without its number where that rests on fewer readings than are declared."""
    if sample.known and 1 < declared.min_samples > sample.count:
        why = f"{sample.count} readings are too few: {declared.min_samples} are needed"
        return dataclasses.replace(sample, value=None, note=_joined(why, sample.note))
    return sample


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _told(error: Exception) -> str:
    if isinstance(error, RollbackError):
        return shown(str(error), limit=300)
    if isinstance(error, FileNotFoundError):
        return shown(f"{error.filename}: there is no such file", limit=300)
    return shown(f"{type(error).__name__}: {error}", limit=300)
