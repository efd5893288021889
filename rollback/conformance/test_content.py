"""What every kind of content owes: what was captured comes back, and what is the same stays untouched.

The example makes `it` below the root; the spoils change what is in it.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.conformance.test_check import everything_below
from rollback.conformance.world import World
from rollback.keep.content import Content

FAMILY = "content"
NAME = "it"


@contextmanager
def _kept(case: Case, world: World) -> Iterator[Any]:
    """The checkpoints of the world, in which `it` is of this kind."""
    component = world.system.components[NAME].model_copy(update={"content": case.kind.kind})
    world.system = world.system.having(components={**world.system.components, NAME: component})
    with world.scene().checkpoints as kept:
        yield kept


def _now(case: Case, world: World) -> object:
    """What the component holds, to a second witness."""
    return case.example.seen(world)


def test_it_is_a_kind_of_content(case: Case) -> None:
    """capture, restore and compare are its own."""
    lacks = [n for n in ("capture", "restore", "compare")
             if getattr(case.kind, n, None) is getattr(Content, n)]  # fmt: skip
    owes(issubclass(case.kind, Content) and not lacks, f"it lacks {', '.join(lacks) or 'Content'}")


def test_captured_and_compared_at_once_nothing_differs(case: Case, world: World) -> None:
    """Nor does a restore of the same change a byte, a mode or a time."""
    with _kept(case, world) as kept:
        kept.create("then")
        before = everything_below(world.root)
        owes(
            kept.diff("then") == (),
            f"captured and compared at once, it differs: {kept.diff('then')}",
        )
        owes(everything_below(world.root) == before, "comparing changes something")
        changes = kept.restore("then", NAME, step="s")
        owes(not changes, f"restored at once, it says it changed {changes}")
        owes(
            everything_below(world.root) == before,
            "restoring what is there already changes something",
        )


def test_what_was_captured_comes_back(case: Case, world: World, spoil: str) -> None:
    """What differs is told before, and gone afterwards; done again, nothing changes.

    A kind that never writes (`writes` False) tells, and leaves it as it is.
    """
    with _kept(case, world) as kept:
        kept.create("then")
        was = _now(case, world)
        case.example.spoils[spoil](world)
        spoilt = _now(case, world)
        owes(kept.diff("then"), f"{spoil}: it is another one now, and comparing says nothing")
        kept.restore("then", NAME, step="s", dry_run=True)
        owes(_now(case, world) == spoilt, f"{spoil}: a dry run of the restore changes something")
        if not getattr(case.kind, "writes", True):
            return
        kept.restore("then", NAME, step="s")
        owes(_now(case, world) == was, f"{spoil}: after the restore it is not what was captured")
        owes(
            kept.diff("then") == (),
            f"{spoil}: after the restore, comparing still finds differences",
        )
        owes(
            not kept.restore("then", NAME, step="s"), f"{spoil}: a second restore changes something"
        )
