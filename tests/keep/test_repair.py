"""Repair: damaged bytes are found by hash wherever they still are, and nothing is thrown away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rollback.host import Tap
from rollback.keep.repair import Repair, Repaired
from rollback.keep.store import Store
from rollback.model.finding import Answer
from tests.keep.standin import World, walked
from tests.keep.test_copies import copies, emptied, make
from tests.keep.test_copies import world as world  # a fixture
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots


def repaired(world: World, tap: Tap | None = None) -> Repaired:
    with world.open(tap) as kept:
        return Repair(kept, copies(world, kept, tap)).run()


def whole(world: World) -> bool:
    with world.open() as kept:
        return all(one.answer is Answer.PASS for made in kept.list()
                   for one in kept.verify(made.id, deep=True))  # fmt: skip


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def packs(world: World) -> list[Path]:
    return sorted((world.state / "store/packs").iterdir())


def gone_from_live(world: World) -> None:
    """Nothing of the captured bytes is in the components any more."""
    (world.root / "app/f").write_text("other")
    (world.root / "app/sub/g").write_text("other")
    (world.root / "conf.txt").write_text("other")


@pytest.fixture
def then(world: World) -> dict[bytes, object]:
    return walked(world.root)


def put_back(world: World, then: dict[bytes, object]) -> None:
    emptied(world.root)
    with world.open() as kept:
        for name in world.components:
            kept.restore("then", name, step=f"r-{name}")
    now = walked(world.root)
    assert {path: now[path] for path in now if path != b"."} == {
        path: then[path] for path in then if path != b"."}  # fmt: skip


def test_a_whole_store_is_left_as_it_is(world: World) -> None:
    make(world, "then")
    before = walked(world.state / "store")
    done = repaired(world)
    assert not done.changed
    assert walked(world.state / "store") == before


@pytest.mark.requirement("MB-62")
def test_flipped_anywhere_everything_comes_from_the_mirror(
    world: World, then: dict[bytes, object]
) -> None:
    """Each object of the pack in turn; the bad pack is kept aside, byte for byte."""
    make(world, "then")
    gone_from_live(world)
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)
    (pack,) = packs(world)
    size = pack.stat().st_size
    for at in range(0, size, max(1, size // 40)):
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        flip(pack, at)
        bad = pack.read_bytes()
        done = repaired(world)
        assert done.lost == (), at
        assert (world.state / "store/damaged" / pack.name).read_bytes() == bad
        assert whole(world), at
    put_back(world, then)


def test_without_a_copy_the_live_tree_helps(world: World, then: dict[bytes, object]) -> None:
    """Files, trees and blocks that still stand in the components; the rest is named as lost."""
    world.checkpoints = type(world.checkpoints)()
    with world.open() as kept:
        kept.create("then")
    (pack,) = packs(world)
    data = pack.read_bytes()
    with world.open() as kept:
        store: Store = kept.store
        wanted = [entry.sha256 for entry in kept.entries("then", "app") if entry.kind == "file"]
        trees = [entry.tree for entry in kept.entries("then", "app") if entry.tree]
        places = {one: next(store._index.find(one)).offset for one in (*wanted, *trees)}
    for identity, offset in places.items():
        pack.write_bytes(data)
        flip(pack, offset + 1)
        done = repaired(world)
        assert done.lost == (), identity
        assert done.found["the live tree"] >= 1
        assert whole(world)
        shutil.rmtree(world.state / "store/packs")
        shutil.rmtree(world.state / "store/damaged")
        (world.state / "store/packs").mkdir()
    pack.write_bytes(data)
    flip(pack, places[wanted[-1]] + 1)
    gone_from_live(world)
    lost = repaired(world)
    assert lost.lost == (wanted[-1],)
    assert not whole(world)


def test_a_copy_in_another_pack_is_enough(world: World) -> None:
    """A damaged object whose good sibling lies in another pack: the bad pack goes, nothing else."""
    world.checkpoints = type(world.checkpoints)()
    with world.open() as kept:
        kept.create("then")
        (pack,) = packs(world)
        flip(pack, 64 + 2)
    with world.open() as kept:
        kept.create("again")
    gone_from_live(world)
    assert len(packs(world)) == 2
    done = repaired(world)
    assert done.lost == ()
    assert whole(world)
    assert [path.name for path in (world.state / "store/damaged").iterdir()] == [pack.name]


def test_a_damaged_record_comes_back_from_the_copy(world: World, then: dict[bytes, object]) -> None:
    made, _ = make(world, "then")
    flip(world.state / f"store/checkpoints/{made.id}.json", 30)
    done = repaired(world)
    assert done.records == [made.id]
    assert whole(world)
    put_back(world, then)


@pytest.mark.parametrize("spoil", ["cut", "empty", "missing", "foot"])
def test_a_pack_that_is_cut_or_gone_comes_back(
    world: World, then: dict[bytes, object], spoil: str
) -> None:
    make(world, "then")
    gone_from_live(world)
    (pack,) = packs(world)
    data = pack.read_bytes()
    if spoil == "missing":
        pack.unlink()
    else:
        pack.write_bytes({"cut": data[: len(data) // 2], "empty": b"",
                          "foot": data[:-3] + b"xyz"}[spoil])  # fmt: skip
    done = repaired(world)
    assert done.lost == ()
    assert whole(world)
    put_back(world, then)


def test_what_could_not_be_found_is_found_when_the_mirror_is_back(
    world: World, then: dict[bytes, object]
) -> None:
    """Set aside is not lost: once the mirror answers, the same command makes it whole."""
    make(world, "then")
    gone_from_live(world)
    (world.base / "second").rename(world.base / "away")
    (pack,) = packs(world)
    flip(pack, len(pack.read_bytes()) // 2)
    done = repaired(world)
    assert done.lost
    assert any("second could not be asked" in line for line in done.problems)
    shutil.rmtree(world.base / "second", ignore_errors=True)
    (world.base / "away").rename(world.base / "second")
    assert repaired(world).lost == ()
    assert whole(world)
    put_back(world, then)


def test_killed_at_any_change_of_a_repair_nothing_more_is_lost(
    world: World, then: dict[bytes, object]
) -> None:
    """The next repair ends whole, from what lies in packs, aside, and in the mirror."""
    make(world, "then")
    gone_from_live(world)
    saved = world.base / "saved"
    (pack,) = packs(world)
    flip(pack, len(pack.read_bytes()) // 2)
    shutil.copytree(world.state, saved)
    counting = CountingTap()
    repaired(world, counting)
    assert len(counting.points) >= 5
    for point, how in shots(counting.points):
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point, how=how: repaired(world, DyingTap(at, how))) == KILLED  # type: ignore[misc]
        assert repaired(world).lost == (), (point, how)
        assert whole(world), (point, how)
    put_back(world, then)


def test_a_repair_beside_a_writer_waits(world: World) -> None:
    """The store's lock is held: refused, nothing changed."""
    make(world, "then")
    (pack,) = packs(world)
    flip(pack, 100)
    before = walked(world.state / "store/packs")
    with world.open() as kept, kept.store.lock():
        assert in_child(lambda: _impatient(world)) == 7
    assert walked(world.state / "store/packs") == before


def _impatient(world: World) -> None:
    with world.open() as kept:
        lock = kept.store.place.lock
        kept.store.place.lock = lambda **_: lock(within_s=0.1)
        Repair(kept, copies(world, kept)).run()
