"""What no checkpoint needs any more is freed: dead packs go, packs that are mostly dead are rewritten.

Killed at any moment, nothing that a listed checkpoint needs is gone: the objects of a pack that is
rewritten are durable and proved in a new one, and the index knows it, before the first old pack
goes. Looks of folders that name what may go are forgotten before anything goes.

Hides: which packs are worth rewriting, and the order of it all.
Never: frees anything while a record, a manifest or a tree cannot be read; decides which
checkpoints stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rollback.host import Tree
from rollback.host.below import why
from rollback.keep.checkpoint_record import Checkpoint
from rollback.keep.checkpoint_verify import Reach
from rollback.keep.manifest import Manifest
from rollback.keep.pack import HEADER, INDEX, RECORD, TAIL
from rollback.keep.pending import PENDING_BYTES_MAX
from rollback.keep.progress import SILENT, Progress
from rollback.keep.stat_cache import forget_unless
from rollback.keep.store import Store
from rollback.model.errors import StoreError

ALIVE_MIN = 0.5  # of a pack's bytes; below, it is rewritten
_BARE = len(HEADER) + TAIL.size
_EACH = RECORD.size + INDEX.size

Load = Callable[[str, str], Manifest]


@dataclass(frozen=True)
class Collection:
    """What is freed. `dead` packs go, `thin` ones are rewritten; `blocked` says why nothing is.

    Units: `frees_bytes` are those of packs, less what rewriting takes; measured, not estimated:
    stored bytes are copied as they are.
    """

    dead: tuple[str, ...] = ()
    thin: tuple[str, ...] = ()
    frees_bytes: int = 0
    blocked: str = ""


class Collector:
    """One look at what is needed, and the freeing of the rest. The caller holds the store's lock."""

    def __init__(self, store: Store, state: Tree, load: Load) -> None:
        self._store, self._state, self._load = store, state, load
        self._reach = Reach(store)

    def look(self, kept: Iterable[Checkpoint | StoreError]) -> Collection:
        """What would be freed if exactly these checkpoints stay. Changes nothing."""
        try:
            for record in kept:
                if isinstance(record, StoreError):
                    return Collection(blocked=f"a record cannot be read: {record}")
                for name, part in record.parts.items():
                    for _ in self._reach.objects(part.manifest, self._load(part.manifest, name)):
                        pass
        except StoreError as error:
            return Collection(blocked=f"what is needed is not known: {error}")
        except OSError as error:
            return Collection(blocked=f"what is needed is not known: {why(error)}")
        return self._judged()

    def free(self, found: Collection, progress: Progress = SILENT) -> int:
        """It is freed; how many bytes. Raises: StoreError, OSError; then less was freed."""
        if not found.dead and not found.thin:
            return 0
        forget_unless(self._state, self._reach.seen)
        before = self._bytes()
        thin = self._rewrite(found, progress)
        gone = [*thin, *found.dead]
        self._store.settle(frozenset(gone))
        for number, name in enumerate(gone, start=1):
            self._store.place.remove(f"packs/{name}.pack")
            progress("freeing", number, len(gone), "packs")
        self._store.refresh()
        return before - self._bytes()

    # -- inside ----------------------------------------------------------------------------

    def _bytes(self) -> int:
        """What all packs take, damaged ones too."""
        place = self._store.place
        return sum(place.size(f"packs/{name}") for name in place.names("packs"))

    def _judged(self) -> Collection:
        """Which packs are dead or thin, by the bytes of what is needed of them."""
        sizes = {name: self._store.place.size(f"packs/{name}.pack") for name in self._store.packs()}
        alive = dict.fromkeys(sizes, 0)
        for identity, pack, stored in self._store.records():
            if identity in self._reach.seen:
                alive[pack] += _EACH + stored
        dead = tuple(name for name in sizes if not alive[name])
        thin = tuple(name for name, size in sizes.items()
                     if 0 < alive[name] < (size - _BARE) * ALIVE_MIN)  # fmt: skip
        copied = self._copied(frozenset((*dead, *thin)))
        need = sum(_EACH + stored for stored in copied.values())
        packs = -(-need // PENDING_BYTES_MAX)
        frees = sum(sizes[name] for name in (*dead, *thin)) - need - packs * _BARE
        return Collection(dead, thin, frees)

    def _copied(self, leaving: frozenset[str]) -> dict[str, int]:
        """The needed objects that lie in packs that leave and in no other, and their bytes."""
        stay: set[str] = set()
        copied: dict[str, int] = {}
        for identity, pack, stored in self._store.records():
            if identity in self._reach.seen:
                if pack in leaving:
                    copied[identity] = stored
                else:
                    stay.add(identity)
        return {identity: stored for identity, stored in copied.items() if identity not in stay}

    def _rewrite(self, found: Collection, progress: Progress) -> list[str]:
        """The thin packs whose every needed object is durable and proved elsewhere by now."""
        thin, leaving = set(found.thin), frozenset((*found.dead, *found.thin))
        stay = self._store.usable - leaving
        needed = {identity for identity, pack, _ in self._store.records()
                  if pack in thin and identity in self._reach.seen}  # fmt: skip
        lost: set[str] = set()
        try:
            for number, identity in enumerate(sorted(needed), start=1):
                if not self._store.sound(identity, stay):
                    try:
                        self._store.again(identity)
                    except StoreError:
                        lost.add(identity)  # no copy is good: the packs that hold it stay
                progress("rewriting", number, len(needed), "objects")
            self._store.flush()
        finally:
            self._store.drop()
        holding = {pack for identity in lost for pack in self._store.packs_of(identity)}
        return [name for name in found.thin if name not in holding]
