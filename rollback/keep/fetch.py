"""Checkpoints brought back from a copy: the store may be damaged, or gone altogether.

Hides: in which order they come.
Never: keeps a pack that does not hash to its name; lists a checkpoint before its packs are here.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollback.keep import revoked
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.checkpoint_record import Checkpoint, matching, read
from rollback.keep.copies import Copies, told
from rollback.keep.copy_place import CopyPlace
from rollback.keep.progress import Progress
from rollback.keep.store import Store
from rollback.model.errors import ObjectCorrupt, PlanError, StoreError
from rollback.model.registry import nearest


@dataclass(frozen=True)
class Fetched:
    """The ids of the checkpoints that are here now and were not, and why others are not."""

    checkpoints: tuple[str, ...]
    problems: tuple[str, ...]


def fetch(
    kept: Checkpoints, copies: Copies, system: str, store: str, wanted: str | None = None
) -> Fetched:
    """The checkpoints of this system that lie in that place are here too; `wanted`: this one alone.

    Crash: some are here, whole; again, the others come. Raises: PlanError, HostUnreachable,
    HostError, StoreError, RunLocked, OSError.
    """
    copies.named((store,))
    local = kept.store
    brought: list[str] = []
    problems: list[str] = []
    with copies.open(store) as place, local.lock():
        local.place.sweep()
        local.refresh()
        here = {name.removesuffix(".json") for name in local.place.names("checkpoints")}
        listed = _there(place, system, problems)
        chosen = matching(listed, wanted) if wanted else [*listed]
        if wanted and len(chosen) != 1:
            said = "there are several" if chosen else "there is no"
            raise PlanError(f"{said} {wanted!r} in {store}",
                            hint=nearest(wanted, [one[:12] for one in listed]))  # fmt: skip
        for identity in chosen:
            if identity in here:
                continue
            try:
                _bring(local, identity, place, kept.progress)
                brought.append(identity)
            except (StoreError, OSError) as error:
                problems.append(f"{identity[:12]}: {told(error)}")
        local.refresh()
    gone = copies.notes.deleted(store) & frozenset(brought)
    if gone:
        copies.notes.forget_deleted(store, gone)
    return Fetched(tuple(brought), tuple(problems))


def _there(
    place: CopyPlace, system: str, problems: list[str]
) -> dict[str, Checkpoint | StoreError]:
    found: dict[str, Checkpoint | StoreError] = {}
    for identity in sorted(place.records):
        try:
            one = read(identity, b"".join(place.parts(f"checkpoints/{identity}.json")))
        except (StoreError, OSError) as error:
            problems.append(f"{identity[:12]}: {told(error)}")
            continue
        if one.system == system:
            found[identity] = one
    return found


def _bring(local: Store, identity: str, place: CopyPlace, progress: Progress) -> None:
    packs = place.listed(identity).packs
    place.listen(progress, f"fetching from {place.where}", 2 * sum(packs.values()))
    for name, size in sorted(packs.items()):
        path = f"packs/{name}.pack"
        if name in local.usable and local.place.size(path) == size:
            continue
        if why := place.damaged(path):
            raise ObjectCorrupt(f"the copy is damaged: {why}", where=place.where)
        local.place.create(path, place.parts(path))
        local.place.forget(path)
        if local.pack_digest(name) != name:
            local.place.set_aside(path)
            raise ObjectCorrupt("what came is not what was sent", where=path)
    revoked.copy(place.place, local.place, identity)
    path = f"checkpoints/{identity}.json"
    local.place.create(path, [b"".join(place.parts(path))])
