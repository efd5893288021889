"""A log read on from where it was read to, over its rotation.

What was read is known by how the file begins and by what stands right before the mark: a file of
the same name that is another one is told from it, and the old one is found under its new name.

Hides: how a file is known again.
Never: gives a line twice, or one that is still being written; passes over lost lines silently.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from rollback.host import Tree
from rollback.observe.lines import Tally, rotated
from rollback.observe.place import opened
from rollback.observe.view import View

READ_BYTES_MAX = 16 * 2**20
_HEAD_BYTES, _TAIL_BYTES = 4096, 256


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a log was read. Units: `offset` in bytes."""

    head: str
    offset: int
    tail: str


@dataclass(frozen=True, slots=True)
class Line:
    """A complete line; `identity` is that of its place, also after the file was renamed."""

    identity: str
    text: bytes


@dataclass(frozen=True, slots=True)
class ReadOn:
    """What came after a mark, oldest first. `lost`: something between was rotated out of reach."""

    lines: tuple[Line, ...]
    mark: Mark | None
    lost: bool = False


def read_on(view: View, path: str, mark: Mark | None) -> ReadOn:
    """The lines after `mark` (None: the last READ_BYTES_MAX), at most READ_BYTES_MAX at once.

    Raises: FileNotFoundError where there is no such file.
    """
    with opened(view, path) as (tree, name):
        here = _begins(tree, name)
        if here is None:
            return ReadOn((), mark)
        before: tuple[Line, ...] = ()
        lost = False
        start = mark if mark is not None and _goes_on(tree, name, here, mark) else None
        if mark is not None and start is None:
            old = _moved(tree, name, mark)
            lost = old is None
            before = _lines(tree, old, mark.head, mark.offset)[0] if old is not None else ()
        offset = start.offset if start else 0
        if mark is None:
            offset = _next_line(tree, name, max(0, _size(tree, name) - READ_BYTES_MAX))
        lines, offset = _lines(tree, name, here, offset)
        tail = _hash(tree, name, max(0, offset - _TAIL_BYTES), min(_TAIL_BYTES, offset))
        return ReadOn((*before, *lines), Mark(here, offset, tail), lost)


def _begins(tree: Tree, name: bytes) -> str | None:
    """What the file is known by: its first line, or None while that is not whole."""
    start = _read(tree, name, 0, _HEAD_BYTES)
    end = start.find(b"\n")
    if end < 0 and len(start) < _HEAD_BYTES:
        return None
    return hashlib.sha256(start[: end + 1] if end >= 0 else start).hexdigest()[:16]


def _goes_on(tree: Tree, name: bytes, head: str, mark: Mark) -> bool:
    return (
        head == mark.head
        and _size(tree, name) >= mark.offset
        and _hash(tree, name, max(0, mark.offset - _TAIL_BYTES), min(_TAIL_BYTES, mark.offset))
        == mark.tail
    )


def _moved(tree: Tree, name: bytes, mark: Mark) -> bytes | None:
    """Where the file of the mark lies now; None where it cannot be found or read."""
    for other in rotated(tree, name, None, Tally()):
        head = _begins(tree, other)
        if head is not None and _goes_on(tree, other, head, mark):
            return other
    return None


def _lines(tree: Tree, name: bytes, head: str, offset: int) -> tuple[tuple[Line, ...], int]:
    data = _read(tree, name, offset, READ_BYTES_MAX)
    whole = data.rfind(b"\n") + 1
    if not whole and len(data) == READ_BYTES_MAX:
        return (), offset + len(data)  # a line that long says nothing
    found = []
    for line in data[:whole].splitlines(keepends=True):
        found.append(Line(f"{head}:{offset}", line.rstrip(b"\r\n")))
        offset += len(line)
    return tuple(found), offset


def _next_line(tree: Tree, name: bytes, offset: int) -> int:
    if not offset:
        return 0
    return offset + _read(tree, name, offset, READ_BYTES_MAX).find(b"\n") + 1


def _size(tree: Tree, name: bytes) -> int:
    found = tree.stat(name)
    return found.st_size if found else 0


def _hash(tree: Tree, name: bytes, offset: int, size: int) -> str:
    return hashlib.sha256(_read(tree, name, offset, size)).hexdigest()[:16]


def _read(tree: Tree, name: bytes, offset: int, size: int) -> bytes:
    fd = tree.open_read(name)
    try:
        parts = []
        while size > 0 and (part := os.pread(fd, size, offset)):
            parts.append(part)
            size, offset = size - len(part), offset + len(part)
        return b"".join(parts)
    finally:
        os.close(fd)
