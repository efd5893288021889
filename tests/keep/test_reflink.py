"""A standby takes its bytes from the live tree, shared where the file system clones, and proved."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rollback.keep.changes import TWIN_BYTES_MIN
from tests.keep.standin import World, component, walked
from tests.killed import KILLED, CountingTap, DyingAt
from tests.reflinking import on_btrfs, possible

MIB = 2**20
READY = {"app": ""}
SIZES = {"whole": 3 * MIB, "cut": 24 * MIB, "small": TWIN_BYTES_MIN - 1}


def filled(base: Path) -> World:
    """A component with a standby; a checkpoint `then` holds it."""
    world = World(base, {"app": component("app", restore="standby")}).make()
    (world.root / "app").mkdir()
    for name, size in SIZES.items():
        (world.root / "app" / name).write_bytes(os.urandom(size))
    with world.open() as kept:
        kept.create("then")
    return world


def calls(world: World, do: Callable[[World], None] | None = None) -> list[str]:
    """The changes that making the standby ready took, by their names."""
    counting = CountingTap()
    with world.open(counting) as kept:
        assert kept.refresh_standby("then") == READY
    return [point.call for point in counting.points]


def used(place: Path) -> int:
    os.sync()
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_what_is_large_comes_from_the_live_tree_and_is_proved(tmp_path: Path) -> None:
    """Copied by the kernel where it cannot be cloned; small files are as fast from the store."""
    world = filled(tmp_path)
    found = calls(world)
    assert (
        found.count("copy_file_range") == 2 or "copy_file_range" not in found
    )  # or they are clones
    assert found.count("write") == 1 + 2  # the small file, and the intent
    assert walked(world.state / "standby/app/tree") == walked(world.root / "app")


@pytest.mark.parametrize("name", ["whole", "cut"])
def test_a_live_file_that_only_looks_the_same_is_not_taken(tmp_path: Path, name: str) -> None:
    """Its size and time are those of the captured one, its bytes are not: the store has them."""
    world = filled(tmp_path)
    then = walked(world.root / "app")
    path = world.root / "app" / name
    seen = path.stat()
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"other bytes")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    calls(world)
    assert walked(world.state / "standby/app/tree") == then


def test_what_is_right_in_a_standby_need_not_come_from_the_store(tmp_path: Path) -> None:
    """It cannot be swapped in as one file of it is wrong; the others are taken from it."""
    world = filled(tmp_path)
    calls(world)
    then = walked(world.root / "app")
    (world.state / "standby/app/tree/small").write_bytes(b"spoiled")
    for name in SIZES:
        (world.root / "app" / name).write_bytes(b"bad")
    packs = world.state / "store/packs"
    read = []
    with world.open() as kept:
        get = kept.store.get
        kept.store.get = lambda identity: read.append(len(get(identity))) or get(identity)  # type: ignore[method-assign, func-returns-value]
        kept.restore("then", "app", step="s")
    assert packs.exists()
    assert walked(world.root / "app") == then
    assert max(read) < MIB


def on_cloning(folder: Path, do: Callable[[Path], object]) -> int:
    """In a file system that clones; where none can be mounted here, in the folder itself."""
    if possible():
        return on_btrfs(folder, do)
    do(folder)
    return 0


def test_where_files_can_be_cloned_a_standby_takes_no_room(tmp_path: Path) -> None:
    """And is a tree of its own: who writes into the live one in place does not write into it."""

    def look(place: Path) -> None:
        world = filled(place)
        before = used(place)
        found = calls(world)
        room = used(place) - before
        if possible():
            assert "copy_file_range" not in found
            assert room < 3 * MIB, room
        assert walked(world.state / "standby/app/tree") == walked(world.root / "app")
        live = {path.stat().st_ino for path in (world.root / "app").iterdir()}
        assert live.isdisjoint(path.stat().st_ino for path in
                               (world.state / "standby/app/tree").iterdir())  # fmt: skip
        then = walked(world.root / "app")
        for name in SIZES:
            with (world.root / "app" / name).open("r+b") as file:
                file.write(b"in place")
        assert walked(world.state / "standby/app/tree") == then
        with world.open() as kept:
            kept.restore("then", "app", step="s")
        assert walked(world.root / "app") == then

    assert on_cloning(tmp_path, look) == 0


def test_one_page_that_differs_takes_one_page(tmp_path: Path) -> None:
    """A large file is a clone of the live one with what is right put into it, in one rename."""

    def look(place: Path) -> None:
        world = World(place, {"app": component("app")}).make()
        (world.root / "app").mkdir()
        path = world.root / "app/cut"
        path.write_bytes(os.urandom(SIZES["cut"]))
        with world.open() as kept:
            kept.create("then")
        then = walked(world.root / "app")
        inode = path.stat().st_ino
        with path.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"changed")
        counting = CountingTap()
        with world.open(counting) as kept:
            kept.restore("then", "app", step="s")
        assert walked(world.root / "app") == then
        assert path.stat().st_ino != inode
        if possible():
            assert "copy_file_range" not in [point.call for point in counting.points]

    assert on_cloning(tmp_path, look) == 0


def test_killed_in_it_nothing_stays_mounted(tmp_path: Path) -> None:
    """Neither the mount nor the loop device outlives the process that made it."""

    def die(place: Path) -> None:
        world = filled(place)
        with world.open(DyingAt("fsync")) as kept:
            kept.refresh_standby("then")
        os.kill(os.getpid(), signal.SIGKILL)

    if possible():
        assert on_btrfs(tmp_path, die) == KILLED
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        end_s = time.monotonic() + 30
        while held(tmp_path) and time.monotonic() < end_s:
            time.sleep(0.05)  # the kernel lets go of it a moment later
        assert not held(tmp_path)
    assert not (tmp_path / "image").exists()


def held(folder: Path) -> list[str]:
    """The loop devices of images in the folder."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            found += [path.parts[3]] if str(folder) in path.read_text() else []
    return found
