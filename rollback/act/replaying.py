"""Past readings for `what-if`: of the journal's own decisions, of a Prometheus, or of a table somebody made.

A table is CSV: a column `at` (UTC, ISO 8601), one column for each metric, and `bad` (0 or 1) where
somebody knows. An empty cell, or one that is no number, is UNKNOWN.

Hides: where a past reading comes from.
Never: takes an empty cell for zero; changes anything.
"""

from __future__ import annotations

import csv
import heapq
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rollback.act.deciding import GAP_INTERVALS, samples_of
from rollback.act.site import Site
from rollback.act.told import events_of, facts_of
from rollback.host.below import why
from rollback.host.clock import iso, parse_iso
from rollback.judge.condition import LOOKBACK_S, Known, Told
from rollback.judge.replay import Moment, Replayed, replay
from rollback.keep.ticks import Ticks
from rollback.model.errors import HostUnreachable, UsageError
from rollback.model.event import Event
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import spoken
from rollback.model.system import System
from rollback.observe.metric import recall, recalls
from rollback.observe.view import View

ROWS_MAX = 1_000_000
_SAME = timedelta(seconds=5)  # a decision is written just before its tick


def from_journal(site: Site, *, since: datetime | None = None) -> Replayed:
    """What the present rules say to the readings of every decision that was taken."""
    return replay(site.system, _decisions(site, since), threshold=site.system.monitor.threshold)


def _decisions(site: Site, since: datetime | None) -> Iterator[Moment]:
    """Every reading: those of decisions in the journal, and the agent's ticks as far as they are kept."""
    past, told, facts = _Past(site.system), list[Told](), dict[str, Event]()
    looks = [*_ticks(site)]
    first = looks[0][0] if looks else None
    for at, found in heapq.merge(looks, _journalled(site, first), key=lambda one: one[0]):
        if isinstance(found, Event) and found.kind == "event.told":
            told += events_of([found])
            continue
        if isinstance(found, Event) and found.kind == "fact.told":
            facts[str(found.data["name"])] = found
            continue
        read = samples_of(found) if isinstance(found, Event) else found
        samples = {one.metric: one for one in read}
        if samples and (since is None or at >= since):
            yield Moment(past.known(samples, at, tuple(told), facts_of(facts.values(), at)))
        past.add(samples, at)


def _journalled(
    site: Site, first: datetime | None
) -> Iterator[tuple[datetime, Event | list[Sample]]]:
    """What was told, and each decision whose readings are not among the ticks."""
    latest: datetime | None = None
    for event in site.journal.events():
        if event.kind not in ("event.told", "fact.told", "decision.taken"):
            continue
        at = parse_iso(event.at)
        latest = at if latest is None else max(at, latest)  # where the clock was set back
        ours = event.kind == "decision.taken" and "ticks" in event.data
        if not (ours and first is not None and at >= first - _SAME):
            yield latest, event


def _ticks(site: Site) -> Iterator[tuple[datetime, Event | list[Sample]]]:
    latest: datetime | None = None
    for tick in Ticks(site.state.tree, site.host):
        at = parse_iso(tick.at)
        latest = at if latest is None else max(at, latest)
        yield latest, [
            Sample(name, value, site.system.metrics[name].unit, latest, count=count, note=note)
            for name, (value, count, note) in tick.read.items() if name in site.system.metrics
        ]  # fmt: skip


def from_servers(view: View, *, since: datetime, until: datetime, step_s: float) -> Replayed:
    """What the present rules say to the readings that the sources of metrics still know, at every step.

    A reading that a source does not have is UNKNOWN, and so is every metric of another source. Raises:
    UsageError; HostUnreachable when a source does not answer.
    """
    names = recalls(view)
    if not names:
        raise UsageError("no declared metric comes from prometheus: nothing past can be asked for",
                         hint="declare one: metrics: {NAME: {unit, source: {prometheus: {url, query}}}}, or "
                         "give a table: rollback what-if FILE.csv")  # fmt: skip
    count = math.floor((until - since).total_seconds() / step_s) + 1
    if until <= since or count > ROWS_MAX:
        what = "no time" if until <= since else f"more than {ROWS_MAX:,} moments"
        raise UsageError(f"from {iso(since)} to {iso(until)} every {spoken(step_s)} is {what}",
                         hint="give --since TIME that is earlier than --until, and a --step")  # fmt: skip
    moments = [since + timedelta(seconds=step_s * place) for place in range(count)]
    read = {name: _recall(name, view, moments) for name in names}
    return replay(view.system, _recalled(view.system, moments, read),
                  threshold=view.system.monitor.threshold)  # fmt: skip


