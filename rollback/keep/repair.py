"""A store made whole again: bad objects are found by hash wherever their bytes still are.

A damaged pack is copied to `damaged/` first. Then bytes are looked for in this order: other packs,
the damaged packs themselves, what was set aside before, further places, the live tree. Good ones go
into a new pack, which may have the name of the damaged one. No damaged pack is ever deleted. Killed
in between, the next repair finds the same bad packs and begins again.

Hides: how bytes are found.
Never: takes bytes that do not hash to what was asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from rollback.keep import damage
from rollback.keep.changes import told
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.checkpoint_record import Checkpoint, read
from rollback.keep.copies import Copies
from rollback.keep.copy_place import CopyPlace
from rollback.keep.entry import Entry
from rollback.keep.manifest import decode, tree_entries
from rollback.keep.pack import HEADER, RECORD, Location, opened
from rollback.keep.place import DAMAGED, Place
from rollback.keep.progress import Tally
from rollback.keep.store import Store
from rollback.model.errors import HostError, ObjectCorrupt, RollbackError, StoreError
from rollback.model.quantity import counted

_PART_BYTES = 8 * 2**20


class _Unreadable(Exception):
    """The medium does not give back a file: it is no error of where it is copied to."""


@dataclass
class Repaired:
    """What a repair did. `found` counts objects by where their bytes were; `lost` are still bad."""

    set_aside: list[str] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """True when anything was done."""
        return bool(self.set_aside or self.records or self.found)

    def lines(self) -> list[str]:
        """For people, one line a fact."""
        said = [f"{name} was damaged and lies in store/{DAMAGED}/" for name in self.set_aside]
        said += [
            f"the record of {identity[:12]} came back from a copy" for identity in self.records
        ]
        said += [f"{counted(count, 'object')} found in {where}"
                 for where, count in sorted(self.found.items())]  # fmt: skip
        if self.lost:
            said.append(f"{counted(len(self.lost), 'object')} found nowhere: {self.lost[0]} …")
        return [*said, *self.problems]


class Repair:
    """One repair of the store of `kept`."""

    def __init__(self, kept: Checkpoints, copies: Copies) -> None:
        self._kept = kept
        self._store = kept.store
        self._copies = copies
        self._done = Repaired()

    def run(self) -> Repaired:
        """Everything that listed checkpoints need is whole, as far as its bytes are anywhere.

        Raises: RunLocked, StoreError; what was found until then is durable, or not there.
        """
        with told(self._kept.state, b"store", kind=StoreError), self._store.lock():
            return self._run()

    def _run(self) -> Repaired:
        store = self._store
        store.refresh()
        sizes = store.place.sizes("packs")
        heard = Tally(self._kept.progress, "reading packs", sum(sizes.values()))
        for name in store.packs():
            heard.add(sizes.get(f"{name}.pack", 0))
            if store.pack_digest(name) != name:
                store.disregard({name: "its bytes have changed"})
        bad = dict(store.damaged)
        for name in sorted(bad):
            self._keep_aside(name)
        try:
            self._records()
            self._from_records("the damaged pack", (f"packs/{name}.pack" for name in sorted(bad)))
            records = list(self._listed())
            lost = self._lost(records)
            if lost:
                aside = (f"{DAMAGED}/{name}" for name in self._names(DAMAGED))
                self._from_records("what was set aside", aside, wanted=lost)
                lost = self._lost(records)
            lost = self._from_places(lost, records)
            lost = self._from_live(lost, records)
            self._done.lost = tuple(sorted(lost))
            store.flush()
        finally:
            store.drop()
        for name in sorted(bad):
            if name not in store.usable:  # it was not written anew, whole, under the same name
                store.set_aside(name)
        damage.keep(self._kept.state, ())  # every pack was hashed, and what is lost is missing now
        return self._done

    def _keep_aside(self, name: str) -> None:
        """The damaged pack lies in `damaged/` too: a good one may get its name."""
        path = f"packs/{name}.pack"
        with suppress(_Unreadable):  # a medium that gives nothing back: it is moved in the end
            self._store.place.create(f"{DAMAGED}/{name}.pack", self._parts(path))
        self._done.set_aside.append(path)

    def _parts(self, path: str) -> Iterator[bytes]:
        """The bytes of a file as they are. Raises: _Unreadable."""
        try:
            for at in range(0, self._store.place.size(path), _PART_BYTES):
                yield self._store.place.read(path, at, _PART_BYTES)
        except OSError as error:
            raise _Unreadable from error

    # -- records ---------------------------------------------------------------------------

    def _names(self, folder: str) -> list[str]:
        return [name for name in self._store.place.names(folder) if name.endswith(".pack")]

    def _listed(self) -> Iterator[Checkpoint]:
        for name in self._store.place.names("checkpoints"):
            one = self._record(name)
            if one is not None:
                yield one

    def _record(self, name: str) -> Checkpoint | None:
        path = f"checkpoints/{name}"
        try:
            data = self._store.place.read(path, 0, self._store.place.size(path))
            return read(name.removesuffix(".json"), data)
        except (StoreError, OSError):
            return None

    def _records(self) -> None:
        """Damaged commit records are those of a copy again, where there is one."""
        bad = [name for name in self._store.place.names("checkpoints")
               if name.endswith(".json") and self._record(name) is None]  # fmt: skip
        for _, place in self._places() if bad else ():
            for name in [*bad]:
                path = f"checkpoints/{name}"
                try:
                    data = b"".join(place.parts(path))
                    read(name.removesuffix(".json"), data)
                except (StoreError, HostError, OSError):
                    continue
                self._store.place.set_aside(path)
                self._store.place.create(path, [data])
                self._done.records.append(name.removesuffix(".json"))
                bad.remove(name)

    # -- objects ---------------------------------------------------------------------------

    def _lost(self, records: Iterable[Checkpoint]) -> set[str]:
        """What the records need and no good pack holds; below what is lost nothing is known."""
        lost: set[str] = set()
        seen: set[str] = set()
        for one in records:
            for part in one.parts.values():
                data = self._get(part.manifest, lost)
                if data is not None and (top := decode(data).top) is not None:
                    self._below(top, seen, lost)
        return lost

    def _get(self, identity: str, lost: set[str]) -> bytes | None:
        try:
            return self._store.get(identity)
        except StoreError:
            lost.add(identity)
            return None

    def _below(self, top: Entry, seen: set[str], lost: set[str]) -> None:
        todo = [top]
        while todo:
            entry = todo.pop()
            if entry.tree:
                if entry.tree in seen:
                    continue
                seen.add(entry.tree)
                data = self._get(entry.tree, lost)
                todo += tree_entries(data, entry.path) if data is not None else ()
            elif entry.blocks:
                data = self._get(entry.blocks, lost)
                for at in range(0, len(data or b""), 32):
                    self._need((data or b"")[at : at + 32].hex(), lost)
            elif entry.kind == "file" and entry.size:
                self._need(entry.sha256, lost)

    def _need(self, identity: str, lost: set[str]) -> None:
        if not self._store.has(identity):
            lost.add(identity)

    def _put(self, data: bytes, where: str) -> str:
        """The object is in the store; a new pack that is full of such is written by itself."""
        identity = self._store.put(data)
        self._done.found[where] = self._done.found.get(where, 0) + 1
        return identity

    def _from_records(
        self, where: str, paths: Iterable[str], *, wanted: set[str] | None = None
    ) -> None:
        """The good objects of bad packs, read record by record; their footers are not believed."""
        for path in paths:
            for identity, data in _readable(self._store.place, path):
                if not self._store.has(identity) and (wanted is None or identity in wanted):
                    self._put(data, where)

    def _from_places(self, lost: set[str], records: list[Checkpoint]) -> set[str]:
        """What a copy has; what is found may show that more is lost, below it."""
        for name, place in self._places() if lost else ():
            other = Store(place.place)
            while lost:
                count = len(lost)
                for identity in sorted(lost):
                    try:
                        self._put(other.get(identity), name)
                    except (StoreError, HostError, OSError):
                        continue
                    lost.discard(identity)
                if len(lost) == count:
                    break
                lost = self._lost(records)
        return lost

    def _places(self) -> Iterator[tuple[str, CopyPlace]]:
        for name, place in self._copies.sources():
            if isinstance(place, CopyPlace):
                yield name, place
            else:
                said = f"{name} could not be asked: {place}"
                if said not in self._done.problems:
                    self._done.problems.append(said)

    def _from_live(self, lost: set[str], records: list[Checkpoint]) -> set[str]:
        """What the components themselves still hold."""
        components = sorted({name for one in records for name in one.parts})
        while lost:
            caught: dict[str, bytes] = {}
            sieve = Sieve(self._store.place, frozenset(lost), caught)
            for name in components:
                with suppress(RollbackError, OSError, KeyError):
                    self._kept.capture_into(sieve, name)
            for data in caught.values():
                lost.discard(self._put(data, "the live tree"))
            if not caught:
                break
            lost = self._lost(records)
        return lost


def _readable(place: Place, path: str) -> Iterator[tuple[str, bytes]]:
    """The objects of a pack whose bytes hash to their ids, found from its front to its end."""
    try:
        size = place.size(path)
    except OSError:
        return
    at = len(HEADER)
    pack = os.path.basename(path).removesuffix(".pack")
    while at + RECORD.size <= size:
        try:
            raw, length, stored, codec = RECORD.unpack(place.read(path, at, RECORD.size))
        except (OSError, ValueError):
            return
        at += RECORD.size
        if at + stored > size or codec > 1:
            return  # no record any more: the index, or damage to a length
        identity = raw.hex()
        try:
            location = Location(pack, at, length, stored, codec)
            yield identity, opened(place.read(path, at, stored), location, identity)
        except (ObjectCorrupt, OSError):
            pass  # this one is bad; the next may be good
        at += stored


class Sieve(Store):
    """A store for a capture that keeps nothing but the objects that are looked for."""

    def __init__(self, place: Place, wanted: frozenset[str], caught: dict[str, bytes]) -> None:
        super().__init__(place)
        self._wanted = wanted
        self._caught = caught

    def has(self, identity: str) -> bool:
        """Nothing, so that everything is read."""
        return False

    def put(self, data: bytes) -> str:
        """The id; the bytes are caught where they are looked for."""
        identity = hashlib.sha256(data).hexdigest()
        if identity in self._wanted:
            self._caught[identity] = data
        return identity

    def flush(self) -> None:
        """Nothing was kept."""


__all__ = ["Repair", "Repaired"]
