"""How far a long piece of work is, told to whoever wants to know.

Hides: nothing.
Never: knows who listens, or what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Piece = TypeVar("Piece", bound=bytes | int)  # bytes, or how many zeros
# what is done, how much of it so far, how much in all (None: not known), and in which unit
Progress = Callable[[str, int, int | None, str], None]


def SILENT(_what: str, _done: int, _total: int | None, _unit: str) -> None:  # noqa: N802
    """Nobody listens."""


def counted(
    chunks: Iterable[Piece], progress: Progress, what: str, total: int | None
) -> Iterator[Piece]:
    """The same chunks, told as they go by; a number is of so many zeros."""
    return Tally(progress, what, total).through(chunks)


@dataclass
class Tally:
    """One piece of work that comes in several streams of bytes, told as one."""

    progress: Progress
    what: str
    total: int | None
    done: int = 0

    def add(self, size_bytes: int) -> None:
        """So many more bytes are done."""
        self.reach(self.done + size_bytes)

    def reach(self, done: int) -> None:
        """So many bytes are done, or more."""
        self.done = max(self.done, done)
        self.progress(self.what, self.done, self.total, "bytes")

    def through(self, chunks: Iterable[Piece]) -> Iterator[Piece]:
        """The same chunks, counted as they go by; a number is of so many zeros."""
        for chunk in chunks:
            self.add(chunk if isinstance(chunk, int) else len(chunk))
            yield chunk
