"""Which reasons against going back somebody had overruled, when a run was called for.

Hides: which decision a run rests on.
Never: judges whether an overruling counts: the decision did.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollback.judge import timing
from rollback.model.event import Event
from rollback.model.finding import Json


def overruled(mine: Sequence[Event], events: Sequence[Event], level: str) -> list[Json]:
    """In words, from the decision that a run was begun for. `mine` are the events of the run.

    A run that a person began rests on the newest decision before it, where that called for its level.
    """
    if not mine:
        return []
    begun = next(n for n, event in enumerate(events) if event is mine[0])
    seq = mine[0].data.get("decision")
    taken = next((e for e in reversed(events[:begun]) if e.kind == timing.DECISION
                  and seq in (None, e.seq)), None)  # fmt: skip
    if taken is None or (seq is None and taken.data.get("level") != level):
        return []
    found = taken.data.get("overruled")
    return list(found) if isinstance(found, list) else []
