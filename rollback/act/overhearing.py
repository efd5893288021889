"""Events that nobody tells but a log holds: read on at each look, and told to the journal once.

Hides: how far each log was read, and what of it is an event.
Never: takes a log that cannot be read for one in which nothing happened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta

from rollback.act import eyes
from rollback.act.site import Site
from rollback.act.told import fitting
from rollback.host.below import why
from rollback.host.clock import iso
from rollback.judge.condition import LOOKBACK_S
from rollback.keep.ticks import FOLDER
from rollback.model.errors import HostError, RollbackError
from rollback.model.finding import Json, same
from rollback.model.operations import EventKind, EventLog
from rollback.observe.following import Line, Mark, read_on
from rollback.observe.lines import SKEW, line_time
from rollback.observe.pointer import parse

MARKS, LOCK = f"{FOLDER}/logs.json", f"{FOLDER}/logs.lock"
READS_MAX = 100  # of as many bytes as are read at once
EVENTS_MAX = 1000  # of one kind at one look; whatever they mean, more mean no more
BY = "log"


def overhear(site: Site) -> dict[str, str]:
    """What the declared logs say since they were last read is in the journal.

    Of a log that is read for the first time that is what happened within `lookback`, where its lines
    have times. The events of which nobody can tell whether they happened, and why.
    """
    heard = {name: one for name, one in site.system.events.items() if one.log is not None}
    if not heard:
        return {}
    if not site.state.writable:
        return dict.fromkeys(heard, "its log was not read: the state directory cannot be written")
    deaf: dict[str, str] = {}
    site.state.tree.make_folder(FOLDER)
    with site.state.tree.lock(LOCK, clock=site.host.clock):
        marks = _marks(site)
        before = dict(marks)
        for name, event in heard.items():
            try:
                marks[name] = _hear(site, name, event, marks.get(name))
            except FileNotFoundError:
                deaf[name] = f"there is no {event.log.file}" if event.log else ""
            except (RollbackError, OSError) as error:
                deaf[name] = f"its log cannot be read: {why(error)}"
        if marks != before:
            kept = {name: asdict(mark) for name, mark in marks.items() if mark is not None}
            site.state.tree.write(MARKS, json.dumps(kept).encode() + b"\n")
    return deaf


def _hear(site: Site, name: str, event: EventKind, mark: Mark | None) -> Mark | None:
    log = event.log
    assert log is not None, "it is heard because it has one"
    view, first, count = eyes.of(site), mark is None, 0
    told: set[str] | None = None  # read when a line means the event, which is rare
    now = site.host.clock.now()
    since = now - timedelta(seconds=site.system.monitor.lookback or LOOKBACK_S)
    for _ in range(READS_MAX):
        found = read_on(view, log.file, mark)
        if found.lost:
            site.tell("event.missed", event=name, file=log.file,
                      because="it was rotated, and what was not read yet cannot be found")  # fmt: skip
        for line, at, words in _meant(found.lines, log):
            identity = f"log:{name}:{line.identity}"
            if first and (at is None or at < since):
                continue  # it happened before anybody listened
            told = _told(site) if told is None else told
            if identity in told or count >= EVENTS_MAX:
                continue
            count += 1
            moment = {"happened": iso(at)} if at is not None and at <= now + SKEW else {}
            site.tell(
                "event.told", event=name, fields=fitting(event, words), by=BY, id=identity, **moment
            )
        if found.mark == mark:
            return mark
        mark = found.mark
    raise HostError("it grows faster than it is read", where=log.file)


def _told(site: Site) -> set[str]:
    """What was told before, by its identity."""
    return {str(event.data.get("id")) for event in site.journal.events()
            if event.kind == "event.told"}  # fmt: skip


def _meant(
    lines: tuple[Line, ...], log: EventLog
) -> Iterator[tuple[Line, datetime | None, Mapping[str, Json]]]:
    """The lines that mean the event, each with its time and what it says."""
    pattern = re.compile(log.pattern) if log.pattern is not None else None
    for line in lines:
        words: Mapping[str, Json] | None = None
        if pattern is not None:
            match = pattern.search(line.text.decode("utf-8", "replace"))
            words = match.groupdict() if match else None
        else:
            with suppress(ValueError):
                record = parse(line.text)
                if isinstance(record, dict) and _is(record, log):
                    words = record | {ours: record.get(its) for ours, its in log.fields.items()}
        if words is not None:
            yield line, line_time(line.text, log.time, log.zone), words


def _is(record: Mapping[str, Json], log: EventLog) -> bool:
    return all(
        name in record
        and any(
            same(record[name], one) for one in (wanted if isinstance(wanted, tuple) else (wanted,))
        )
        for name, wanted in log.where.items()
    )


def _marks(site: Site) -> dict[str, Mark | None]:
    """How far each log was read; none where that cannot be read: what was told is not told again."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = json.loads(site.state.tree.read(MARKS))
        return {str(name): Mark(**mark) for name, mark in found.items()}
    return {}
