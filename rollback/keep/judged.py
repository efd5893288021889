"""Whether a checkpoint can be put back: that everything it needs is in the store, by the index.

What was found whole stays so while the packs that it lies in are there; that is remembered in
`cache/judged.json` of the state directory, which is disposable.

Hides: what is remembered.
Never: remembers that something is missing; that is looked at again each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from rollback.host import Tree
from rollback.keep import damage
from rollback.keep.checkpoint_record import Checkpoint
from rollback.keep.checkpoint_verify import Reach
from rollback.keep.manifest import Manifest
from rollback.keep.store import Store
from rollback.model.errors import HostError, StoreError
from rollback.model.event import canonical

_FILE = "cache/judged.json"
_NEW = "cache/judged.json.new"
Load = Callable[[str, str], Manifest]


class Judged:
    """What is known of the checkpoints in one store."""

    def __init__(self, state: Tree, store: Store, load: Load) -> None:
        self._state, self._store, self._load = state, store, load
        self._known: dict[str, frozenset[str]] = {}
        self._new = False
        with suppress(OSError, HostError, ValueError, AttributeError, TypeError):
            found = json.loads(state.read(_FILE))
            self._known = {str(one): frozenset(packs) for one, packs in found.items()}

    def problems(self, record: Checkpoint, reach: Reach) -> list[str]:
        """Why the checkpoint cannot be put back now, one line a component; nothing when it can."""
        if lost := self.lost():
            return self._damaged(record, lost)
        packs = self._known.get(record.id)
        if packs is not None and packs <= self._store.usable:
            return []
        found: list[str] = []
        for name, part in record.parts.items():
            try:
                lacking = reach.missing(self._load(part.manifest, name))
            except StoreError as error:
                found.append(f"{name}: {error}")
                continue
            reach.need(part.manifest)
            if lacking:
                found.append(f"{name}: {len(lacking)} objects are missing: {lacking[0]} …")
        if not found:
            self._known[record.id] = frozenset(reach.packs)
            self._new = True
        return found

    def lost(self) -> frozenset[str]:
        """The objects that were found damaged, and of which no copy is good."""
        return damage.lost(damage.standing(self._state, self._store), self._store)

    def _damaged(self, record: Checkpoint, lost: frozenset[str]) -> list[str]:
        """As `problems`, while something in the store is known to be damaged: everything is asked."""
        found: list[str] = []
        for name, part in record.parts.items():
            try:
                manifest = self._load(part.manifest, name)
                bad = lost.intersection(Reach(self._store).objects(part.manifest, manifest))
                lacking = Reach(self._store).missing(manifest)
            except StoreError as error:
                found.append(f"{name}: {error}")
                continue
            if bad:
                found.append(f"{name}: {len(bad)} objects are damaged: {min(bad)} …")
            elif lacking:
                found.append(f"{name}: {len(lacking)} objects are missing: {lacking[0]} …")
        return found

    def steady(self, newest: str) -> bool:
        """True when the newest checkpoint was found whole, and no pack has gone since.

        Then whatever a cache of looks names is whole too: it was filled by that capture or an
        earlier one, and what freeing takes away is taken from it as well.
        """
        usable = self._store.usable
        if damage.standing(self._state, self._store):
            return False  # what is read again is put again, beside what is damaged
        return newest in self._known and all(packs <= usable for packs in self._known.values())

    def keep(self) -> None:
        """What was found is remembered, where the state directory can be written."""
        if not self._new:
            return
        with suppress(OSError, HostError):
            if self._state.stat("cache") is None:
                self._state.make_folder("cache")
            if self._state.stat(_NEW) is not None:
                self._state.unlink(_NEW)
            listed = {one: sorted(packs) for one, packs in self._known.items()
                      if packs <= self._store.usable}  # fmt: skip
            self._state.create(_NEW, canonical(listed), sync=False)
            self._state.rename(_NEW, _FILE)
            self._new = False
