"""What holds a run back, whoever asks: autonomy, how often, how much room, which paths.

Hides: the arithmetic of windows.
Never: measures; the circumstances are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback.model.errors import Refused
from rollback.model.finding import Answer, Sample
from rollback.model.level import Level, Procedure
from rollback.model.people import Autonomy, Guard
from rollback.model.quantity import spoken
from rollback.model.system import System


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is true when a run asks to start.

    `begun` are the moments at which earlier runs of this system were started, any order.
    Units: `need_bytes` is what the run writes, `free_bytes` what the file system has.
    """

    now: datetime
    begun: Sequence[datetime]
    need_bytes: int
    free_bytes: int
    touched: Sequence[str] = ()


def refusals(system: System, level: Level | Procedure, seen: Circumstances) -> tuple[Refused, ...]:
    """Every guardrail that says no, in a fixed order; empty when none does."""
    found: list[Refused | None] = []
    if "rate-limit" not in level.waives:
        found.append(_rate(system, seen))
    if "disk" not in level.waives:
        found.append(_disk(system, seen))
    found.append(_paths(system, seen))
    return tuple(refused for refused in found if refused)


def autonomy(policy: Autonomy) -> Refused | None:
    """The refusal when the current autonomy level gives no right to go back; without a table: none."""
    row = policy.table.get(policy.current)
    if row is None or "roll-back" in row.may:
        return None
    rights = ", ".join(row.may) or "nothing"
    return Refused(
        "autonomy", f"at autonomy {policy.current} the tool may {rights}, and not roll-back",
        hint="raise autonomy: current: in the declaration, accept it with rollback trust, run again",
    )  # fmt: skip


def _rate(system: System, seen: Circumstances) -> Refused | None:
    limit = system.guardrails.rate_limit
    if limit is None:
        return None
    since = seen.now - timedelta(seconds=limit.per)
    recent = [moment for moment in seen.begun if moment > since]
    if len(recent) >= limit.max:
        free_at = sorted(recent)[-limit.max] + timedelta(seconds=limit.per)
        return Refused(
            "rate-limit", f"{len(recent)} runs in the last {limit.per / 3600:g} h, {limit.max} are allowed",
            hint=f"a person should look why; the next may start at {free_at:%Y-%m-%d %H:%M} UTC",
        )  # fmt: skip
    if recent and (seen.now - max(recent)).total_seconds() < limit.min_gap:
        wait_s = limit.min_gap - (seen.now - max(recent)).total_seconds()
        return Refused(
            "rate-limit", f"the last run began less than {spoken(limit.min_gap)} ago",
            hint=f"wait {spoken(wait_s)}, then type the command again",
        )  # fmt: skip
    return None


def _disk(system: System, seen: Circumstances) -> Refused | None:
    guard = system.guardrails.disk
    need = int(seen.need_bytes * guard.factor) + guard.reserve
    need = max(need, (guard.at_least or 0) + 1)
    if seen.free_bytes >= need:
        return None
    return Refused(
        "disk", f"{seen.free_bytes / 2**20:.0f} MiB are free, {need / 2**20:.0f} MiB are needed",
        hint="make room, then type the command again",
    )  # fmt: skip


def _paths(system: System, seen: Circumstances) -> Refused | None:
    for touched in seen.touched:
        component = system.components[touched]
        if component.content == "append-only":
            continue  # captured, never taken back
        for protected in system.guardrails.protected_paths:
            if protected == component.path or protected.startswith(component.path + "/"):
                return Refused(
                    "protected-paths",
                    f"{touched} holds {protected}, which no run may change",
                    hint="exclude that path from the component",
                )
    return None


# -- conditions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conditions:
    """What each declared condition says, the refusal that follows, and what is only warned of."""

    answers: Mapping[str, Answer]
    refused: Refused | None = None
    warnings: tuple[str, ...] = ()


def conditions(system: System, samples: Mapping[str, Sample]) -> Conditions:
    """Every declared condition against the readings; UNKNOWN counts as not holding.

    A condition of our own (`holds:`) is kept by the engine and the plan of every run.
    """
    answers: dict[str, Answer] = {}
    reasons: list[str] = []
    warnings: list[str] = []
    for guard in system.guardrails.conditions:
        answers[guard.id], why = _condition(guard, samples)
        if answers[guard.id] is Answer.PASS:
            continue
        if guard.refuse == "warn":
            warnings.append(f"{guard.id}: {why}")
            continue
        asking = "; asking a person instead is not built yet" if guard.refuse == "ask" else ""
        reasons.append(f"{guard.id}: {why}{asking}")
    refused = Refused(
        "conditions", "; ".join(reasons),
        hint="make it so, then type the command again; a person may have to look first",
    ) if reasons else None  # fmt: skip
    return Conditions(answers, refused, tuple(warnings))


def _condition(guard: Guard, samples: Mapping[str, Sample]) -> tuple[Answer, str]:
    if guard.holds is not None:
        return Answer.PASS, f"{guard.holds} is kept by every run"
    if guard.fact is not None:
        return Answer.UNKNOWN, f"nobody can tell the fact {guard.fact} to a run yet"
    sample = samples.get(str(guard.metric))
    if sample is None or sample.value is None:
        why = sample.note if sample else "it was not read"
        return Answer.UNKNOWN, f"metric {guard.metric} is UNKNOWN: {why}"
    value = sample.value
    limits = (
        ("above", guard.above, guard.above is None or value > guard.above),
        ("below", guard.below, guard.below is None or value < guard.below),
        ("at least", guard.at_least, guard.at_least is None or value >= guard.at_least),
        ("at most", guard.at_most, guard.at_most is None or value <= guard.at_most),
        ("equal to", guard.equals, guard.equals is None or value == guard.equals),
    )
    broken = [f"{word} {limit:g}" for word, limit, held in limits if limit is not None and not held]
    if broken:
        return (
            Answer.FAIL,
            f"metric {guard.metric} is {value:g}, and must be {' and '.join(broken)}",
        )
    return Answer.PASS, f"metric {guard.metric} is {value:g}"


# -- climbing ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Climb:
    """What speaks for a higher level, of the last day.

    `failed` are the ranks of the levels whose runs went wrong, `decided` the rank that the newest
    decision calls for; `idle` is true when the next lower level would change nothing.
    """

    failed: Sequence[int] = ()
    decided: int | None = None
    idle: bool = False


def next_lower(system: System, rank: int) -> str:
    """The id of the next lower level; empty for the lowest."""
    below = [(level.rank, key) for key, level in system.levels.items() if level.rank < rank]
    return max(below)[1] if below else ""


def climbs(system: System, level: Level | Procedure) -> bool:
    """True when the level may be started only above one that was not enough."""
    if not isinstance(level, Level) or not next_lower(system, level.rank):
        return False
    in_order = system.guardrails.climb_in_order and not level.emergency
    return in_order or level.requires_lower_failed


def climb(system: System, name: str, level: Level, seen: Climb) -> Refused | None:
    """The refusal when nothing says that a lower level was not enough."""
    if any(rank < level.rank for rank in seen.failed) or seen.idle:
        return None
    if seen.decided is not None and seen.decided >= level.rank:
        return None
    lower = next_lower(system, level.rank)
    return Refused(
        "climb-in-order",
        f"no lower level has failed in the last 24 h, and no decision calls for {name}",
        hint=f"start with: rollback run {lower}   (or see what the triggers say: rollback decide)",
    )
