"""A standby takes the place of a component in one rename, and only when it is proved."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from rollback.host import Tap
from rollback.keep.checkpoint import Checkpoints
from rollback.model.errors import RollbackError
from tests.keep.standin import World, component, walked
from tests.killed import (
    KILLED,
    CountingTap,
    DyingTap,
    Failing,
    Lacking,
    in_child,
    shots,
    without_renameat2,
)

READY = {"app": ""}
T = TypeVar("T")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, {"app": component("app", restore="standby")}).make()
    app = world.root / "app"
    (app / "deep").mkdir(parents=True)
    (app / "deep/f").write_bytes(b"one" * 40)
    (app / "g").write_bytes(b"two")
    (app / "link").symlink_to("g")
    os.link(app / "g", app / "deep/same")
    os.utime(app, ns=(5, 7))
    return world


def ready(world: World) -> dict[bytes, tuple[object, ...]]:
    """A standby of the present is made; what the present looks like."""
    with world.open() as checkpoints:
        checkpoints.create("then")
        assert checkpoints.refresh_standby("then") == READY
    return walked(world.root / "app")


def damage(world: World) -> dict[bytes, tuple[object, ...]]:
    app = world.root / "app"
    (app / "deep/f").write_bytes(b"bad")
    (app / "new").write_bytes(b"new")
    (app / "link").unlink()
    return walked(app)


def inode(world: World) -> int:
    return (world.root / "app").stat().st_ino


def test_it_is_swapped_in_whole_and_the_old_tree_is_kept(world: World) -> None:
    """The folder itself is another; everything is as it was; what stood there is in the state."""
    then = ready(world)
    before = inode(world)
    bad = damage(world)
    with world.open() as checkpoints:
        said = checkpoints.restore("then", "app", step="s")
        assert inode(world) != before
        assert walked(world.root / "app") == then
        assert walked(world.state / "standby/app/tree") == bad
        assert "its standby took its place" in said.lines()[0]
        assert not list((world.state / "intents").iterdir())
        assert checkpoints.diff("then") == ()
        assert not checkpoints.restore("then", "app", step="again")
        assert checkpoints.refresh_standby("then") == READY
        assert walked(world.state / "standby/app/tree") == then


def test_it_shares_no_file_with_the_live_tree(world: World) -> None:
    """Somebody who writes into the live tree in place does not write into the standby."""
    ready(world)
    live = {path.stat().st_ino for path in (world.root / "app").rglob("*")}
    assert live.isdisjoint(path.stat().st_ino for path in (world.state / "standby").rglob("*"))


@pytest.mark.parametrize("deed", ["write", "same-size", "add", "remove", "mode", "gone"])
def test_one_that_is_not_what_it_should_be_is_not_used(world: World, deed: str) -> None:
    """Changed in any way, the restore goes the other way and comes out right."""
    then = ready(world)
    before = inode(world)
    damage(world)
    tree = world.state / "standby/app/tree"
    if deed == "write":
        (tree / "g").write_bytes(b"longer than before")
    elif deed == "same-size":
        times = (tree / "g").stat()
        with (tree / "g").open("r+b") as file:
            file.write(b"owt")
        os.utime(tree / "g", ns=(times.st_atime_ns, times.st_mtime_ns))
    elif deed == "add":
        (tree / "extra").write_bytes(b"")
    elif deed == "remove":
        (tree / "deep/f").unlink()
    elif deed == "mode":
        (tree / "g").chmod(0o600)
    else:
        tree.rename(tree.with_name("elsewhere"))
    with world.open() as checkpoints:
        checkpoints.restore("then", "app", step="s")
    assert inode(world) == before
    assert walked(world.root / "app") == then


def test_another_checkpoint_than_it_holds_is_restored_the_other_way(world: World) -> None:
    """And it can be made ready for that one by what differs."""
    then = ready(world)
    damage(world)
    with world.open() as checkpoints:
        checkpoints.create("later")
        later = walked(world.root / "app")
        (world.root / "app/g").write_bytes(b"worse")
        before = inode(world)
        checkpoints.restore("later", "app", step="s")
        assert (inode(world), walked(world.root / "app")) == (before, later)
        assert checkpoints.refresh_standby("later") == READY
        (world.root / "app/g").write_bytes(b"worse")
        checkpoints.restore("later", "app", step="s2")
        assert walked(world.root / "app") == later
        assert inode(world) != before
        checkpoints.restore("then", "app", step="s3")
        assert walked(world.root / "app") == then


@pytest.mark.parametrize("what", ["excluded", "fifo"])
def test_what_is_not_captured_is_never_swapped_away(world: World, what: str) -> None:
    """No standby where something lives in the folder that a checkpoint does not hold."""
    if what == "excluded":
        world.components["app"] = component("app", restore="standby", exclude=("*.log",))
        (world.root / "app/a.log").write_bytes(b"audit")
    else:
        os.mkfifo(world.root / "app/pipe")
    with world.open() as checkpoints:
        checkpoints.create("then")
        checkpoints.refresh_standby("then")
        (world.root / "app/g").write_bytes(b"bad")
        before = inode(world)
        checkpoints.restore("then", "app", step="s")
        assert inode(world) == before
    assert (world.root / "app" / ("a.log" if what == "excluded" else "pipe")).exists()


def act(checkpoints: Checkpoints, do: str) -> None:
    if do == "swap":
        checkpoints.restore("then", "app", step="s", differs=True)
    else:
        checkpoints.refresh_standby("then")


def spoiled(world: World, do: str) -> dict[bytes, tuple[object, ...]]:
    """The live tree is bad, or (before a refresh) the standby is; how the live tree looks."""
    bad = damage(world)
    if do == "refresh":  # the standby holds the bad tree, as after a swap
        with world.open() as checkpoints:
            checkpoints.restore("then", "app", step="first", differs=True)
    return bad


@pytest.mark.parametrize("do", ["swap", pytest.param("refresh", marks=pytest.mark.long)])
def test_killed_at_any_change_it_is_the_old_tree_or_the_new(world: World, do: str) -> None:
    """The next one converges, and nothing is left behind."""
    then = ready(world)
    spoiled(world, do)
    counting = CountingTap()
    with world.open(counting) as checkpoints:
        act(checkpoints, do)
        checkpoints.refresh_standby("then")
    found = shots(counting.points)
    assert len(found) > 15
    died = 0
    for number, how in found:
        bad = spoiled(world, do)

        def die(number: int = number, how: str = how) -> None:
            with world.open(DyingTap(number, how)) as checkpoints:
                act(checkpoints, do)

        died += in_child(die) == KILLED
        assert walked(world.root / "app") in ((then,) if do == "refresh" else (bad, then)), number
        with world.open() as checkpoints:
            act(checkpoints, do)
            assert walked(world.root / "app") == then, number
            assert not list((world.state / "intents").iterdir())
            assert checkpoints.refresh_standby("then") == READY
            assert walked(world.state / "standby/app/tree") == then
            assert [p.name for p in (world.state / "standby/app").iterdir()] == ["tree"]
    assert died > 8


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EACCES, errno.EBUSY])
def test_where_names_cannot_be_exchanged_the_restore_goes_the_other_way(
    world: World, code: int
) -> None:
    """Neither the kernel, the file system nor our rights may stop it after its intent."""
    then = ready(world)
    before = inode(world)
    damage(world)
    with world.open(Refusing(code)) as checkpoints:
        checkpoints.restore("then", "app", step="s")
    assert (inode(world), walked(world.root / "app")) == (before, then)
    assert not list((world.state / "intents").iterdir())


class Refusing(Lacking):
    """No two names change places here."""

    def __init__(self, code: int, inner: Tap | None = None) -> None:
        super().__init__(inner=inner)
        self.code = code

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        if call == "renameat2" and os.fsencode(where).endswith(b"/app"):
            raise OSError(self.code, os.strerror(self.code))
        return super().change(call, where, do, torn)


@pytest.mark.long
def test_killed_where_names_cannot_be_exchanged_it_converges(world: World) -> None:
    """At any change, with the standby that was made while they could."""
    then = ready(world)
    damage(world)
    counting = CountingTap()
    with world.open(Lacking("renameat2", inner=counting)) as checkpoints:
        act(checkpoints, "swap")
    for shot in shots(counting.points):
        damage(world)
        with world.open() as checkpoints:
            assert checkpoints.refresh_standby("then") == READY

        def die(shot: tuple[int, str] = shot) -> None:
            with world.open(Lacking("renameat2", inner=DyingTap(*shot))) as checkpoints:
                act(checkpoints, "swap")

        assert in_child(die) in (KILLED, 0)
        with world.open(Lacking("renameat2")) as checkpoints:
            act(checkpoints, "swap")
        assert walked(world.root / "app") == then, shot
        assert not list((world.state / "intents").iterdir())


def test_a_file_system_that_cannot_exchange_gets_no_standby(world: World) -> None:
    """It would cost its size and never be used; the answer says why. Asked of the kernel itself."""
    ready(world)

    def old_kernel() -> None:
        without_renameat2()
        with world.open() as checkpoints:
            said = checkpoints.refresh_standby("then")
            assert "cannot exchange" in said["app"], said

    assert in_child(old_kernel) == 0
    assert not (world.state / "standby/app").exists()


def test_a_full_disk_while_it_is_made_ready_is_an_error_of_ours(world: World) -> None:
    """And the component is untouched."""
    with world.open() as checkpoints:
        checkpoints.create("then")
    then = walked(world.root / "app")
    for number in (1, 5, 12):
        with world.open(Failing(number, forever=True)) as checkpoints, pytest.raises(RollbackError):
            checkpoints.refresh_standby("then")
        assert walked(world.root / "app") == then
