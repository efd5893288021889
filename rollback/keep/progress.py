"""How far a long piece of work is, told to whoever wants to know.

Hides: nothing.
Never: knows who listens, or what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

# what is done, how much of it so far, how much in all (None: not known), and in which unit
Progress = Callable[[str, int, int | None, str], None]


def SILENT(_what: str, _done: int, _total: int | None, _unit: str) -> None:  # noqa: N802
    """Nobody listens."""


def counted(
    chunks: Iterable[bytes | int], progress: Progress, what: str, total: int | None
) -> Iterator[bytes | int]:
    """The same chunks, told as they go by; a number is of so many zeros."""
    done = 0
    for chunk in chunks:
        done += chunk if isinstance(chunk, int) else len(chunk)
        progress(what, done, total, "bytes")
        yield chunk
