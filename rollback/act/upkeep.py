"""What is due from time to time, done by whoever asks: cron, a timer, an agent.

Scheduled checkpoints are taken, declared exports made, and the next slice of the store is read
again. Each of these knows by itself what is due, so asking often costs little and does nothing twice.

Hides: in which order.
Never: lets one of them keep the others from being done.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rollback.act.exporting import Exported, export_due
from rollback.act.keeping import Taken, slice_bytes, take_due
from rollback.act.site import Site
from rollback.keep.damage import standing
from rollback.keep.rolling import Slice
from rollback.keep.rolling import verify_slice as look
from rollback.model.errors import RollbackError
from rollback.model.finding import Json


@dataclass(frozen=True)
class Upkeep:
    """What was done: checkpoints, exports, and the slice of the store that was read again."""

    taken: Taken = field(default_factory=Taken)
    exported: tuple[Exported, ...] = ()
    slice: Slice = field(default_factory=Slice)


def upkeep(site: Site) -> Upkeep:
    """Everything that is due now is done. This is what an agent calls at each of its turns.

    Raises: as `take_due`, after the rest was done.
    """
    refused: RollbackError | None = None
    taken = Taken()
    try:
        taken = take_due(site)
    except RollbackError as error:
        refused = error
    done = Upkeep(taken, export_due(site), verify_slice(site))
    if refused is not None:
        raise refused
    return done


def verify_slice(site: Site, size_bytes: int | None = None) -> Slice:
    """The next slice of the store was read and hashed; what was found is journalled.

    By default as much as is looked at each time; more while a corruption is not long ago.
    """
    kept = site.checkpoints
    done = look(kept.store, kept.state, site.host, size_bytes or slice_bytes(site))
    if done.new:
        lost = [one.id for one in kept.list() if one.problems and one.state == "whole"]
        site.tell(
            "checkpoint.damaged", packs=list[Json](sorted({one.pack for one in done.new})),
            objects=list[Json](sorted(one.object for one in done.new if one.object)),
            why=done.new[0].why, checkpoints=list[Json](lost),
        )  # fmt: skip
        site.anchor()
    return done


def damaged(site: Site) -> dict[str, Json] | None:
    """What is known to be damaged in the store, and which checkpoints that costs; None when nothing is."""
    kept = site.checkpoints
    found = standing(kept.state, kept.store)
    if not found:
        return None
    return {
        "packs": list[Json](sorted({one.pack for one in found})),
        "objects": sum(1 for one in found if one.object), "since": min(one.at for one in found),
        "why": found[0].why,
        "checkpoints": [one.id for one in kept.list() if one.problems and one.state == "whole"],
    }  # fmt: skip
