"""What examples of several families do to a world: a file is written, is gone, or never answers.

Hides: nothing.
Never: says what has to follow; that is the contract of the family.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from rollback.conformance.world import World

Spoil = Callable[[World], object]


def writes(name: str, text: str = "") -> Spoil:
    """The file below the root says this."""
    return lambda world: (world.root / name).write_text(text)


def gone(name: str) -> Spoil:
    """There is no such file any more."""
    return lambda world: (world.root / name).unlink()


def stuck(name: str) -> Spoil:
    """Whoever opens the file waits for a writer that never comes."""

    def hang(world: World) -> None:
        (world.root / name).unlink()
        os.mkfifo(world.root / name)

    return hang
