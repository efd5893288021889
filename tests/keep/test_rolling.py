"""The store is read again slice by slice: every byte once a round, and what rots is known and named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rollback.host import Host, Tap
from rollback.keep import damage
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.repair import Repair
from rollback.keep.rolling import Slice, verify_slice
from rollback.model.errors import ObjectCorrupt, RollbackError
from tests.keep.standin import World
from tests.keep.test_copies import copies, make
from tests.keep.test_copies import world as world  # a fixture
from tests.keep.test_repair import flip, gone_from_live, packs
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots

ALL = 2**40


def sliced(world: World, size_bytes: int = ALL, tap: Tap | None = None) -> Slice:
    with world.open(tap) as kept:
        return verify_slice(kept.store, kept.state, Host(tap=tap or Tap()), size_bytes)


def several(world: World) -> None:
    """Three checkpoints, a pack each."""
    make(world, "then")
    for number in range(2):
        (world.root / f"app/more-{number}").write_bytes(os.urandom(5000))
        with world.open() as kept:
            kept.create(f"more-{number}")


def targets(world: World) -> dict[str, bool]:
    with world.open() as kept:
        return {one.name: one.target for one in kept.list()}


def test_in_small_slices_every_object_is_looked_at_once_a_round(world: World) -> None:
    """Whatever the size of a slice: as many objects as there are, then it begins again."""
    several(world)
    with world.open() as kept:
        count = sum(1 for _ in kept.store.records())
        size = sum(path.stat().st_size for path in packs(world))
    for size_bytes in (1, 700, 4096, size // 2, ALL):
        shutil.rmtree(world.state / "verified", ignore_errors=True)
        seen, calls = 0, 0
        while True:
            done = sliced(world, size_bytes)
            calls += 1
            seen += done.objects
            assert done.new == ()
            assert done.objects >= 1
            if done.rounds:
                break
        assert seen == count, size_bytes
        assert calls == count if size_bytes == 1 else calls <= count
        assert sliced(world, size_bytes).objects >= 1
    assert targets(world) == {"then": True, "more-0": True, "more-1": True}


def test_a_slice_is_as_large_as_asked_for(world: World) -> None:
    """At most one object more."""
    several(world)
    done = sliced(world, 1500)
    assert 1500 <= done.size_bytes <= 1500 + 5100


def test_every_flipped_bit_is_found_within_a_round(world: World) -> None:
    """Header, records, index, end, at any byte: named, journalled by whoever asked, still readable."""
    several(world)
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)
    for pack in packs(world):
        size = pack.stat().st_size
        for at in range(0, size, max(1, size // 60)):
            shutil.rmtree(world.state)
            shutil.copytree(saved, world.state)
            world.state.chmod(0o700)
            flip(pack, at)
            for _ in range(400):
                done = sliced(world, 2000)
                if done.new:
                    break
            else:
                pytest.fail(f"the bit at {at} of {size} was not found")
            assert {one.pack for one in done.new} == {pack.stem}
            assert sliced(world).new == ()


def test_a_checkpoint_that_needs_it_is_no_target_until_it_is_repaired(world: World) -> None:
    """The others stay; the repair finds it in the mirror; then it is one again."""
    several(world)
    gone_from_live(world)
    with world.open() as kept:
        (entry,) = [one for one in kept.entries("then", "app") if one.path == b"sub/g"]
        (location,) = kept.store._index.find(entry.sha256)
    bad = world.state / f"store/packs/{location.pack}.pack"
    flip(bad, location.offset + 10)
    assert targets(world)["then"] is True, "nobody has looked"
    done = sliced(world)
    assert [(one.pack, one.object) for one in done.new] == [(location.pack, entry.sha256)]
    assert set(targets(world).values()) == {False}, "they share the file"
    with world.open() as kept:
        said = kept.get("then").problems
        assert said == (f"app: 1 objects are damaged: {entry.sha256} …",)
    with world.open() as kept:
        Repair(kept, copies(world, kept)).run()
    assert set(targets(world).values()) == {True}
    assert sliced(world).damaged == ()


def test_only_what_needs_the_damaged_object_is_no_target(world: World) -> None:
    several(world)
    with world.open() as kept:
        (entry,) = [one for one in kept.entries("more-1", "app") if one.path == b"more-1"]
        (location,) = kept.store._index.find(entry.sha256)
    flip(world.state / f"store/packs/{location.pack}.pack", location.offset)
    assert len(sliced(world).new) == 1
    assert targets(world) == {"then": True, "more-0": True, "more-1": False}


def test_a_new_checkpoint_of_the_same_bytes_heals_it(world: World) -> None:
    """What is known to be damaged is read from the live tree and put again, though it looks the same."""
    several(world)
    with world.open() as kept:
        (entry,) = [one for one in kept.entries("then", "app") if one.path == b"sub/g"]
        (location,) = kept.store._index.find(entry.sha256)
    flip(world.state / f"store/packs/{location.pack}.pack", location.offset)
    assert len(sliced(world).new) == 1
    with world.open() as kept:
        made = kept.create("again")
        assert made.id
    assert set(targets(world).values()) == {True}
    assert len(sliced(world).damaged) == 1, "the pack is still to be repaired"
    with world.open() as kept:
        Repair(kept, copies(world, kept)).run()
    assert sliced(world).damaged == ()


def test_what_reads_well_again_is_no_damage_any_more(world: World) -> None:
    """A medium that failed once."""
    several(world)
    (pack, *_) = packs(world)
    flip(pack, 100)
    assert len(sliced(world).damaged) == 1
    flip(pack, 100)
    assert sliced(world).damaged == ()
    assert set(targets(world).values()) == {True}


def test_an_error_of_the_disk_is_damage_of_that_object_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The neighbours are read one by one."""
    several(world)
    with world.open() as kept:
        store = kept.store
        pack = packs(world)[0].stem
        offset = min(one.offset for identity, name, _ in store.records() if name == pack
                     for one in store._index.find(identity) if one.pack == pack)  # fmt: skip
        read = store.place.read

        def failing(name: str, at: int, size: int) -> bytes:
            if name == f"packs/{pack}.pack" and at <= offset < at + size:
                raise OSError(5, "Input/output error", name)
            return read(name, at, size)

        monkeypatch.setattr(store.place, "read", failing)
        done = verify_slice(store, kept.state, Host(), ALL)
        assert [(one.pack, "Input/output" in one.why) for one in done.new] == [(pack, True)]


