"""A large file as blocks of one size: how it is cut, and where another file holds other bytes.

The cut follows from the first bytes and the order of magnitude of the size alone, so a file that
grows, or changes in place, keeps the blocks that did not change. Blocks that lie in holes are known
without reading.

Hides: block sizes, what a page looks like, threads.
Never: takes bytes for the right ones that were not hashed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from rollback.host.looking import CHUNK_BYTES, Reading
from rollback.model.errors import ObjectCorrupt

WHOLE_BYTES_MAX = 4 * 2**20  # up to here a file is one object
BLOCK_BYTES = 2**20
PAGE_BLOCK_BYTES = 16 * 2**10  # for files whose pages change in place
HASHED_HOLES_MAX = 2**30  # beyond, a file has no SHA-256 of its own: that of its blocks proves it
BLOCKS_MAX = 2**20  # of one file: 16 GiB of pages, 1 TiB of others; beyond, blocks are larger
_EACH_MIN, _EACH_MAX = 4096, 2**30  # an object is at most 1 GiB
SIZE_BYTES_MAX = BLOCKS_MAX * _EACH_MAX
HEAD_BYTES = 4096
_THREADS = 2
_PIECE_BYTES = 4 * 2**20  # hashed in one go
_STEP_BYTES = 32 * 2**20
_WAITING_MAX = 16  # pieces
_ID = 32
# what is binary, and written from beginning to end: compressed data, pictures, sound, films
_WRITTEN_ONCE = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\x03\x04",
                 b"7z\xbc\xaf", b"Rar!", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"OggS", b"fLaC",
                 b"ID3", b"\x1aE\xdf\xa3", b"%PDF", b"!<arch>\n")  # fmt: skip


def block_bytes(size: int, head: bytes) -> int:
    """How a file of this size is cut that begins so. Source: decision 0014.

    >>> block_bytes(2**30, b"SQLite format 3\\0"), block_bytes(2**30, b"12:00 started")
    (16384, 1048576)
    """
    pages = b"\0" in head and not head.startswith(_WRITTEN_ONCE) and head[4:8] != b"ftyp"
    found = PAGE_BLOCK_BYTES if pages else BLOCK_BYTES
    while found * BLOCKS_MAX < size:
        found *= 2
    return found


@lru_cache(maxsize=64)
def zeros_id(size_bytes: int) -> bytes:
    """The SHA-256 of that many zeros."""
    whole = hashlib.sha256()
    for part in _zeros(size_bytes):
        whole.update(part)
    return whole.digest()


def _zeros(size_bytes: int) -> Iterator[bytes]:
    for at in range(0, size_bytes, BLOCK_BYTES):
        yield bytes(min(BLOCK_BYTES, size_bytes - at))


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is in the store: its own digest, and the list of its blocks if it has several.

    The digest is empty where nobody asked for it.
    """

    sha256: str
    size: int
    blocks: str = ""


class Passing:
    """Pieces of a file that go by: bytes, or how many zeros come; what they are is known at the end.

    They are hashed in a thread of their own, in order.
    """

    def __init__(self, pieces: Iterable[bytes | int], *, hashed: bool) -> None:
        self._pieces = pieces
        self._whole = hashlib.sha256() if hashed else None
        self.size = 0

    def __iter__(self) -> Iterator[bytes | int]:
        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[None]] = deque()
            for piece in self._pieces:
                self.size += piece if isinstance(piece, int) else len(piece)
                if self._whole is not None:
                    for part in _zeros(piece) if isinstance(piece, int) else (piece,):
                        waiting.append(pool.submit(self._whole.update, part))
                        if len(waiting) > _WAITING_MAX:
                            waiting.popleft().result()
                yield piece
            for one in waiting:
                one.result()

    @property
    def sha256(self) -> str:
        """Of everything that went by; empty where nobody wants to know."""
        return "" if self._whole is None else self._whole.hexdigest()


