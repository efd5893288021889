"""While another process rewrites the tree: nothing outside is read or written, ever.

Each race has a control that does the same by plain paths, and must be caught: a test that cannot
fail shows nothing.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from rollback.host import Host, Tap
from rollback.keep.aside import put_aside
from rollback.model.errors import HostError, RollbackError
from tests.keep.standin import World, component, tree_of, walked

ROUNDS = int(os.environ.get("RACE_ROUNDS", "40"))  # `make drill` may ask for more
FILES = 12
SECRET = b"a secret of somebody else"
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: bytes, other: bytes) -> None:
    _libc.renameat2(-100, one, -100, other, 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"app": component("app")}).make()


def fill(world: World, text: str, mode: int = 0o644) -> Path:
    """The component with a folder of files, and a link to the outside beside it."""
    app, outside = world.root / "app", world.base / "outside"
    shutil.rmtree(app, ignore_errors=True)
    (app / "d").mkdir(parents=True)
    for number in range(FILES):
        (app / "d" / f"f{number}").write_text(text)
        (app / "d" / f"f{number}").chmod(mode)
    if not outside.exists():
        outside.mkdir()
        for number in range(FILES):
            (outside / f"f{number}").write_bytes(SECRET)
            (outside / f"f{number}").chmod(0o640)
            os.utime(outside / f"f{number}", ns=(1, 1))
        os.utime(outside, ns=(1, 1))
    (app / "evil").symlink_to(outside)
    return outside


def swapper(world: World) -> Callable[[], None]:
    """The folder and the link to the outside change places, as fast as can be."""
    one, other = os.fsencode(world.root / "app/d"), os.fsencode(world.root / "app/evil")
    return lambda: exchange(one, other)


def planter(world: World) -> Callable[[], None]:
    """A file is another name of a file outside, then one of its own again."""
    victim = world.root / "app/d/f0"
    spare = world.base / "spare"

    def plant() -> None:
        with suppress(OSError):
            os.link(world.base / "outside/f0", spare)
            os.rename(spare, victim)
        with suppress(OSError):
            spare.unlink()
        with suppress(OSError):
            spare.write_text("then")
            os.rename(spare, victim)

    return plant


@contextmanager
def racing(deed: Callable[[], None]) -> Iterator[None]:
    """Another process does the deed again and again; it is gone afterwards."""
    child = os.fork()
    if not child:
        with suppress(BaseException):
            while True:
                deed()
        os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def restored(world: World) -> None:
    with world.open() as checkpoints:
        checkpoints.restore("then", "app", step="r")


def captured(world: World) -> None:
    with world.open() as checkpoints:
        made = checkpoints.create(None, allow_partial=True)
        digests = {entry.sha256 for entry in checkpoints.entries(made.id, "app")}
    assert hashlib.sha256(SECRET).hexdigest() not in digests


def put_away(world: World) -> None:
    paths = [f"app/d/f{number}".encode() for number in range(FILES)]
    with tree_of(world.root) as root, tree_of(world.state) as state:
        put_aside(Host(), state, root, paths, "away")
    shutil.rmtree(world.state / "quarantine", ignore_errors=True)


def naively_restored(world: World) -> None:
    for number in range(FILES):
        path = world.root / "app/d" / f"f{number}"
        with suppress(OSError):
            (path.parent / ".new").write_text("then")
            os.replace(path.parent / ".new", path)


def naively_captured(world: World) -> None:
    for number in range(FILES):
        with suppress(OSError):
            assert (world.root / "app/d" / f"f{number}").read_bytes() != SECRET


def naively_put_away(world: World) -> None:
    for number in range(FILES):
        with suppress(OSError):
            os.rename(world.root / "app/d" / f"f{number}", world.base / "kept")


def naively_dressed(world: World) -> None:
    for number in range(FILES):
        with suppress(OSError):
            os.chmod(world.root / "app/d" / f"f{number}", 0o600)


Deed = Callable[[World], None]
RACES: dict[str, tuple[Callable[[World], Callable[[], None]], Deed, Deed]] = {
    "swap-restore": (swapper, restored, naively_restored),
    "swap-capture": (swapper, captured, naively_captured),
    "swap-aside": (swapper, put_away, naively_put_away),
    "plant-restore": (planter, restored, naively_dressed),
}


@pytest.mark.parametrize("name", RACES)
def test_nothing_outside_is_touched_while_the_tree_is_rewritten(world: World, name: str) -> None:
    """In every round the operation is done, or refused with an error of ours."""
    other, ours, _ = RACES[name]
    outside = fill(world, "then", 0o600)
    with world.open() as checkpoints:
        checkpoints.create("then")
    before = walked(outside)
    for _ in range(ROUNDS):
        fill(world, "then" if other is planter else "now")  # the planter's are dressed in place
        with racing(other(world)), suppress(RollbackError):
            ours(world)
        now = walked(outside)
        # a planted link is one more name of the file outside; its bytes and dress are as before
        assert {path: seen[:5] for path, seen in now.items()} == {
            path: seen[:5] for path, seen in before.items()}  # fmt: skip


@pytest.mark.parametrize("name", RACES)
def test_the_naive_way_is_caught(world: World, name: str) -> None:
    """The same races against plain paths, until one is lost."""
    other, _, naive = RACES[name]
    outside = fill(world, "then")
    before = walked(outside)
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
        fill(world, "now")
        lost = False
        with racing(other(world)):
            for _ in range(200):
                try:
                    naive(world)
                except AssertionError:
                    lost = True
        if lost or {p: seen[:5] for p, seen in walked(outside).items()} != {
            p: seen[:5] for p, seen in before.items()
        }:
            return
    pytest.fail("the race cannot be lost: it shows nothing")


class Planting(Tap):
    """Right after the intent is written, a file is another name of a file outside."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.planted = False

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        done = super().change(call, where, do, torn)
        if call == "rename" and b"r.json" in os.fsencode(where) and not self.planted:
            self.planted = True
            victim = self.world.root / "app/d/f0"
            victim.unlink()
            os.link(self.world.base / "outside/f0", victim)
        return done


def test_a_file_planted_between_plan_and_change_is_not_dressed(world: World) -> None:
    """The one inode that was planned with, or none: the run stops, and says where."""
    outside = fill(world, "then", 0o600)
    with world.open() as checkpoints:
        checkpoints.create("then")
    before = walked(outside)
    fill(world, "then")
    tap = Planting(world)
    with world.open(tap) as checkpoints, pytest.raises(HostError, match="another file"):
        checkpoints.restore("then", "app", step="r")
    assert tap.planted
    assert {p: s[:5] for p, s in walked(outside).items()} == {p: s[:5] for p, s in before.items()}