def test_beside_a_writer_nothing_is_looked_at_and_nobody_waits(world: World) -> None:
    several(world)
    with world.open() as kept, kept.store.lock():
        assert sliced(world).busy
    assert not sliced(world).busy


def test_notes_that_are_damaged_or_of_packs_that_went_are_no_hindrance(world: World) -> None:
    """It begins again; damage of what is gone is forgotten."""
    several(world)
    (pack, *_) = packs(world)
    flip(pack, 100)
    assert sliced(world).damaged
    for text in (b"", b"{", b"[1]", b'{"pack": 1}', b'{"pack":"x","offset":5,"rounds":0}'):
        (world.state / "verified/slice.json").write_bytes(text)
        assert sliced(world).objects
    (world.state / "verified/damage.json").write_bytes(b"nonsense")
    assert len(sliced(world).new) == 1
    with world.open() as kept:
        kept.store.set_aside(pack.stem)
    assert sliced(world).damaged == ()


def test_killed_at_any_change_of_a_slice_what_was_found_is_found(world: World) -> None:
    """The next one ends it."""
    several(world)
    (pack, *_) = packs(world)
    flip(pack, 100)
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)
    counting = CountingTap()
    sliced(world, tap=counting)
    assert len(counting.points) >= 5
    for point, how in shots(counting.points):
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point, how=how: sliced(world, tap=DyingTap(at, how))) == KILLED  # type: ignore[misc]
        assert len(sliced(world).damaged) == 1, (point, how)
        with world.open() as kept:
            assert len(damage.standing(kept.state, kept.store)) == 1


def test_a_damaged_object_is_never_put_back(world: World) -> None:
    """Known or not, restoring stops before the first change."""
    several(world)
    gone_from_live(world)
    for pack in packs(world):
        data = bytearray(pack.read_bytes())
        for at in range(70, len(data) - 200, 50):
            data[at] ^= 1
        pack.write_bytes(data)
    sliced(world)
    before = Path(world.root / "app/f").read_text()
    with world.open() as kept:
        found: Checkpoints = kept
        with pytest.raises((ObjectCorrupt, RollbackError)):
            found.restore("then", "app", step="r")
    assert Path(world.root / "app/f").read_text() == before