def cut(pieces: Iterable[bytes | int], each: int) -> Iterator[bytes | int]:
    """Blocks of `each` bytes, but for the last; a number is of so many blocks of zeros.

    Zeros come after whole blocks.
    """
    held = bytearray()
    for piece in pieces:
        if isinstance(piece, int):
            yield from (bytes(held[at : at + each]) for at in range(0, len(held), each))
            count, rest = divmod(piece, each)
            held = bytearray(rest)
            if count:
                yield count
            continue
        held += piece
        whole = len(held) // each * each
        if whole:
            data = bytes(held[:whole]) if len(held) > len(piece) else piece
            yield from (data[at : at + each] for at in range(0, whole, each))
            del held[:whole]
    if held:
        yield bytes(held)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The ids of a file's blocks, 32 raw bytes each, in order; all but the last are `each` long."""

    size: int
    each: int
    ids: bytes

    @classmethod
    def of(cls, size: int, ids: bytes) -> Blocks:
        """As a list of this length cuts it. Raises: ObjectCorrupt when it does not fit the size."""
        count, each = len(ids) // _ID, _EACH_MIN
        while -(-size // each) > count and each < _EACH_MAX:
            each *= 2
        if -(-size // each) != count or len(ids) % _ID:
            raise ObjectCorrupt("a list of blocks does not fit the size of its file")
        return cls(size, each, ids)

    def __len__(self) -> int:
        return len(self.ids) // _ID

    def id(self, number: int) -> bytes:
        """The raw id of one block."""
        return self.ids[number * _ID : (number + 1) * _ID]

    def span(self, number: int) -> tuple[int, int]:
        """Where a block begins, and how long it is."""
        start = number * self.each
        return start, min(self.each, self.size - start)

    @staticmethod
    def _id_of(data: bytes | memoryview) -> bytes:
        return hashlib.sha256(data).digest()

    def is_zeros(self, number: int) -> bool:
        """True when the block is known to be zeros."""
        return self.id(number) == zeros_id(self.span(number)[1])

    def differing(self, file: Reading) -> Iterator[int]:
        """The numbers of the blocks that are not in the file where they should be, in order."""
        with Comparing(self, file) as comparing:
            for end in range(_STEP_BYTES, self.size, _STEP_BYTES):
                yield from comparing.upto(end)
            yield from comparing.upto(self.size)
            yield from comparing.rest()

    def wrong(self, file: Reading, numbers: Sequence[int]) -> Iterator[int]:
        """Those of these blocks that are not in the file where they should be, in order."""

        def read(some: Sequence[int]) -> list[int]:
            start, end = self.span(some[0])[0], sum(self.span(some[-1]))
            if end - start > 2 * len(some) * self.each:  # far from each other
                return [number for number in some if self._id_of(file.at(*self.span(number)))
                        != self.id(number)]  # fmt: skip
            data = memoryview(file.at(start, end - start))
            return [number for number in some if self._id_of(
                data[number * self.each - start : (number + 1) * self.each - start]
            ) != self.id(number)]  # fmt: skip

        step = max(1, _PIECE_BYTES // self.each)
        with ThreadPoolExecutor(_THREADS) as pool:
            for found in pool.map(read, (numbers[at : at + step]
                                         for at in range(0, len(numbers), step))):  # fmt: skip
                yield from found


class Comparing:
    """The blocks are compared with what lies in a file, as far as that has come. Use it in `with`."""

    def __init__(self, blocks: Blocks, file: Reading) -> None:
        self._blocks, self._file = blocks, file
        self._pool = ThreadPoolExecutor(_THREADS)
        self._begun = 0  # blocks that are compared, or being compared
        self._waiting: deque[Future[list[int]]] = deque()

    def __enter__(self) -> Comparing:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def upto(self, end: int) -> list[int]:
        """Further blocks that differ; all that lie before `end` are there to be looked at."""
        blocks = self._blocks
        stop = len(blocks) if end >= blocks.size else end // blocks.each
        if stop <= self._begun:
            return []
        extents = self._file.extents(
            min(stop * blocks.each, blocks.size), self._begun * blocks.each
        )
        for start, before, data in _runs(extents, blocks.each, self._begun, stop):
            work = self._read if data else self._in_hole
            step = max(1, _PIECE_BYTES // blocks.each) if data else before - start
            for at in range(start, before, step):
                self._waiting.append(self._pool.submit(work, at, min(at + step, before)))
        self._begun = stop
        found: list[int] = []
        while len(self._waiting) > _WAITING_MAX:
            found += self._waiting.popleft().result()
        return found

    def rest(self) -> list[int]:
        """The last blocks that differ."""
        found: list[int] = []
        while self._waiting:
            found += self._waiting.popleft().result()
        return found

    def _read(self, start: int, before: int) -> list[int]:
        blocks = self._blocks
        offset, each = start * blocks.each, blocks.each
        data = memoryview(self._file.at(offset, min(before * each, blocks.size) - offset))
        return [number for number in range(start, before) if hashlib.sha256(
            data[(number - start) * each : (number - start + 1) * each]
        ).digest() != blocks.id(number)]  # fmt: skip

    def _in_hole(self, start: int, before: int) -> list[int]:
        blocks = self._blocks
        whole = before - (before == len(blocks))  # the last one may be shorter
        if blocks.ids[start * _ID : whole * _ID] == zeros_id(blocks.each) * (whole - start):
            start = whole
        return [number for number in range(start, before) if not blocks.is_zeros(number)]


def pieces(file: Reading, size: int, each: int) -> Iterator[bytes | int]:
    """A file from its beginning, to be put into the store: bytes, or how many zeros come here.

    Zeros are told so where whole blocks of `each` lie in holes; those are not read.
    """
    for start, before, data in _runs(file.extents(size), each, 0, -(-size // each)):
        offset, end = start * each, min(before * each, size)
        if not data:
            yield end - offset
            continue
        while offset < end and (part := file.at(offset, min(CHUNK_BYTES, end - offset))):
            yield part
            offset += len(part)


def great_holes(file: Reading, size: int) -> bool:
    """True where the first `size` bytes hold so many zeros unread that hashing them takes long."""
    return size - sum(end - start for start, end in file.extents(size)) > HASHED_HOLES_MAX


def digest(file: Reading) -> str:
    """What tells the bytes of a file from others, as an entry made of it now would say it."""
    size = file.stat().st_size
    if not great_holes(file, size):
        whole = hashlib.sha256()
        for chunk in file.all():
            whole.update(chunk)
        return whole.hexdigest()
    each = block_bytes(size, file.at(0, HEAD_BYTES))
    return hashlib.sha256(b"".join(
        zeros_id(each) * block if isinstance(block, int) else hashlib.sha256(block).digest()
        for block in cut(pieces(file, size, each), each))).hexdigest()  # fmt: skip


def _runs(
    extents: list[tuple[int, int]], each: int, start: int, stop: int
) -> Iterator[tuple[int, int, bool]]:
    """Blocks from one number to before another: with data in them, or wholly in holes."""
    for begin, end in extents:
        first, last = max(start, begin // each), min(stop, -(-end // each))
        if first > start:
            yield start, first, False
        if last > first:
            yield first, last, True
        start = max(start, last)
    if start < stop:
        yield start, stop, False
