"""What holds a run back, whoever asks: how often, how much room, which paths.

Hides: the arithmetic of windows.
Never: measures; the circumstances are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback.model.errors import Refused
from rollback.model.level import Level, Procedure
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
            "rate-limit", f"the last run began less than {limit.min_gap:g} s ago",
            hint=f"wait {wait_s:.0f} s, then type the command again",
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
