"""Objects by the SHA-256 of their bytes, in packs that never change.

New objects wait in memory and become durable in `flush`. An object may lie in several packs; a
damaged copy is passed over as long as a good one is there, and replaced when its bytes come again.

Hides: packs, compression, blocks.
Never: gives back bytes that it did not just hash.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from itertools import chain

from rollback.host import Host, Tree
from rollback.keep.blocks import BLOCK_BYTES, WHOLE_BYTES_MAX, Passing, Stored, cut
from rollback.keep.bulk import whole
from rollback.keep.entry import EMPTY_SHA256
from rollback.keep.format import FORMAT, known
from rollback.keep.index import Index
from rollback.keep.pack import (
    OBJECT_BYTES_MAX,
    RECORD,
    Location,
    read_index,
    squeezed,
    taken,
)
from rollback.keep.pending import Pending, Squeezed, Written
from rollback.keep.place import Place
from rollback.keep.stores.folder import Folder
from rollback.model.errors import HostError, ObjectCorrupt, ObjectMissing, StoreError

_BATCH_BYTES = 2**20  # of blocks that are hashed and looked up in one go
_BATCHES_AHEAD = 8
_INDEX = "index"
UNLISTED_MAX = 2000  # objects, or packs by their weight, that the file `index` may lack
_PACK_WEIGHT = 100


class Store:
    """The objects in one place. Writers hold `lock()`; readers need none."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.damaged: dict[str, str] = {}  # packs that cannot be used, and why
        self._index = Index()
        self._sizes: dict[str, int] = {}  # of the packs in the index
        self._listed = 0  # objects in the file `index`
        self._pending = Pending(place, self._learned)
        self._proved: set[str] = set()
        self._own: set[str] = set()  # packs written, and so proved, by this one
        self._read_index()
        self.refresh()

    @classmethod
    def open(cls, tree: Tree, host: Host) -> Store:
        """The store in the folder `store` of a state directory, which comes into being."""
        if tree.stat("store") is None:
            tree.make_folder("store")
            tree.sync_folder()
        folder = Folder(tree.sub("store"), host)
        if "format" not in folder.names("."):
            if tree.writable("store"):  # an empty one that may only be looked at stays empty
                folder.create("format", [FORMAT])
        else:
            known(folder.read("format", 0, 100), tree.place("store/format"))
        return cls(folder)

    def refresh(self) -> None:
        """Packs that others wrote are known too, and those that they removed are forgotten."""
        there = {name.removesuffix(".pack") for name in self.place.names("packs")}
        self.damaged = {name: why for name, why in self.damaged.items() if name in there}
        known = self._index.packs
        gone = known - there
        if gone:
            self._index.forget(frozenset(gone))
            self._own -= gone
            self._proved.clear()
        for name in sorted(there - known - self.damaged.keys()):
            self._learn(name)

    def _learn(self, name: str) -> None:
        path = f"packs/{name}.pack"
        try:
            size = self.place.size(path)
            found = read_index(name, size, self._reader(path))
        except (OSError, ObjectCorrupt) as error:
            self.damaged[name] = str(error)
            return
        self._index.learn(name, found)
        self._sizes[name] = size

    def _read_index(self) -> None:
        """What the file `index` says, of packs that still have the size it knows."""
        try:
            index, sizes = Index.decoded(self.place.read(_INDEX, 0, self.place.size(_INDEX)))
        except FileNotFoundError:
            return
        self._listed = len(index)
        other = {name for name, size in sizes.items() if self._size(name) != size}
        index.forget(frozenset(other))
        self._index = index
        self._sizes = {name: size for name, size in sizes.items() if name not in other}

    def _size(self, name: str) -> int:
        try:
            return self.place.size(f"packs/{name}.pack")
        except OSError:
            return -1

    def _write_index(self) -> None:
        """The file `index` is nearly up to date: a start reads few footers."""
        lacks = len(self._index) - self._listed + len(self._own) * _PACK_WEIGHT
        if lacks > max(UNLISTED_MAX, self._listed // 8):
            self.place.replace(_INDEX, self._index.encoded(self._sizes))
            self._listed = len(self._index)

    def _reader(self, path: str) -> Callable[[int, int], bytes]:
        return lambda offset, size: self.place.read(path, offset, size)

    def lock(self, *, shared: bool = False) -> AbstractContextManager[None]:
        """One writer at a time. Raises: RunLocked."""
        return self.place.lock(shared=shared)

    # -- reading ---------------------------------------------------------------------------

    def has(self, identity: str) -> bool:
        """True when the object is in a pack whose index is whole, or waits to be flushed."""
        return identity in self._pending or self._index.has(identity)

    def get(self, identity: str) -> bytes:
        """The bytes of an object, hashed just now. Raises: ObjectMissing, ObjectCorrupt."""
        waiting = self._pending.get(identity)
        if waiting is not None:
            return waiting
        problem: StoreError | None = None
        for location in self._index.find(identity):
            try:
                return self._read(identity, location)
            except (StoreError, OSError) as error:
                problem = error if isinstance(error, StoreError) else ObjectCorrupt(
                    f"object {identity} cannot be read: {error.strerror}",
                    where=f"packs/{location.pack}.pack")  # fmt: skip
        if problem is not None:
            raise problem
        raise ObjectMissing(
            f"object {identity} is not in the store", where="packs/",
            hint="restore from a copy of the store, or choose another checkpoint",
        )  # fmt: skip

    def blocks(self, sha256: str, listed: str, size: int) -> tuple[str, ...]:
        """The ids of a file's objects in order: of `size` bytes with this digest and block list."""
        if listed:
            raw = self.get(listed)
            known: dict[bytes, str] = {}  # one text for all the zeros of a file with holes
            each = (raw[at : at + 32] for at in range(0, len(raw), 32))
            return tuple(known.setdefault(one, one.hex()) for one in each)
        return (sha256,) if size else ()

    def _read(self, identity: str, location: Location) -> bytes:
        size = RECORD.size + location.stored
        record = self.place.read(f"packs/{location.pack}.pack", location.offset - RECORD.size, size)
        return taken(record, location, identity)

    def locate(self, identity: str) -> Location | None:
        """Where a copy of the object lies."""
        return self._index.locate(identity)

    def piece(self, pack: str, offset: int, size_bytes: int) -> bytes:
        """Bytes of a pack as they are; none where they cannot be read."""
        with suppress(OSError, HostError):
            return self.place.read(f"packs/{pack}.pack", offset, size_bytes)
        return b""

    def pack_of(self, identity: str) -> str | None:
        """A pack that holds the object."""
        return next((one.pack for one in self._index.find(identity)), None)

    @property
    def usable(self) -> frozenset[str]:
        """Every pack with a whole index."""
        return self._index.packs

    def holding(self, raw: Set[bytes]) -> set[str]:
        """The packs that hold any of these objects, given by their raw ids."""
        return self._index.holding(raw)

    def packs_of(self, identity: str) -> tuple[str, ...]:
        """The packs that hold the object."""
        return tuple(one.pack for one in self._index.find(identity))

    def objects_of(self, pack: str) -> Iterator[str]:
        """The ids of the objects in a pack."""
        return self._index.identities(pack)

    def packs(self) -> tuple[str, ...]:
        """Every pack with a whole index."""
        return tuple(sorted(self._index.packs))

    def records(self) -> Iterator[tuple[str, str, int]]:
        """Of every object in every pack: its id, the pack, and how many bytes it takes there."""
        return self._index.records()

    def sound(self, identity: str, packs: frozenset[str]) -> bool:
        """True when a copy in one of these packs was read and hashed just now."""
        for location in self._index.find(identity):
            if location.pack in packs:
                with suppress(StoreError, OSError):
                    self._read(identity, location)
                    return True
        return False

    def pack_digest(self, name: str) -> str:
        """SHA-256 of a whole pack file as it is now: its name, if it is whole."""
        path = f"packs/{name}.pack"
        whole = hashlib.sha256()
        size = self.place.size(path)
        for offset in range(0, size, BLOCK_BYTES):
            whole.update(self.place.read(path, offset, BLOCK_BYTES))
        return whole.hexdigest()

    # -- writing ---------------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """The object will be durable after `flush`; its id.

        Again: a copy that is there already is read and hashed; a damaged one gets a good sibling.
        """
        if len(data) > OBJECT_BYTES_MAX:
            raise StoreError(f"an object of {len(data)} bytes is too large")
        identity = hashlib.sha256(data).hexdigest()
        if identity in self._pending or self._proves(identity):
            return identity
        self._pending.add(identity, data)
        return identity

    def _proves(self, identity: str) -> bool:
        """True when the stored object is whole: nobody may build on a copy that nobody looked at."""
        places = [location.pack for location in self._index.find(identity)]
        if not places:
            return False
        if identity in self._proved or not self._own.isdisjoint(places):
            return True
        try:
            self.get(identity)
        except StoreError:
            return False
        self._proved.add(identity)
        return True

    def put_whole(self, data: bytes) -> Stored:
        """As `put_stream`, of bytes that are one object."""
        if not data:
            return Stored(EMPTY_SHA256, 0)
        return Stored(self.put(data), len(data))

    def put_stream(
        self, pieces: Iterable[bytes | int], *, block_bytes: int = BLOCK_BYTES, hashed: bool = True
    ) -> Stored:
        """The bytes will be durable after `flush`: one object if they are few, else blocks.

        A number among the pieces is of so many zeros, after whole blocks of a large file. Not
        `hashed`: there is no SHA-256 of the whole, which takes its time.
        """
        passing = Passing(pieces, hashed=hashed)
        coming = iter(passing)
        first: list[bytes | int] = []
        while passing.size <= WHOLE_BYTES_MAX and (piece := next(coming, None)) is not None:
            first.append(piece)
        if passing.size <= WHOLE_BYTES_MAX:
            return self.put_whole(b"".join(piece for piece in first if isinstance(piece, bytes)))
        ids = b"".join(self._put_all(cut(chain(first, coming), block_bytes), block_bytes))
        return Stored(passing.sha256, passing.size, self.put(ids))

    def _put_all(self, blocks: Iterable[bytes | int], each: int) -> Iterator[bytes]:
        """As `put`, of many at once: their raw ids, in order; a number is of blocks of zeros."""
        waiting: deque[Future[list[tuple[str, Squeezed | None]]]] = deque()
        for batch in _batches(blocks):
            if isinstance(batch, int):
                while waiting:
                    yield from self._wait(waiting.popleft().result())
                yield bytes.fromhex(self.put(bytes(each))) * batch
                continue
            waiting.append(self._pending.pool.submit(self._looked_up, batch))
            if len(waiting) > _BATCHES_AHEAD:
                yield from self._wait(waiting.popleft().result())
        while waiting:
            yield from self._wait(waiting.popleft().result())

    def _looked_up(self, batch: list[bytes]) -> list[tuple[str, Squeezed | None]]:
        """The id of each, and how it is stored, if no whole copy is known; changes nothing."""
        ids = [hashlib.sha256(data).hexdigest() for data in batch]
        stored = {identity: (place, data) for identity, data in zip(ids, batch, strict=True)
                  if identity not in self._pending and (place := self.locate(identity))}  # fmt: skip
        good = whole(self, stored)

        def there(identity: str) -> bool:
            if identity in stored:
                return identity in good or self._proves(identity)
            return identity in self._pending

        return [(identity, None if there(identity) else Squeezed(len(data), *squeezed(data)))
                for identity, data in zip(ids, batch, strict=True)]  # fmt: skip

    def _wait(self, looked_up: list[tuple[str, Squeezed | None]]) -> Iterator[bytes]:
        for identity, one in looked_up:
            if one is not None:
                self._pending.add_stored(identity, one)
            yield bytes.fromhex(identity)

    def flush(self) -> None:
        """Everything put is durable, and was read back from the disk and hashed.

        Raises: StoreError; then none of it may be relied on.
        """
        self._pending.flush()
        self._write_index()

    def _learned(self, pack: Written) -> None:
        if pack.name not in self._index.packs:
            self._index.learn(pack.name, pack.records)
            self._sizes[pack.name] = pack.size
        self._own.add(pack.name)

    def drop(self) -> None:
        """What was put and not flushed is forgotten."""
        self._pending.drop()

    def again(self, identity: str) -> None:
        """The object will lie in a new pack too, after `flush`, stored as it is.

        Raises: ObjectMissing, ObjectCorrupt where no copy is good.
        """
        if identity in self._pending:
            return
        for location in self._index.find(identity):
            with suppress(StoreError, OSError):
                path = f"packs/{location.pack}.pack"
                size = RECORD.size + location.stored
                record = self.place.read(path, location.offset - RECORD.size, size)
                taken(record, location, identity)
                stored = record[RECORD.size :]
                self._pending.add_stored(
                    identity, Squeezed(location.length, location.codec, stored)
                )
                return
        self.get(identity)  # says what is wrong with it

    def settle(self, leaving: frozenset[str]) -> None:
        """The file `index` knows every pack but these, which may go now."""
        self._index.forget(leaving)
        self._sizes = {name: size for name, size in self._sizes.items() if name not in leaving}
        self.place.replace(_INDEX, self._index.encoded(self._sizes))
        self._listed = len(self._index)

    def disregard(self, packs: dict[str, str]) -> None:
        """These packs count as damaged, for the reasons given: nothing is read from them."""
        self.damaged.update(packs)
        self._index.forget(frozenset(packs))
        self._own -= packs.keys()
        self._proved.clear()

    def set_aside(self, name: str) -> None:
        """The pack lies in `damaged/`, where nothing reads it. The caller holds the lock."""
        self.place.set_aside(f"packs/{name}.pack")
        self.refresh()


def _batches(blocks: Iterable[bytes | int]) -> Iterator[list[bytes] | int]:
    batch: list[bytes] = []
    size = 0
    for block in blocks:
        if isinstance(block, int):
            if batch:
                yield batch
                batch, size = [], 0
            yield block
            continue
        batch.append(block)
        size += len(block)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
