"""A file made ready: what is right in one that may be the same is taken from that, else from the store.

Hides: that only blocks that differ are fetched.
Never: changes the live file; leaves a block that was not hashed where it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from rollback.host.draft import Draft
from rollback.host.looking import Reading
from rollback.keep.blocks import Blocks, Comparing
from rollback.keep.changes import StoredSource
from rollback.keep.entry import Entry, Source
from rollback.keep.progress import Tally
from rollback.model.errors import HostError, ObjectCorrupt

Base = Callable[[], AbstractContextManager[Reading | None]]


def lay(
    draft: Draft, entry: Entry, source: Source, base: Base, heard: Tally, *, where: str
) -> None:
    """The draft holds what the source gives for the entry; it was hashed as it lies there.

    `base` opens the live file, where there is one; `where` is for messages. Raises: ObjectCorrupt,
    ObjectMissing, HostError.
    """
    if not isinstance(source, StoredSource):
        _filled(draft, entry, source, heard, where)
        return
    blocks, begun = source.blocks(entry), heard.done
    with source.alike(entry) as twin:
        if blocks is not None:
            with base() as live:
                lay_out(blocks, draft, twin or live, source.block, holes=entry.sparse,
                        told=lambda done: heard.reach(begun + done))  # fmt: skip
        elif twin is None or not _taken(draft, twin, entry):
            _filled(draft, entry, source, heard, where)
    heard.reach(begun + entry.size)


def _taken(draft: Draft, twin: Reading, entry: Entry) -> bool:
    """The draft holds what the twin does, and that is what is wanted; False when it is empty instead."""
    for _ in draft.take(twin, entry.size):
        pass
    whole = hashlib.sha256()
    for chunk in draft.reading.all():
        whole.update(chunk)
    if whole.hexdigest() == entry.sha256:
        return True
    draft.fit(0)
    return False


def _filled(draft: Draft, entry: Entry, source: Source, heard: Tally, where: str) -> None:
    given = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for chunk in heard.through(source.read(entry)):
            given.update(chunk)
            yield chunk

    draft.fill(chunks(), holes=entry.sparse)
    draft.prove(given.hexdigest())
    if entry.sha256 and given.hexdigest() != entry.sha256:
        raise ObjectCorrupt("the source gives other bytes than it promised", where=where)


def lay_out(
    blocks: Blocks, draft: Draft, base: Reading | None, get: Callable[[bytes], bytes], *,
    holes: bool, told: Callable[[int], None] = lambda _done: None,
) -> None:  # fmt: skip
    """The draft holds these blocks and nothing else; each was hashed as it lies there.

    `base` is a file that may hold some of them; `get` gives a block by its id, `told` hears how
    many bytes are there. With `holes`, blocks of zeros take no space as far as that can be had.
    Raises: HostError when other bytes come back; ObjectCorrupt; what `get` raises.
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
    for number in wrong:
        offset, size = blocks.span(number)
        if blocks.is_zeros(number):
            draft.clear(offset, size, hole=holes)
        else:
            block = get(blocks.id(number))
            if len(block) != size:
                raise ObjectCorrupt("a block is not as long as its place", where=draft.place)
            draft.put(offset, block)
            told(offset + size)
    if next(blocks.wrong(draft.reading, wrong), None) is not None:
        raise HostError("the disk gives back other bytes than were written", where=draft.place)
