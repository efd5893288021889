"""What a tick leaves behind: its readings beside the journal, its decision in it.

A decision is written in full when it is another one than that of the tick before, when a run has
begun or ended since, and once an hour; each entry says how many ticks since the one before it said
the same, and between which numbers. A decision that comes and goes is written in short when it
comes back within the hour. So nothing that was decided is missing, and nothing is said twice.

Hides: when two decisions are the same.
Never: lets a decision that led to something go unwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollback.act.deciding import GAP_INTERVALS
from rollback.act.site import Site
from rollback.host.clock import iso, moment_of
from rollback.judge.condition import LOOKBACK_S
from rollback.judge.decision import Decision
from rollback.keep.ticks import Tick, Ticks
from rollback.model.event import Event
from rollback.model.finding import Json

SAID_AGAIN_S = 3600.0
_QUIET = ("hold", "observe")
_DOUBT = "escalate"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The number of the decision's entry in the journal, how many ticks in a row call for something.

    `doubts` is for how many ticks in a row nobody could tell whether something is called for.
    """

    seq: int
    row: int
    new: bool
    doubts: int = 0


def record(site: Site, ticks: Ticks, decision: Decision) -> Recorded:
    """The decision is in the journal, by an entry of its own or by that of its like."""
    said = gist(decision)
    row = 1 + _row(site, ticks, lambda tick: tick.calls) if _calls(decision) else 0
    doubts = 0
    if not row and decision.respond == _DOUBT:
        doubts = 1 + _row(site, ticks, lambda tick: not tick.calls and tick.said.startswith(_DOUBT))
    mine = [e for e in site.journal.events() if e.kind == "decision.taken" and "ticks" in e.data]
    before = mine[-1] if mine else None
    last = next(reversed(ticks), None)
    same = before is not None and last is not None and last.said == said
    again = before is None or _age_s(site, before) >= SAID_AGAIN_S or _run_since(site, before)
    entry = before
    if not same or again:
        full = again or not _known_full(site, mine, said)
        entry = site.tell(
            "decision.taken", run="", **_entry(site, ticks, decision, said, before, full)
        )
    assert entry is not None, "there is an entry, or one was made"
    return Recorded(entry.seq, row, entry is not before, doubts)


def keep(site: Site, ticks: Ticks, decision: Decision) -> None:
    """The readings of this tick are kept, behind its decision. Raises: OSError, HostError."""
    clock = site.host.clock
    read = {s.metric: (s.value, s.count, s.note[:200]) for s in decision.samples}
    tick = Tick(
        iso(clock.now()), clock.boot(), clock.boot_s(), read, gist(decision), _calls(decision)
    )
    ticks.add(tick, lookback_s=site.system.monitor.lookback or LOOKBACK_S)


def close(site: Site, ticks: Ticks, because: str) -> None:
    """That the agent stopped is in the journal, with the ticks that the last entry does not cover."""
    mine = [e for e in site.journal.events() if e.kind == "decision.taken" and "ticks" in e.data]
    covered = _between(_since(site, ticks, mine[-1]) if mine else [])
    site.tell("agent.stopped", run="", **{**covered, "because": because})


def gist(decision: Decision) -> str:
    """What makes a decision another one: what it calls for, by which rules, and what nobody knows."""
    fired = ", ".join(sorted(match.trigger for match in decision.matches))
    unknown = ", ".join(sorted({*decision.unknown, *decision.doubts}))
    return (f"{decision.respond} {decision.level or decision.what} by {decision.trigger}; "
            f"fired: {fired}; unknown: {unknown}" + ("; blocked" if decision.blocked else ""))  # fmt: skip


def _calls(decision: Decision) -> bool:
    """A doubt calls for nothing: no rule fired."""
    return decision.respond not in _QUIET and bool(decision.matches)


def _row(site: Site, ticks: Ticks, counts: Callable[[Tick], bool]) -> int:
    """How many ticks before this one count, without a gap."""
    gap_s = GAP_INTERVALS * site.system.monitor.interval
    count, after = 0, site.host.clock.now()
    for tick in reversed(ticks):
        at = ticks.moment(tick)
        if not counts(tick) or (after - at).total_seconds() > gap_s:
            break
        count, after = count + 1, at
    return count


def _entry(
    site: Site, ticks: Ticks, decision: Decision, said: str, before: Event | None, full: bool
) -> dict[str, Json]:
    body = decision.as_json()
    if not full:
        body["samples"] = []
    covered = _since(site, ticks, before) if before is not None else []
    return {**body, **_between(covered), "gist": said}


def _since(site: Site, ticks: Ticks, before: Event) -> list[Tick]:
    """The ticks after that of an entry, which said the same as it."""
    begun = moment_of(site.host.clock, before.at, before.boot, before.boot_s)
    found: list[Tick] = []
    for tick in reversed(ticks):
        if tick.said != before.data.get("gist") or ticks.moment(tick) <= begun:
            break
        found.append(tick)
    return found[:-1]  # the oldest is the entry's own


def _between(covered: Sequence[Tick]) -> dict[str, Json]:
    names = dict.fromkeys(name for tick in covered for name in tick.read)
    ranges: dict[str, Json] = {}
    for name in names:
        values = [tick.read[name][0] for tick in covered if name in tick.read]
        numbers = [value for value in values if value is not None]
        ranges[name] = [min(numbers), max(numbers)] if numbers else None
    return {"ticks": len(covered), "between": ranges}


def _known_full(site: Site, mine: Sequence[Event], said: str) -> bool:
    found = [e for e in mine if e.data.get("gist") == said and e.data.get("samples")]
    return (
        bool(found) and _age_s(site, found[-1]) < SAID_AGAIN_S and not _run_since(site, found[-1])
    )


def _run_since(site: Site, before: Event) -> bool:
    kinds = ("run.planned", "gate.opened", "gate.closed", "run.undone", "run.abandoned",
             "run.expired", "run.needs-operator", "run.mitigated")  # fmt: skip
    return any(event.kind in kinds for event in site.journal.events()[before.seq :])


def _age_s(site: Site, event: Event) -> float:
    clock = site.host.clock
    at = moment_of(clock, event.at, event.boot, event.boot_s)
    return (clock.now() - at).total_seconds()
