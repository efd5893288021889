"""Many objects read in the order in which they are asked for: neighbours in one go, two threads ahead.

Hides: which objects lie beside each other, and how far ahead is read.
Never: gives back bytes as proved that were not just hashed; forgets to look for another copy of a bad one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from rollback.keep.pack import RECORD, Location, holds, taken
from rollback.model.errors import StoreError

_THREADS = 2
_WINDOW_COUNT = (
    1024  # objects that are asked for, read in the order in which they lie, then handed out
)
_WINDOW_BYTES = 8 * 2**20
_AHEAD = 2  # windows
_RUN_BYTES = 2 * 2**20  # read in one go
_GAP_BYTES = 32 * 2**10  # of what is not asked for, between two that are

Got = bytes | StoreError
Wanted = list[tuple[str, Location | None]]


class Packs(Protocol):
    """Where objects lie, and what lies there."""

    def locate(self, identity: str) -> Location | None:
        """Where a copy of the object lies."""
        ...

    def piece(self, pack: str, offset: int, size_bytes: int) -> bytes:
        """Bytes of a pack as they are; none where they cannot be read."""
        ...

    def get(self, identity: str) -> bytes:
        """The bytes of an object, hashed just now. Raises: StoreError."""
        ...

    def pack_digest(self, name: str) -> str:
        """SHA-256 of a whole pack file as it is now."""
        ...


def read_all(
    store: Packs, identities: Iterable[str], *, proved: bool = True
) -> Iterator[tuple[str, Got]]:
    """Each object with its bytes, hashed just now, or why they cannot be had.

    Shape: in the order in which they were asked for. Not `proved`: the caller hashes them, where he
    lays them down, and asks again for those that are wrong.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[tuple[Wanted, list[Future[dict[str, Got]]]]] = deque()
        try:
            for window in _windows(store, identities):
                waiting.append(
                    (window, [pool.submit(_read, store, run, proved) for run in _runs(window)])
                )
                if len(waiting) > _AHEAD:
                    yield from _in_order(*waiting.popleft())
            while waiting:
                yield from _in_order(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(window: Wanted, runs: list[Future[dict[str, Got]]]) -> Iterator[tuple[str, Got]]:
    found: dict[str, Got] = {}
    for run in runs:
        found.update(run.result())
    return ((identity, found[identity]) for identity, _ in window)


def digests(store: Packs, packs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each of these packs with the SHA-256 of its whole file as it is now."""
    names = sorted(packs)
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from zip(names, pool.map(store.pack_digest, names), strict=True)


def _windows(store: Packs, identities: Iterable[str]) -> Iterator[Wanted]:
    window: Wanted = []
    size = 0
    for identity in identities:
        place = store.locate(identity)
        window.append((identity, place))
        size += 0 if place is None else place.length
        if len(window) >= _WINDOW_COUNT or size >= _WINDOW_BYTES:
            yield window
            window, size = [], 0
    yield window


def _runs(window: Wanted) -> Iterator[Wanted]:
    """Neighbours in one pack, or one object that lies anywhere."""
    run: Wanted = []
    pack, start, end = "", 0, 0
    for identity, place in sorted(window, key=_lies):
        if place is None:
            yield [(identity, None)]
            continue
        near = place.pack == pack and place.offset - end <= _GAP_BYTES and end - start < _RUN_BYTES
        if not near:
            if run:
                yield run
            run, pack, start = [], place.pack, place.offset
        run.append((identity, place))
        end = place.offset + place.stored
    if run:
        yield run


def _lies(one: tuple[str, Location | None]) -> tuple[str, int]:
    return ("", 0) if one[1] is None else (one[1].pack, one[1].offset)


def _read(store: Packs, run: Wanted, proved: bool) -> dict[str, Got]:
    start, data = _piece(store, run)
    return {identity: _object(store, data, start, identity, place, proved=proved)
            for identity, place in run}  # fmt: skip


def _piece(store: Packs, run: Wanted) -> tuple[int, bytes]:
    """Where the first of these objects has its record, and what lies from there to the last one."""
    first, last = run[0][1], run[-1][1]
    if first is None or last is None:
        return 0, b""
    start = first.offset - RECORD.size
    return start, store.piece(first.pack, start, last.offset + last.stored - start)


def whole(store: Packs, wanted: Mapping[str, tuple[Location, bytes]]) -> set[str]:
    """Those of these objects that lie where they should, read just now, and hold these bytes."""
    found = set()
    for run in _runs([(identity, place) for identity, (place, _) in wanted.items()]):
        start, data = _piece(store, run)
        for identity, _ in run:
            place, held = wanted[identity]
            record = data[place.offset - RECORD.size - start : place.offset + place.stored - start]
            if holds(record, place, identity, held):
                found.add(identity)
    return found


def _object(
    store: Packs, data: bytes, start: int, identity: str, place: Location | None, *, proved: bool
) -> Got:  # fmt: skip
    try:
        if place is not None:
            with suppress(StoreError):  # another copy may be good
                record = data[
                    place.offset - RECORD.size - start : place.offset + place.stored - start
                ]
                return taken(record, place, identity, proved=proved)
        return store.get(identity)
    except StoreError as error:
        return error
