"""Where every object lies: the footers of the packs, merged so that one look finds an object.

The file `index` of a store spares reading every footer. It is disposable: whatever it lacks, or
all of it, comes from the packs.

Hides: sorted runs of records, and when they are merged.
Never: is the only place that knows something.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from rollback.keep.pack import INDEX, Location

MAGIC = b"RBINDEX1"
RUNS_MAX = 12  # beyond, the small ones are merged: a look into each takes time
_ID = 32
_PACK = struct.Struct("<32sQ")
_PIECE_BYTES = 2**20  # of the file, written in one go


@dataclass(frozen=True)
class Run:
    """Records sorted by id; the last number of a record says which of `packs` it is about."""

    packs: tuple[str, ...]
    records: bytes

    def __len__(self) -> int:
        return len(self.records) // INDEX.size

    @cached_property
    def _keys(self) -> array[int]:
        """The first eight bytes of every id as numbers: bisecting these needs no Python at each step."""
        found = array("Q", memoryview(self.records).cast("Q")[:: INDEX.size // 8].tobytes())
        if sys.byteorder == "little":
            found.byteswap()
        return found

    def first(self, raw: bytes) -> int:
        """The number of the first record whose id is not before `raw`."""
        keys, key = self._keys, int.from_bytes(raw[:8], "big")
        at = bisect_left(keys, key)
        while at < len(keys) and keys[at] == key and self._id(at) < raw:
            at += 1
        return at

    def between(self, first_byte: int) -> Iterator[bytes]:
        """The records whose ids begin with this byte."""
        start = self.first(bytes([first_byte]) + bytes(_ID - 1))
        stop = (
            len(self) if first_byte == 255 else self.first(bytes([first_byte + 1]) + bytes(_ID - 1))
        )
        size = INDEX.size
        return (self.records[at : at + size] for at in range(start * size, stop * size, size))

    def _id(self, number: int) -> bytes:
        return self.records[number * INDEX.size : number * INDEX.size + _ID]

    def find(self, raw: bytes) -> Iterator[Location]:
        """Every place of this object in the packs of this run."""
        size = INDEX.size
        at = self.first(raw) * size
        while self.records[at : at + _ID] == raw:
            _, offset, length, stored, codec, pack = INDEX.unpack_from(self.records, at)
            yield Location(self.packs[pack], offset, length, stored, codec)
            at += size

    def has(self, raw: bytes) -> bool:
        """True when the object is in one of the packs of this run."""
        at = self.first(raw) * INDEX.size
        return self.records[at : at + _ID] == raw


def merged(runs: Iterable[Run], *, without: frozenset[str] = frozenset()) -> Run:
    """One run of all records, but for those of the packs in `without`."""
    runs = list(runs)
    packs = tuple(name for run in runs for name in run.packs if name not in without)
    return Run(packs, b"".join(_merged(runs, packs)))


def _merged(runs: list[Run], packs: tuple[str, ...]) -> Iterator[bytes]:
    """The records that are about `packs`, by the first byte of their ids, for memory's sake."""
    number = {name: at.to_bytes(4, "little") for at, name in enumerate(packs)}
    told = [[number.get(name) for name in run.packs] for run in runs]
    for first in range(256):
        part: list[bytes] = []
        for run, numbers in zip(runs, told, strict=True):
            for one in run.between(first):
                new = numbers[int.from_bytes(one[-4:], "little")]
                if new is not None:
                    part.append(one[:-4] + new)
        part.sort()
        yield b"".join(part)


class Index:
    """The places of all objects in a changing set of packs."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    @property
    def packs(self) -> frozenset[str]:
        """The packs whose objects are known."""
        return frozenset(name for run in self.runs for name in run.packs)

    def __len__(self) -> int:
        return sum(len(run) for run in self.runs)

    def has(self, identity: str) -> bool:
        """True when some pack holds the object."""
        raw = bytes.fromhex(identity)
        return any(run.has(raw) for run in self.runs)

    def find(self, identity: str) -> Iterator[Location]:
        """Every place of the object, newest pack first."""
        raw = bytes.fromhex(identity)
        for run in reversed(self.runs):
            yield from run.find(raw)

    def locate(self, identity: str) -> Location | None:
        """One place of the object, looked for in the large run first."""
        raw = bytes.fromhex(identity)
        for run in self.runs:
            at = run.first(raw) * INDEX.size
            if run.records[at : at + _ID] == raw:
                _, offset, length, stored, codec, pack = INDEX.unpack_from(run.records, at)
                return Location(run.packs[pack], offset, length, stored, codec)
        return None

    def learn(self, pack: str, records: bytes) -> None:
        """The objects of one more pack are known, from its footer."""
        self.runs.append(Run((pack,), records))
        if len(self.runs) > RUNS_MAX:
            large = [run for run in self.runs[:1] if len(run) * 2 > len(self)]
            self.runs = [*large, merged(self.runs[len(large) :])]

    def forget(self, gone: frozenset[str]) -> None:
        """Nothing is known of these packs any more."""
        if gone & self.packs:
            self.runs = [merged(self.runs, without=gone)]

    def records(self) -> Iterator[tuple[str, str, int]]:
        """Of every record: the id of the object, its pack, and its bytes there."""
        for run in self.runs:
            for raw, _, _, stored, _, number in INDEX.iter_unpack(run.records):
                yield raw.hex(), run.packs[number], stored

    def holding(self, wanted: Set[bytes]) -> set[str]:
        """The packs that hold any of these objects."""
        return {run.packs[number] for run in self.runs
                for raw, _, _, _, _, number in INDEX.iter_unpack(run.records) if raw in wanted}  # fmt: skip

    def identities(self, pack: str) -> Iterator[str]:
        """The ids of the objects of a pack."""
        for run in self.runs:
            if pack in run.packs:
                number = run.packs.index(pack)
                for raw, _, _, _, _, told in INDEX.iter_unpack(run.records):
                    if told == number:
                        yield raw.hex()

    # -- the file ---------------------------------------------------------------------------

    def encoded(self, sizes: Mapping[str, int]) -> Iterator[bytes]:
        """What the file `index` holds, in pieces; `sizes` are the bytes of each pack."""
        packs = tuple(name for run in self.runs for name in run.packs)
        names = b"".join(_PACK.pack(bytes.fromhex(name), sizes[name]) for name in packs)
        digest = hashlib.sha256()
        held = bytearray(MAGIC + len(packs).to_bytes(8, "little") + names)
        for part in _merged(self.runs, packs):
            held += part
            if len(held) >= _PIECE_BYTES:
                digest.update(held)
                yield bytes(held)
                held.clear()
        digest.update(held)
        yield bytes(held) + digest.digest()

    @classmethod
    def decoded(cls, data: bytes) -> tuple[Index, dict[str, int]]:
        """The index in the file and the size of each pack; nothing when the file is not whole."""
        index = cls()
        body = memoryview(data)[:-_ID]
        if data[:8] != MAGIC or hashlib.sha256(body).digest() != data[-_ID:]:
            return index, {}
        count = int.from_bytes(body[8:16], "little")
        start = 16 + count * _PACK.size
        sizes = {raw.hex(): size for raw, size in _PACK.iter_unpack(body[16:start])}
        index.runs = [Run(tuple(sizes), bytes(body[start:]))]
        return index, sizes