def _recall(name: str, view: View, moments: Sequence[datetime]) -> tuple[Sample, ...]:
    try:
        return recall(name, view, moments)
    except HostUnreachable as error:
        raise HostUnreachable(f"metric {name}: {error.message}", where=error.where,
                              hint=f"see that the source of {name} answers, or give a table: "
                              "rollback what-if FILE.csv") from error  # fmt: skip


def _recalled(
    system: System, moments: list[datetime], read: Mapping[str, Sequence[Sample]]
) -> Iterator[Moment]:
    past = _Past(system)
    for place, at in enumerate(moments):
        samples = {name: found[place] for name, found in read.items()}
        yield Moment(past.known(samples, at, (), {}))
        past.add(samples, at)


def from_table(system: System, path: Path) -> Replayed:
    """What the present rules say to the rows of a CSV file. Raises: UsageError with the line."""
    return replay(system, _moments(system, path), threshold=system.monitor.threshold)


class _Past:
    """Earlier readings, as far back as the declaration looks."""

    def __init__(self, system: System) -> None:
        self._lookback_s = system.monitor.lookback or LOOKBACK_S
        self._gap_s = GAP_INTERVALS * system.monitor.interval
        metrics = system.metrics.items()
        self._normals = {name: one.normal for name, one in metrics if one.normal is not None}
        self._history: dict[str, deque[Sample]] = {}

    def known(
        self, samples: Mapping[str, Sample], at: datetime, events: tuple[Told, ...],
        facts: Mapping[str, str],
    ) -> Known:  # fmt: skip
        return Known(samples, facts, events, self._history, self._normals, at, self._lookback_s,
                     self._gap_s)  # fmt: skip

    def add(self, samples: Mapping[str, Sample], at: datetime) -> None:
        for name, sample in samples.items():
            past = self._history.setdefault(name, deque())
            past.append(sample)
            while (at - past[0].at).total_seconds() > self._lookback_s:
                past.popleft()


def _moments(system: System, path: Path) -> Iterator[Moment]:
    past = _Past(system)
    before: datetime | None = None
    for line, row in _rows(system, path):
        at = _time(path, line, row)
        if before is not None and at <= before:
            raise _wrong(path, line, f"{row['at']} is not after the row before it")
        before = at
        samples = {
            name: _reading(name, row[name], declared, at, path)
            for name, declared in system.metrics.items() if name in row
        }  # fmt: skip
        bad = {"0": False, "1": True}.get(row.get("bad", ""))
        yield Moment(past.known(samples, at, (), {}), bad)
        past.add(samples, at)


def _reading(name: str, cell: str, declared: MetricDeclared, at: datetime, path: Path) -> Sample:
    value = _cell(cell)
    return Sample(name, value, declared.unit, at, declared.window, declared.min_samples, str(path),
                  "" if value is not None else "the table has no number")  # fmt: skip


def _rows(system: System, path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            names = table.fieldnames or []
            strange = [name for name in names if name not in ("at", "bad", *system.metrics)]
            if "at" not in names or strange or len(set(names)) != len(names):
                what = (
                    f"no metric {strange[0]}"
                    if strange
                    else "columns at and metrics, each once, are needed"
                )
                raise _wrong(path, 1, what)
            for line, row in enumerate(table, start=2):
                if None in row or None in row.values():
                    raise _wrong(path, line, f"{len(names)} cells are needed")
                if line > ROWS_MAX:
                    raise _wrong(path, line, f"more than {ROWS_MAX:,} rows")
                yield line, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"FILE.csv: {path} cannot be read as a table: {why(error, str(path))}",
            hint="give a CSV file",
        ) from None


def _time(path: Path, line: int, row: Mapping[str, str]) -> datetime:
    try:
        return parse_iso(row["at"])
    except (ValueError, OverflowError):
        raise _wrong(
            path, line, f"{row['at']!r} is no UTC time like 2026-11-20T12:00:00Z"
        ) from None


def _cell(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _wrong(path: Path, line: int, what: str) -> UsageError:
    return UsageError(f"{path}:{line}: {what}", hint="correct the table, then type it again")
