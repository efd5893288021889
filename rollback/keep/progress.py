"""How far a long piece of work is, told to whoever wants to know.

Hides: nothing.
Never: knows who listens, or what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

# what is done, how much of it so far, how much in all (None: not known), and in which unit
Progress = Callable[[str, int, int | None, str], None]


def SILENT(_what: str, _done: int, _total: int | None, _unit: str) -> None:  # noqa: N802
    """Nobody listens."""


def counted(
    chunks: Iterable[bytes], progress: Progress, what: str, total: int | None
) -> Iterator[bytes]:
    """The same chunks, told as they go by."""
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
        self.done += size_bytes
        self.progress(self.what, self.done, self.total, "bytes")

    def through(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, counted as they go by."""
        for chunk in chunks:
            self.add(len(chunk))
            yield chunk
