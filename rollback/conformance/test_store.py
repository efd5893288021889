"""What every store owes: what goes in comes out, whole or not at all, and from the medium.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.conformance.world import World
from rollback.keep.ciphered import Ciphered
from rollback.keep.place import DAMAGED, Place
from rollback.model.errors import HostError, RunLocked

FAMILY = "store"
PART_BYTES = 8 * 2**20  # more than one request of object storage takes
KEY = bytes(range(32))


@contextmanager
def _place(case: Case, world: World) -> Iterator[Place]:
    place: Place = case.made(world).place(world.host, base=str(world.folder), make=True)
    try:
        yield place
    finally:
        place.close()


def _data(size_bytes: int) -> bytes:
    return random.Random(4711).randbytes(size_bytes)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "encrypted"])
def test_what_goes_in_comes_out(case: Case, world: World, closed: bool) -> None:
    """Names, sizes, ranges, replacing, setting aside, what is not there; encrypted or not."""
    with _place(case, world) as plain:
        there: Any = Ciphered(plain, KEY, world.host) if closed else plain
        data = _data(PART_BYTES * 2 + 7)
        there.create("packs/a.pack", [data[:100], data[100:]])
        there.create("packs/b.pack", [b"xyz"])
        there.create("packs/b.pack", [b"xyz"])  # the same name with the same bytes may come again
        _says("sizes", there.sizes("packs"), {"a.pack": len(data), "b.pack": 3})
        _says("names", there.names("packs"), ["a.pack", "b.pack"])
        _says("names of an empty folder", there.names("checkpoints"), [])
        _says("sizes of no folder", there.sizes("nothing"), {})
        _says("size", there.size("packs/a.pack"), len(data))
        at = PART_BYTES - 5
        _says("a range", there.read("packs/a.pack", at, 20), data[at : at + 20])
        _says("more than there is", there.read("packs/a.pack", 0, 10**9), data)
        _says("a range over the end", there.read("packs/b.pack", 2, 5), b"z")
        _says("a range behind the end", there.read("packs/b.pack", 3, 5), b"")
        there.replace("index", b"one")
        there.replace("index", b"another")
        there.forget("index")
        _says("what was replaced", there.read("index", 0, 100), b"another")
        there.set_aside("packs/b.pack")
        there.remove("packs/b.pack")
        _says("what was set aside", there.names(DAMAGED), ["b.pack"])
        _absent(lambda: there.size("packs/b.pack"), "size")
        _absent(lambda: there.read("packs/b.pack", 0, 1), "read")
        there.sweep()


def test_a_file_is_there_whole_or_not_at_all(case: Case, world: World) -> None:
    """Whoever gives the bytes fails in the middle: nobody sees half a file, and it can come again."""

    def torn() -> Iterator[bytes]:
        yield _data(100_000)
        raise HostError("the source broke off")

    with _place(case, world) as there:
        with pytest.raises((HostError, OSError)):
            there.create("packs/torn.pack", torn())
        owes("torn.pack" not in there.names("packs"), "half a file is listed as if it were whole")
        _absent(lambda: there.read("packs/torn.pack", 0, 1), "read")
        there.create("packs/torn.pack", [b"whole"])
        _says("after it came again", there.read("packs/torn.pack", 0, 10), b"whole")


def test_what_was_written_is_there_for_the_next_one(case: Case, world: World) -> None:
    """Closed and opened again, as by another process: the same bytes, under the same address."""
    with _place(case, world) as there:
        there.create("packs/a.pack", [b"kept"])
    address = case.made(world).address(base=str(world.folder))
    owes(address and "\n" not in address, f"its address is no line for people: {address!r}")
    with _place(case, world) as again:
        _says("after it was opened again", again.read("packs/a.pack", 0, 10), b"kept")


def test_a_flipped_byte_is_seen(case: Case, world: World, spoil: str) -> None:
    """After `forget`, reading gives what lies on the medium, or fails: never what a cache remembers."""
    with _place(case, world) as there:
        there.create("packs/a.pack", [_data(5000)])
        there.read("packs/a.pack", 0, 5000)
        case.example.spoils[spoil](world)
        there.forget("packs/a.pack")
        try:
            found = there.read("packs/a.pack", 0, 5000)
        except (OSError, HostError):
            return
        owes(
            found != _data(5000),
            f"{spoil}: it was damaged on the medium, and is read as if it were whole",
        )


def test_one_writer_keeps_out_the_next(case: Case, world: World) -> None:
    """Where it has a lock, another one waits and is refused; afterwards it gets it.

    A place whose writers are told apart by a claim (`claimed`) has nobody to keep out.
    """
    kind = case.made(world)
    if kind.claimed:
        return
    with _place(case, world) as one, _place(case, world) as other:
        with one.lock(within_s=5), pytest.raises(RunLocked), other.lock(within_s=0.1):
            owes(False, "two writers have the lock at once")
        with other.lock(within_s=5):
            pass


def _says(what: str, found: object, wanted: object) -> None:
    shown = found if len(repr(found)) < 80 else f"{len(found)} bytes that are other ones"  # type: ignore[arg-type]
    owes(found == wanted, f"{what}: {shown!r}, and it has to be {repr(wanted)[:80]}")


def _absent(ask: Callable[[], object], what: str) -> None:
    try:
        found = ask()
    except FileNotFoundError:
        return
    except Exception as error:  # noqa: BLE001 - that is the question
        owes(
            False,
            f"{what} of what is not there raises {type(error).__name__}, not FileNotFoundError",
        )
        return
    owes(False, f"{what} of what is not there gives {repr(found)[:60]}, not FileNotFoundError")
