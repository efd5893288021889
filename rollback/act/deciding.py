"""A decision taken now: metrics read, rules evaluated, the outcome journalled, hold included.

What was read for earlier decisions stands in the journal with them, or in the agent's ticks: a
condition that has to last is judged on those readings, and what was told (events, facts) counts as
long as it holds.

Hides: that reading and judging are two rooms, and where earlier readings come from.
Never: starts a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Reversible
from dataclasses import replace
from datetime import datetime, timedelta

from rollback.act import breaking, eyes, overruling
from rollback.act.overhearing import overhear
from rollback.act.site import Site
from rollback.act.told import When, events_of, facts_of, written_at
from rollback.host.clock import moment_of, parse_iso
from rollback.judge.condition import LOOKBACK_S, Known
from rollback.judge.decision import Decision, decide
from rollback.keep.ticks import Ticks
from rollback.model.event import Event
from rollback.model.finding import Json, Sample
from rollback.model.system import System
from rollback.observe.metric import read_all

GAP_INTERVALS = 3.0  # as many intervals without a reading, and nobody looked


def decide_now(
    site: Site, facts: Mapping[str, str] | None = None, *, requester: str = ""
) -> Decision:
    """What the declared rules call for at this moment; it stands in the journal.

    A level that `requester` could not go back to now is named with what stands in its way. Where the
    state directory may not be written, it is only told.
    """
    deaf = overhear(site)
    samples = read_all(eyes.of(site))
    knows = known(site, samples, facts or {}, deaf=deaf)
    decision = decide(site.system, knows)
    if decision.level:
        decision = replace(decision, blocked=_blocked(site, decision.level, requester))
    if site.state.writable:
        breaking.note(site, knows)
        site.tell("decision.taken", run="", **decision.as_json())
    return decision


def red(site: Site, level: str, component: str, requester: str) -> tuple[str, ...]:
    """Why the level is known not to be ready, whoever would say yes to it."""
    from rollback.act.readiness import named

    every = named(site, level, requester=requester)
    found = [one.red for one in every if not component or one.component in ("", component)]
    return () if not all(found) else tuple(dict.fromkeys(why for one in found for why in one))


def _blocked(site: Site, level: str, requester: str) -> tuple[str, ...]:
    """Why the level is known not to be ready; one that takes a component is ready for one of them."""
    from rollback.act.readiness import named  # plans, and plans ask the world

    found = [one.blocked for one in named(site, level, requester=requester)]
    return () if not all(found) else tuple(dict.fromkeys(why for one in found for why in one))


def known(
    site: Site, samples: Mapping[str, Sample], facts: Mapping[str, str], ticks: Ticks | None = None,
    *, deaf: Mapping[str, str] | None = None,
) -> Known:  # fmt: skip
    """These readings with everything that the journal and the agent's ticks add to them.

    `facts` are told just now; `deaf` are the events whose log was not read to its end, and why. What
    happened within this boot is as old as the clock that nobody sets says.
    """
    system, clock = site.system, site.host.clock
    now, lookback_s = clock.now(), system.monitor.lookback or LOOKBACK_S
    events = site.journal.events()
    if ticks is None:
        ticks = Ticks(site.state.tree, site.host)

    def when(event: Event) -> datetime:
        return moment_of(clock, event.at, event.boot, event.boot_s)

    since = now - timedelta(seconds=lookback_s)
    return Known(
        samples, {**facts_of(events, now, when), **facts}, events_of(events, when),
        history=_history(system, readings(events, since, when), ticks),
        normals={name: one.normal for name, one in system.metrics.items() if one.normal is not None},
        now=now, lookback_s=lookback_s, gap_s=GAP_INTERVALS * system.monitor.interval, deaf=deaf or {},
        overruled=overruling.counting(site), tripped=breaking.tripped(site, now, when),
    )  # fmt: skip


def _history(
    system: System, asked: Mapping[str, list[Sample]], ticks: Ticks
) -> dict[str, Reversible[Sample]]:
    """What people read by asking, and the agent by itself, in one row."""
    found: dict[str, Reversible[Sample]] = {}
    for name, declared in system.metrics.items():
        own, by_hand = ticks.samples(name, declared.unit), asked.get(name, [])
        found[name] = sorted([*own, *by_hand], key=lambda one: one.at) if by_hand else own
    return found


def readings(
    events: Iterable[Event], since: datetime, when: When = written_at
) -> dict[str, list[Sample]]:
    """The readings of earlier decisions by metric, oldest first; the agent's are in its ticks."""
    found: dict[str, list[Sample]] = {}
    for event in events:
        if event.kind == "decision.taken" and "ticks" not in event.data and when(event) >= since:
            for sample in samples_of(event):
                found.setdefault(sample.metric, []).append(replace(sample, at=when(event)))
    return found


def samples_of(event: Event) -> list[Sample]:
    """The readings that a journalled decision rested on."""
    written = event.data.get("samples")
    rows = written if isinstance(written, list) else []
    return [_sample(one) for one in rows if isinstance(one, dict)]


def _sample(written: dict[str, Json]) -> Sample:
    value, window_s, count = (written.get(name) for name in ("value", "window_s", "count"))
    return Sample(
        str(written["metric"]), _number(value), str(written.get("unit", "")),
        parse_iso(str(written["at"])), _number(window_s), int(_number(count) or 0),
        str(written.get("source", "")), str(written.get("note", "")),
    )  # fmt: skip


def _number(value: Json) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
