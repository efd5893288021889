"""One pack file: many objects in one immutable file that explains itself.

    header   magic
    records  id, length, stored length, codec, then the stored bytes; one after the other
    index    for each record: id, offset of its bytes, length, stored length, codec; sorted by id
    tail     offset of the index, number of records, SHA-256 of index and numbers, magic

Hides: the byte layout; see docs/formats-checkpoint.md.
Never: trusts a number it read before it checked it.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

import zstandard
from zstandard import frame_content_size

from rollback.model.errors import ObjectCorrupt

HEADER = b"RBPACK2\n"
END = b"RBPKEND\n"
RAW, ZSTD = 0, 1
RECORD = struct.Struct("<32sQQB7x")
INDEX = struct.Struct("<32sQQQB3xI")  # the last number is 0 in a pack
TAIL = struct.Struct("<QQ32s8s")
OBJECT_BYTES_MAX = 2**30
WINDOW_BYTES_MAX = 2**27
LEVEL = 1
GAIN_MIN = 0.97
_PART_BYTES = 2**20
_LIKELY = 100  # times smaller: beyond, nothing is believed about what comes out

Read = Callable[[int, int], bytes]


class Location(NamedTuple):
    """Where an object lies: in `pack` at `offset`, `stored` bytes that become `length`."""

    pack: str
    offset: int
    length: int
    stored: int
    codec: int


class _Zstd(threading.local):
    """A compressor and a decompressor for each thread: they may not be shared."""

    def __init__(self) -> None:
        self.smaller = zstandard.ZstdCompressor(level=LEVEL)
        self.larger = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)


_zstd = _Zstd()


def squeezed(data: bytes) -> tuple[int, bytes]:
    """The codec and the bytes to store: raw where compressing gains next to nothing."""
    smaller = _zstd.smaller.compress(data)
    return (ZSTD, smaller) if len(smaller) < len(data) * GAIN_MIN else (RAW, data)


def opened(stored: bytes, location: Location, identity: str) -> bytes:
    """The object's bytes, proved by hash. Raises: ObjectCorrupt naming object and pack."""
    data = unproved(stored, location, identity)
    if hashlib.sha256(data).hexdigest() != identity:
        raise _corrupt(identity, location, "its bytes have changed")
    return data


def unproved(stored: bytes, location: Location, identity: str) -> bytes:
    """What should be the object's bytes, by their number. Raises: ObjectCorrupt."""
    data = stored
    try:
        if location.codec == ZSTD:
            # never by the size that the frame states of itself: it may be a lie
            data = _unpacked(stored, location.length)
    except zstandard.ZstdError as error:
        raise _corrupt(identity, location, f"it cannot be decompressed: {error}") from error
    if len(stored) != location.stored or len(data) != location.length:
        raise _corrupt(identity, location, "it has another length")
    return data


def _unpacked(stored: bytes, length: int) -> bytes:
    """At most one byte more than `length`; a length that is a lie costs no memory."""
    if length <= len(stored) * _LIKELY + _PART_BYTES and frame_content_size(stored) == length:
        return _zstd.larger.decompress(stored)  # it writes that many bytes, or fails
    reader = _zstd.larger.stream_reader(stored)
    parts: list[bytes] = []
    left = min(length, OBJECT_BYTES_MAX) + 1
    while left and (part := reader.read(min(left, _PART_BYTES))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def taken(record: bytes, location: Location, identity: str, *, proved: bool = True) -> bytes:
    """The object in a whole record, hashed if `proved`. Raises: ObjectCorrupt naming object and pack."""
    if record[: RECORD.size] != record_header(identity, location):
        raise _corrupt(identity, location, "its header has changed")
    return (opened if proved else unproved)(record[RECORD.size :], location, identity)


def holds(record: bytes, location: Location, identity: str, data: bytes) -> bool:
    """True when a whole record is that of the object, whose bytes are these."""
    if record[: RECORD.size] != record_header(identity, location):
        return False
    stored = record[RECORD.size :]
    try:
        found = _unpacked(stored, location.length) if location.codec == ZSTD else stored
    except zstandard.ZstdError:
        return False
    return found == data


def record_header(identity: str, location: Location) -> bytes:
    """The bytes that stand before an object in its pack."""
    return RECORD.pack(bytes.fromhex(identity), location.length, location.stored, location.codec)


def _corrupt(identity: str, location: Location, why: str) -> ObjectCorrupt:
    return ObjectCorrupt(
        f"object {identity} is damaged: {why}", where=f"packs/{location.pack}.pack",
        hint="restore from a copy of the store, or choose another checkpoint",
    )  # fmt: skip


def build(objects: list[tuple[str, int, int, bytes]]) -> tuple[str, list[bytes], list[Location]]:
    """The name, the chunks and the locations of a pack of (id, length, codec, stored) objects."""
    chunks: list[bytes] = [HEADER]
    index: list[bytes] = []
    locations: list[Location] = []
    offset = len(HEADER)
    for identity, length, codec, stored in objects:
        raw = bytes.fromhex(identity)
        chunks += [RECORD.pack(raw, length, len(stored), codec), stored]
        offset += RECORD.size
        index.append(INDEX.pack(raw, offset, length, len(stored), codec, 0))
        locations.append(Location("", offset, length, len(stored), codec))
        offset += len(stored)
    listed = b"".join(sorted(index))
    numbers = struct.pack("<QQ", offset, len(objects))
    chunks += [listed, numbers + hashlib.sha256(listed + numbers).digest() + END]
    whole = hashlib.sha256()
    for chunk in chunks:
        whole.update(chunk)
    name = whole.hexdigest()
    placed = [Location(name, one.offset, one.length, one.stored, one.codec) for one in locations]
    return name, chunks, placed


def read_index(name: str, size: int, read: Read) -> bytes:
    """The index of a pack as it stands in it: INDEX records, sorted by id.

    Raises: ObjectCorrupt when the pack is not whole, or a record of the index is not possible.
    """
    where = f"packs/{name}.pack"
    if size < len(HEADER) + TAIL.size or read(0, len(HEADER)) != HEADER:
        raise ObjectCorrupt("not a pack, or cut short", where=where)
    tail = read(size - TAIL.size, TAIL.size)
    if len(tail) != TAIL.size:
        raise ObjectCorrupt("the pack cannot be read to its end", where=where)
    start, count, checksum, end = TAIL.unpack(tail)
    listed_size = count * INDEX.size
    if end != END or start + listed_size + TAIL.size != size:
        raise ObjectCorrupt("the end of the pack is damaged or cut off", where=where)
    listed = read(start, listed_size)
    if hashlib.sha256(listed + tail[:16]).digest() != checksum:
        raise ObjectCorrupt("the index of the pack is damaged", where=where)
    before = b""
    for raw, offset, length, stored, codec, zero in INDEX.iter_unpack(listed):
        if (
            raw < before
            or codec not in (RAW, ZSTD)
            or zero
            or length > OBJECT_BYTES_MAX
            or offset + stored > start
            or offset < len(HEADER) + RECORD.size
        ):
            raise ObjectCorrupt("the index of the pack is not possible", where=where)
        before = raw
    return listed
