"""The life of checkpoints: revoked, deleted, pruned by retention, and what that frees.

Hides: locks, and in which order records and packs go.
Never: decides who may ask for it; removes what its caller says is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rollback.host.clock import iso
from rollback.keep import retention, revoked
from rollback.keep.changes import told
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.checkpoint_record import Checkpoint
from rollback.keep.collect import Collection, Collector
from rollback.keep.copy_notes import CopyNotes
from rollback.keep.retention import Judged
from rollback.model.errors import PlanError, StoreError, UsageError
from rollback.model.operations import CheckpointKind

Announce = Callable[["Pruned"], None]


@dataclass(frozen=True)
class Pruned:
    """What a pruning does, or would: each checkpoint judged, and what is freed in the store."""

    judged: tuple[Judged, ...]
    collection: Collection
    freed_bytes: int = 0

    @property
    def going(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that go, oldest first."""
        return tuple(sorted((one.checkpoint for one in self.judged if one.goes),
                            key=lambda each: (each.at, each.id)))  # fmt: skip


class Life:
    """What ends checkpoints. `Checkpoints` makes and reads them."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._kept = checkpoints

    def revoke(self, wanted: str, *, reason: str, by: str) -> Checkpoint:
        """Nobody goes back to the checkpoint any more. Raises: UsageError when it was revoked."""
        kept = self._kept
        if not reason.strip() or len(reason) > 2000 or not reason.isprintable():
            raise UsageError("a revocation says why, in one printable line",
                             hint="add --reason TEXT")  # fmt: skip
        with kept.writing():
            found = kept.get(wanted)
            if found.revoked:
                raise UsageError(f"checkpoint {found.id[:12]} was {found.revoked}",
                                 hint="a revocation is never rewritten")  # fmt: skip
            revoked.revoke(kept.store.place, found.id, reason=reason.strip(), by=by,
                           at=iso(kept.host.clock.now()))  # fmt: skip
        return kept.get(found.id)

    def delete(self, wanted: str) -> int:
        """The checkpoint is gone, and with it what no other one needs; how many bytes.

        While any record, manifest or tree cannot be read, nothing but the record goes.
        """
        with self._kept.writing():
            found = self._kept.get(wanted)
            return self._remove((found,))[1]

    def look(self, declared: Mapping[str, CheckpointKind], held: Mapping[str, str]) -> Pruned:
        """What pruning would do now. `held` says by id what must stay, and why. Changes nothing."""
        with told(self._kept.state, b"store", kind=StoreError), self._kept.store.lock(shared=True):
            return self._look(declared, held)[0]

    def prune(
        self, declared: Mapping[str, CheckpointKind], held: Mapping[str, str], *,
        announce: Announce = lambda _found: None,
    ) -> Pruned:  # fmt: skip
        """What retention lets go is gone, and what nothing needs is freed; `announce` hears first.

        Crash: some are gone, all others can be put back; again, it goes on.
        """
        with self._kept.writing():
            found, _ = self._look(declared, held)
            announce(found)
            collection, freed = self._remove(found.going)
            return replace(found, collection=collection, freed_bytes=freed)

    # -- inside ----------------------------------------------------------------------------

    def _look(
        self, declared: Mapping[str, CheckpointKind], held: Mapping[str, str]
    ) -> tuple[Pruned, Collector]:
        now = self._kept.host.clock.now()
        judged = retention.judged(self._kept.list(), declared, now, held)
        going = {one.checkpoint.id for one in judged if one.goes}
        collector = self._collector()
        stay = [one for identity, one in self._kept.records() if identity not in going]
        return Pruned(judged, collector.look(stay)), collector

    def _collector(self) -> Collector:
        return Collector(self._kept.store, self._kept.state, self._kept.load)

    def _remove(self, going: tuple[Checkpoint, ...]) -> tuple[Collection, int]:
        """The records are gone, then what nothing needs: what was found to free, and what was."""
        place = self._kept.store.place
        for one in going:
            if one.id not in {identity for identity, _ in self._kept.records()}:
                raise PlanError(f"checkpoint {one.id[:12]} is gone already")
            CopyNotes(self._kept.state, self._kept.host).note_deleted(one.id, self._kept.stores)
            place.remove(f"checkpoints/{one.id}.json")
            revoked.forget(place, one.id)
        collector = self._collector()
        found = collector.look([record for _, record in self._kept.records()])
        return found, collector.free(found, self._kept.progress)
