"""Objects on their way into packs: compressed beside the reading, written and proved pack by pack.

A pack counts when it was synced, read back from the disk, and every object in it was hashed.

Hides: two threads, how much waits in memory.
Never: forgets that something could not be written; `flush` says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

from rollback.keep.pack import (
    INDEX,
    RECORD,
    Location,
    build,
    opened,
    read_index,
    squeezed,
    taken,
)
from rollback.keep.place import Place
from rollback.model.errors import ObjectCorrupt, RollbackError, StoreError

PENDING_BYTES_MAX = 64 * 2**20  # stored, in one pack, with what each object takes in memory
_OBJECT_BYTES = 2048
_THREADS = 3  # one more than work: writing waits for the disk
_PACKS_MAX = 2  # being written at once
_BATCH_BYTES = 2**20  # compressed in one go
_BATCHES_MAX = 8
_PIECE_BYTES = 2**20


class Squeezed(NamedTuple):
    """An object as it is stored; `length` is what it was before."""

    length: int
    codec: int
    stored: bytes


class Written(NamedTuple):
    """A pack that is durable and proved, with its index."""

    name: str
    size: int
    records: bytes


Objects = dict[str, Squeezed]


class Pending:
    """What was put and is not in a pack yet. `learned` hears of every pack that is finished."""

    def __init__(self, place: Place, learned: Callable[[Written], None]) -> None:
        self._place = place
        self._learned = learned
        self._pool: ThreadPoolExecutor | None = None
        self._empty()

    def _empty(self) -> None:
        self._raw: dict[str, bytes] = {}  # in `_batch`, or being compressed
        self._batch: list[tuple[str, bytes]] = []
        self._batch_bytes = 0
        self._squeezing: deque[Future[list[tuple[str, Squeezed]]]] = deque()
        self._ready: Objects = {}
        self._ready_bytes = 0
        self._leaving: deque[tuple[Objects, Future[Written]]] = deque()  # in packs being written

    @property
    def pool(self) -> ThreadPoolExecutor:
        """A few threads, until what is pending is flushed or dropped."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS)
        return self._pool

    def __contains__(self, identity: str) -> bool:
        return identity in self._raw or identity in self._ready or any(
            identity in objects for objects, _ in self._leaving)  # fmt: skip

    def get(self, identity: str) -> bytes:
        """The bytes of an object that waits."""
        if identity in self._raw:
            return self._raw[identity]
        leaving = (objects[identity] for objects, _ in self._leaving if identity in objects)
        one = self._ready.get(identity) or next(leaving)
        place = Location("", 0, one.length, len(one.stored), one.codec)
        return opened(one.stored, place, identity)

    def add(self, identity: str, data: bytes) -> None:
        """The object waits; it is compressed meanwhile."""
        self._raw[identity] = data
        self._batch.append((identity, data))
        self._batch_bytes += len(data)
        if self._batch_bytes >= _BATCH_BYTES:
            self._squeeze()
            while len(self._squeezing) > _BATCHES_MAX:
                self._collect()

    def add_stored(self, identity: str, one: Squeezed) -> None:
        """The object waits, as it is stored already."""
        if identity in self:
            return
        self._ready[identity] = one
        self._ready_bytes += len(one.stored) + _OBJECT_BYTES
        if self._ready_bytes >= PENDING_BYTES_MAX:
            self._write()

    def flush(self) -> None:
        """Everything is in packs that are durable and proved.

        Raises: StoreError; then none of it may be relied on.
        """
        self._squeeze()
        while self._squeezing:
            self._collect()
        self._write()
        while self._leaving:
            self._join()
        self._close()

    def drop(self) -> None:
        """What waited is forgotten; a pack that was being written may stay, and harms nobody."""
        for future in self._squeezing:
            future.cancel()
        for _, pack in self._leaving:
            with suppress(RollbackError):
                pack.result()
        self._empty()
        self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _squeeze(self) -> None:
        if self._batch:
            self._squeezing.append(self.pool.submit(_smaller, self._batch))
            self._batch, self._batch_bytes = [], 0

    def _collect(self) -> None:
        for identity, one in self._squeezing.popleft().result():
            del self._raw[identity]
            self.add_stored(identity, one)

    def _write(self) -> None:
        """What is ready is being written; so many packs at once, and no more."""
        if len(self._leaving) >= _PACKS_MAX:
            self._join()
        if self._ready:
            self._leaving.append((self._ready, self.pool.submit(written, self._place, self._ready)))
            self._ready, self._ready_bytes = {}, 0

    def _join(self) -> None:
        """The pack that was begun first is learned."""
        self._learned(self._leaving[0][1].result())
        self._leaving.popleft()


def _smaller(batch: list[tuple[str, bytes]]) -> list[tuple[str, Squeezed]]:
    return [(identity, Squeezed(len(data), *squeezed(data))) for identity, data in batch]


def written(place: Place, objects: Objects) -> Written:
    """These objects are in a pack of their own, durable, read back and hashed. Raises: StoreError."""
    listed = [(identity, *one) for identity, one in objects.items()]
    name, chunks, locations = build(listed)
    path = f"packs/{name}.pack"
    try:
        place.create(path, _joined(chunks))
        place.forget(path)
        size = place.size(path)
        found = read_index(name, size, lambda offset, size: place.read(path, offset, size))
        wanted = sorted(
            INDEX.pack(bytes.fromhex(identity), one.offset, one.length, one.stored, one.codec, 0)
            for identity, one in zip(objects, locations, strict=True)
        )
        if found != b"".join(wanted):
            raise ObjectCorrupt("the index on disk is not the one that was written", where=path)
        _prove(place, path, list(zip(objects, locations, strict=True)))
    except OSError as error:
        raise StoreError(f"the store cannot be written: {error.strerror}", where=path) from error
    return Written(name, size, found)


def _prove(place: Place, path: str, objects: list[tuple[str, Location]]) -> None:
    """Every object was read from the pack and hashed. Raises: ObjectCorrupt, OSError."""
    start, data = 0, b""
    for number, (identity, one) in enumerate(objects):
        begin, end = one.offset - RECORD.size, one.offset + one.stored
        if end > start + len(data):
            last = number
            while last + 1 < len(objects) and objects[last + 1][1].offset - begin < _PIECE_BYTES:
                last += 1
            start, data = begin, b""
            until = objects[last][1].offset + objects[last][1].stored
            data = place.read(path, start, until - start)
        taken(data[begin - start : end - start], one, identity)


def _joined(chunks: list[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces: one system call for many small objects."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= _PIECE_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
