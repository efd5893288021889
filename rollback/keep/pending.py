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

from rollback.host.below import remedy
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
_THREADS = 2
_OBJECT_BYTES = 2048
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
        self._leaving: Objects = {}  # in a pack that is being written
        self._pack: Future[Written] | None = None

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Two threads, until what is pending is flushed or dropped."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS)
        return self._pool

    def __contains__(self, identity: str) -> bool:
        return identity in self._raw or identity in self._ready or identity in self._leaving

    def get(self, identity: str) -> bytes | None:
        """The bytes of an object that waits; None of another."""
        # in the order in which it moves on: other threads ask while it does
        raw = self._raw.get(identity)
        if raw is not None:
            return raw
        one = self._ready.get(identity) or self._leaving.get(identity)
        if one is None:
            return None
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
        if identity not in self:
            self._add_ready(identity, one)

    def _add_ready(self, identity: str, one: Squeezed) -> None:
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
        self._join()
        self._close()

    def drop(self) -> None:
        """What waited is forgotten; a pack that was being written may stay, and harms nobody."""
        for future in self._squeezing:
            future.cancel()
        if self._pack is not None:
            with suppress(RollbackError):
                self._pack.result()
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
        for identity, one in self._squeezing[0].result():
            self._add_ready(identity, one)
            self._raw.pop(identity, None)
        self._squeezing.popleft()  # only now: what failed fails again, whoever asks

    def _write(self) -> None:
        """The next pack is being written, after the one before it is durable and proved.

        Never two at once: a tree that lies in the later one would be there without what it names, if
        the process ends in between, and the next capture takes what is there for whole.
        """
        self._join()
        if self._ready:
            self._leaving = self._ready
            self._ready, self._ready_bytes = {}, 0
            self._pack = self.pool.submit(written, self._place, self._leaving)

    def _join(self) -> None:
        if self._pack is not None:
            self._learned(self._pack.result())
            self._leaving, self._pack = {}, None


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
        at = error.filename if isinstance(error.filename, str) else ""
        hint = remedy(error, at) if at.startswith("/") else ""
        raise StoreError(f"the store cannot be written: {error.strerror}", where=at or path,
                         hint=hint) from error  # fmt: skip
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
