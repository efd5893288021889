"""A large file made ready: what is right in the live one is taken from it, the rest from the store.

Hides: that only blocks that differ are fetched.
Never: changes the live file; leaves a block that was not hashed where it lies.
"""

from __future__ import annotations

from collections.abc import Callable

from rollback.host.draft import Draft
from rollback.host.looking import Reading
from rollback.keep.blocks import Blocks, Comparing
from rollback.model.errors import HostError, ObjectCorrupt


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
