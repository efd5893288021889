"""Which checkpoints their kind's retention lets go, and what holds each of the others.

Values in, values out. A kind that is not declared lets nothing go, nor does a name that a person
gave.

Hides: how a checkpoint is matched with its declared kind.
Never: lets go what something holds, or the newest one of a component that can be gone back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from rollback.host.clock import parse_iso
from rollback.keep.checkpoint_record import Checkpoint
from rollback.model.operations import CheckpointKind
from rollback.model.quantity import spoken

_ON = {"manual": "manual", "safety": "rollback"}  # what is taken by hand, and by a run


@dataclass(frozen=True, slots=True)
class Judged:
    """A checkpoint, whether it may go, and why it may or may not."""

    checkpoint: Checkpoint
    goes: bool
    why: str


def kind_of(kind: str, declared: Mapping[str, CheckpointKind]) -> CheckpointKind | None:
    """The declared kind of a checkpoint: by its id, else by the occasion on which it was taken."""
    if kind in declared:
        return declared[kind]
    occasion = _ON.get(kind)
    return next((one for one in declared.values() if one.on == occasion), None)


def judged(
    listed: Iterable[Checkpoint], declared: Mapping[str, CheckpointKind], now: datetime,
    held: Mapping[str, str],
) -> tuple[Judged, ...]:  # fmt: skip
    """What is known of each checkpoint, in the order given; `held` says why some must stay, by id."""
    found = tuple(listed)
    newest = _newest(found)
    told = []
    for one in found:
        why = held.get(one.id) or newest.get(one.id) or _stays(one, declared, now)
        told.append(Judged(one, not why, why or _over(one, declared, now)))
    return tuple(told)


def _newest(found: Iterable[Checkpoint]) -> dict[str, str]:
    """The newest good checkpoint of each component, and what it is the newest of."""
    held: dict[str, list[str]] = {}
    seen: set[str] = set()
    for one in sorted(found, key=lambda each: (each.at, each.id), reverse=True):
        if not one.target or one.kind == "safety" or one.damage:
            continue
        fresh = [name for name in one.parts if name not in seen]
        seen.update(fresh)
        if fresh:
            held[one.id] = fresh
    return {identity: f"the newest good one of {', '.join(names[:3])}"
            + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            for identity, names in held.items()}  # fmt: skip


def _stays(one: Checkpoint, declared: Mapping[str, CheckpointKind], now: datetime) -> str:
    if one.state == "damaged":
        return "its record cannot be read"
    kind = kind_of(one.kind, declared)
    if kind is None:
        return f"no kind {one.kind} is declared, so nothing says how long it is kept"
    if kind.on == "manual" and one.name:
        return "it was named by a person: only delete removes it"
    if not isinstance(kind.retention, float):
        return "its kind is kept"
    left_s = kind.retention - _age_s(one, now)
    return f"kept for another {spoken(left_s)}" if left_s > 0 else ""


def _over(one: Checkpoint, declared: Mapping[str, CheckpointKind], now: datetime) -> str:
    kind = kind_of(one.kind, declared)
    assert kind is not None, "nothing of an undeclared kind goes"
    assert isinstance(kind.retention, float), "nothing that is kept for ever goes"
    return f"{spoken(_age_s(one, now))} old, kept for {spoken(kind.retention)}"


def _age_s(one: Checkpoint, now: datetime) -> float:
    return (now - parse_iso(one.at)).total_seconds()
