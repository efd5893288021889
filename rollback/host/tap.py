"""The seam through which every change to the world passes.

Hides: nothing in production; a test's subclass counts, fails or dies here.
Never: changes a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Tap:
    """Calls what it is given. Subclasses in tests stop before, after, or in the middle of it."""

    def change(
        self,
        call: str,
        where: str | bytes,
        do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:
        """The result of `do()`, a mutating system call named `call` on `where`.

        `torn` does part of it, where there is a part: the first half of a write.
        """
        return do()
