"""A file made ready: its bytes come from a source, and were read back and hashed before it counts.

Of a large stored file, what is right in the live one is taken from it, and only the rest fetched. Where
a twin of the tree has a file that looks the same, it is taken from there, as a clone if that can be had.

Hides: that the next files are read from the store while one is written.
Never: changes the live file; leaves bytes that were not hashed where they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Protocol

from rollback.host import Tree
from rollback.host.draft import Draft
from rollback.host.looking import Reading
from rollback.keep.blocks import Blocks, Comparing
from rollback.keep.changes import StoredSource
from rollback.keep.entry import Entry, Source
from rollback.keep.progress import Tally
from rollback.model.errors import HostError, ObjectCorrupt, RollbackError

Told = Callable[[int], None]
Base = AbstractContextManager[Reading | None]


class Contents:
    """The bytes of files of a source, which are filled in the order of `entries`, and told as they come."""

    def __init__(self, source: Source, entries: Iterable[Entry], heard: Tally) -> None:
        self._source = source
        self._heard = heard
        self._stored = source if isinstance(source, StoredSource) else None
        self._coming: Iterator[bytes] = iter(())
        self._twins: dict[bytes, tuple[Tree, bytes]] = {}
        if self._stored is not None:
            entries = list(entries)
            for entry in entries:
                if (twin := self._stored.alike(entry)) is not None:
                    self._twins[entry.path] = twin
            self._coming = self._stored.wholes(
                entry for entry in entries if _one_object(entry) and entry.path not in self._twins
            )

    def fill(self, draft: Draft, entry: Entry, base: Base) -> None:
        """The draft holds the bytes of the entry; they were read back and hashed.

        `base` is the live file, which may hold some of them. Raises: ObjectMissing, ObjectCorrupt
        when the source does not give what it promised; HostError when other bytes come back from
        the disk.
        """
        begun = self._heard.done
        if self._stored is not None and (blocks := self._stored.blocks(entry)) is not None:
            with self._twin(entry) as twin, base as live:
                lay_out(blocks, draft, twin or live, self._stored, holes=entry.sparse,
                        told=lambda done: self._heard.reach(begun + done))  # fmt: skip
        elif self._taken(draft, entry):
            pass
        elif self._stored is not None and _one_object(entry) and entry.path not in self._twins:
            data = next(self._coming)
            draft.fill((data,), holes=entry.sparse)
            if draft.sha256() != entry.sha256:  # one hash for the store and for the disk
                good = self._stored.object(entry.sha256)
                _again(draft, data, good, 0)
                draft.fit(len(good))
                draft.prove(entry.sha256)
        else:
            given = hashlib.sha256()
            chunks = self._heard.through(self._source.read(entry))
            draft.fill(_hashed(chunks, given), holes=entry.sparse)
            draft.prove(given.hexdigest())
            if entry.sha256 and given.hexdigest() != entry.sha256:
                raise ObjectCorrupt("the source gives other bytes than it promised",
                                    where=draft.place)  # fmt: skip
        self._heard.reach(begun + entry.size)

    @contextmanager
    def _twin(self, entry: Entry) -> Iterator[Reading | None]:
        with ExitStack() as opened:
            found = None
            if entry.path in self._twins:
                tree, path = self._twins[entry.path]
                with suppress(OSError, RollbackError):  # it went meanwhile
                    found = opened.enter_context(tree.reading(path))
            yield found

    def _taken(self, draft: Draft, entry: Entry) -> bool:
        """The draft holds what the twin does, and that is what is wanted; False when it is empty instead."""
        with self._twin(entry) as twin:
            if twin is None:
                return False
            for _ in draft.take(twin, entry.size):
                pass
        if draft.sha256() == entry.sha256:
            return True
        draft.fit(0)
        return False


def _one_object(entry: Entry) -> bool:
    return entry.kind == "file" and not entry.blocks and bool(entry.size and entry.sha256)


def _hashed(chunks: Iterable[bytes], into: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        into.update(chunk)
        yield chunk


def _again(draft: Draft, laid: bytes, good: bytes, offset: int) -> None:
    """The good bytes lie where others were laid. Raises: HostError when it was the disk."""
    if laid == good:
        raise HostError("the disk gives back other bytes than were written", where=draft.place)
    draft.put(offset, good)


class Fetching(Protocol):
    """Where blocks come from."""

    def fetch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of blocks, by their raw ids, in order; not hashed."""
        ...

    def object(self, identity: str) -> bytes:
        """The bytes of an object, hashed."""
        ...


def lay_out(
    blocks: Blocks, draft: Draft, base: Reading | None, source: Fetching, *, holes: bool,
    told: Told = lambda _done: None,
) -> None:  # fmt: skip
    """The draft holds these blocks and nothing else; each was hashed as it lies there.

    `base` is a file that may hold some of them. `told` hears how many bytes are there. With `holes`,
    blocks of zeros take no space if that can be.
    Raises: HostError when other bytes come back; ObjectCorrupt; what the source raises.
    """
    with Comparing(blocks, draft.reading) as comparing:
        wrong: list[int] = []
        if base is not None:
            for end in draft.take(base, blocks.size):
                wrong += comparing.upto(end)
                told(end)
        data = sum(end - start for start, end in draft.reading.extents(blocks.size))
        draft.fit(blocks.size, allocate=not holes and data < blocks.size)
        wrong += comparing.upto(blocks.size) + comparing.rest()
    coming = source.fetch(blocks.id(number) for number in wrong if not blocks.is_zeros(number))
    for number in wrong:
        offset, size = blocks.span(number)
        if blocks.is_zeros(number):
            draft.clear(offset, size, hole=holes)
        else:
            block = next(coming)
            if len(block) != size:  # as that copy says itself; another one may be good
                block = source.object(blocks.id(number).hex())
            if len(block) != size:
                raise ObjectCorrupt("a block is not as long as its place", where=draft.place)
            draft.put(offset, block)
            told(offset + size)
    bad = list(blocks.wrong(draft.reading, wrong))
    for number in bad:
        identity, good = blocks.id(number), bytes(blocks.span(number)[1])
        laid = good  # zeros came from no store
        if not blocks.is_zeros(number):
            laid, good = next(source.fetch((identity,))), source.object(identity.hex())
        _again(draft, laid, good, blocks.span(number)[0])
    if next(blocks.wrong(draft.reading, bad), None) is not None:
        raise HostError("the disk gives back other bytes than were written", where=draft.place)
