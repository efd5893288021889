"""While another process rewrites the tree: nothing outside is read or written, ever.

Each race has a control that does the same by plain paths, and must be caught: a test that cannot
fail shows nothing. An attempt is one file that was worked on while the other process was at it.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from rollback.host import Host, Tap
from rollback.keep.aside import put_aside
from rollback.keep.frozen import freeze
from rollback.keep.scope import Scope
from rollback.model.errors import HostError, RollbackError
from tests.keep.standin import World, component, tree_of, walked
from tests.killed import in_child
from tests.private import BIND, mount, privately, unmounted

ATTEMPTS = int(os.environ.get("RACE_ATTEMPTS", "240"))  # in each race; `make drill` asks for more
FILES = 12
SECRET = b"a secret of somebody else"
LONG = 3 * 2**20  # a few reads
NAIVE_WITHIN_S = 120.0
LOST = 10  # looks of the control that have to fail while as many of ours do not
COMPARED = 200
T = TypeVar("T")
Deed = Callable[["World"], None]
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: bytes, other: bytes) -> None:
    _libc.renameat2(-100, one, -100, other, 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"app": component("app")}).make()


def fill(world: World, body: bytes, mode: int = 0o644) -> Path:
    """The component with a folder of files, and a link to the outside beside it."""
    app, outside = world.root / "app", world.base / "outside"
    while unmounted(os.fsencode(app / "d")):
        pass
    shutil.rmtree(app, ignore_errors=True)
    (app / "d").mkdir(parents=True)
    for number in range(FILES):
        (app / "d" / f"f{number}").write_bytes(body)
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


# -- what the other process does -----------------------------------------------------------------


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
            spare.write_bytes(b"then")
            os.rename(spare, victim)

    return plant


def truncater(world: World) -> Callable[[], None]:
    """The files are cut to nothing and written anew in place, each time of another letter."""
    turn = 0

    def cut() -> None:
        nonlocal turn
        turn += 1
        letter = b"ab"[turn % 2 : turn % 2 + 1]
        for number in range(FILES):
            with suppress(OSError), (world.root / f"app/d/f{number}").open("wb") as file:
                file.write(letter * LONG)

    return cut


def mounter(world: World) -> Callable[[], None]:
    """The folder outside is mounted over ours, then it is not."""
    there, here = os.fsencode(world.base / "outside"), os.fsencode(world.root / "app/d")

    def over() -> None:
        with suppress(OSError):
            mount(there, here, BIND)
        unmounted(here)

    return over


# -- what we do, and how it would be done naively ------------------------------------------------


def restored(world: World) -> None:
    with world.open() as checkpoints:
        checkpoints.restore("then", "app", step="r")


def captured(world: World) -> None:
    """No byte of the outside is in a checkpoint, and no file that never stood there as it is."""
    shutil.rmtree(world.state)
    world.state.mkdir(mode=0o700)
    with world.open() as checkpoints:
        made = checkpoints.create(None, allow_partial=True)
        found = [entry for entry in checkpoints.entries(made.id, "app") if entry.kind == "file"]
        assert hashlib.sha256(SECRET).hexdigest() not in {entry.sha256 for entry in found}
        for entry in found:
            assert not entry.size or len(set(checkpoints.store.get(entry.sha256))) <= 4


def captured_whole(world: World) -> None:
    """A file in a checkpoint is of one letter: before the cut or after it, never both."""
    shutil.rmtree(world.state)
    world.state.mkdir(mode=0o700)
    with world.open() as checkpoints:
        made = checkpoints.create(None, allow_partial=True)
        for entry in checkpoints.entries(made.id, "app"):
            if entry.kind == "file" and entry.size:
                assert len(set(checkpoints.store.get(entry.sha256))) == 1


def put_away(world: World) -> None:
    paths = [f"app/d/f{number}".encode() for number in range(FILES)]
    with tree_of(world.root) as root, tree_of(world.state) as state:
        put_aside(Host(), state, root, paths, "away")
    shutil.rmtree(world.state / "quarantine", ignore_errors=True)


def frozen(world: World) -> None:
    with tree_of(world.root) as root, tree_of(world.state) as state:
        freeze(state, root, "app", b"app", Scope(), "r", immutable=False)
    shutil.rmtree(world.state / "frozen", ignore_errors=True)


def each(world: World) -> Iterator[Path]:
    yield from (world.root / "app/d" / f"f{number}" for number in range(FILES))


def naively_restored(world: World) -> None:
    for path in each(world):
        with suppress(OSError):
            (path.parent / ".new").write_text("then")
            os.replace(path.parent / ".new", path)


def naively_captured(world: World) -> None:
    for path in each(world):
        with suppress(OSError):
            assert path.read_bytes() != SECRET


def naively_read(world: World) -> None:
    for path in each(world):
        with suppress(OSError), path.open("rb", buffering=0) as file:
            assert (
                len({letter for part in iter(lambda: file.read(4096), b"") for letter in part}) <= 1
            )


def naively_put_away(world: World) -> None:
    for path in each(world):
        with suppress(OSError):
            os.rename(path, world.base / "kept")


def naively_emptied(world: World) -> None:
    for path in each(world):
        with suppress(OSError):
            shutil.copy(path, world.base / "kept")
            path.open("wb").close()


def naively_dressed(world: World) -> None:
    for path in each(world):
        with suppress(OSError):
            os.chmod(path, 0o600)


@dataclass(frozen=True)
class Race:
    """Who works against whom. `body` is what stands in the files when it begins.

    Of attempts that take long, only every `share`th is made.
    """

    other: Callable[[World], Callable[[], None]]
    ours: Deed
    naive: Deed
    body: bytes = b"now"
    mounts: bool = False
    share: int = 1


RACES = {
    "swap-restore": Race(swapper, restored, naively_restored),
    "swap-capture": Race(swapper, captured, naively_captured),
    "swap-aside": Race(swapper, put_away, naively_put_away),
    "plant-restore": Race(planter, restored, naively_dressed, b"then"),  # dressed in place
    "plant-aside": Race(planter, put_away, naively_emptied),
    "plant-freeze": Race(planter, frozen, naively_dressed),
    "truncate-capture": Race(truncater, captured_whole, naively_read, b"a" * LONG, share=4),
    "mount-restore": Race(mounter, restored, naively_restored, mounts=True),
    "mount-capture": Race(mounter, captured, naively_captured, mounts=True),
    "mount-aside": Race(mounter, put_away, naively_emptied, mounts=True),
}


class Deeds:
    """How often the other process has done its deed, counted where both see it."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    def __int__(self) -> int:
        return int(struct.unpack("=q", self._shared[:8])[0])

    def count(self) -> None:
        """One more."""
        self._shared[:8] = struct.pack("=q", int(self) + 1)


@contextmanager
def racing(deed: Callable[[], None], deeds: Deeds) -> Iterator[None]:
    """Another process does the deed again and again, and has begun; it is gone afterwards."""
    before = int(deeds)
    child = os.fork()
    if not child:
        with suppress(BaseException):
            while True:
                deed()
                deeds.count()
        os._exit(0)
    try:
        end_s = time.monotonic() + 60
        while int(deeds) == before:
            assert time.monotonic() < end_s, "the other process does not begin"
            time.sleep(0)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def seen(outside: Path) -> dict[bytes, tuple[object, ...]]:
    """A planted link is one more name of a file outside; its bytes and dress are as before."""
    return {path: one[:5] for path, one in walked(outside).items()}


def carried_out(race: Race, do: Callable[[], None]) -> None:
    status = privately(do) if race.mounts else in_child(do)
    assert status == 0, "see the traceback of the child"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", RACES)
def test_nothing_outside_is_touched_while_the_tree_is_rewritten(world: World, name: str) -> None:
    """In every round the operation is done, or refused with an error of ours."""
    race = RACES[name]

    def rounds() -> None:
        outside = fill(world, b"then", 0o600)
        with world.open() as checkpoints:
            checkpoints.create("then")
        before, deeds, attempts = seen(outside), Deeds(), 0
        while attempts * race.share < ATTEMPTS:
            fill(world, race.body)
            with racing(race.other(world), deeds):
                begun = int(deeds)
                with suppress(RollbackError):
                    race.ours(world)
                if int(deeds) > begun:  # else the other one had no turn meanwhile
                    attempts += FILES
            assert seen(outside) == before

    carried_out(race, rounds)


@pytest.mark.parametrize("name", RACES)
def test_the_naive_way_is_caught(world: World, name: str) -> None:
    """The same races against plain paths, until one is lost."""
    race = RACES[name]

    def until_lost() -> None:
        outside = fill(world, b"then")
        before, deeds = seen(outside), Deeds()
        end_s = time.monotonic() + NAIVE_WITHIN_S
        while time.monotonic() < end_s:
            fill(world, race.body)
            with racing(race.other(world), deeds):
                for _ in range(200):
                    try:
                        race.naive(world)
                    except AssertionError:
                        return
            while unmounted(os.fsencode(world.root / "app/d")):
                pass
            if seen(outside) != before:
                return
        raise AssertionError("the race cannot be lost: it shows nothing")

    carried_out(race, until_lost)


class Between(Tap):
    """Right after the intent is written, something else happens once."""

    def __init__(self, deed: Callable[[], None]) -> None:
        self.deed = deed
        self.done = False

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        done = super().change(call, where, do, torn)
        if call == "rename" and b"r.json" in os.fsencode(where) and not self.done:
            self.done = True
            self.deed()
        return done


def test_a_file_planted_between_plan_and_change_is_not_dressed(world: World) -> None:
    """The one inode that was planned with, or none: the run stops, and says where."""
    outside = fill(world, b"then", 0o600)
    with world.open() as checkpoints:
        checkpoints.create("then")
    before = seen(outside)
    fill(world, b"then")
    victim = world.root / "app/d/f0"

    def plant() -> None:
        victim.unlink()
        os.link(world.base / "outside/f0", victim)

    tap = Between(plant)
    with world.open(tap) as checkpoints, pytest.raises(HostError, match="another file"):
        checkpoints.restore("then", "app", step="r")
    assert tap.done
    assert seen(outside) == before


class Naming(Tap):
    """At the first change of a mode, another file gets a second name outside."""

    def __init__(self, victim: Path, name: Path) -> None:
        self.victim, self.name, self.done = victim, name, False

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        done = super().change(call, where, do, torn)
        if call == "fchmod" and not self.done:
            self.done = True
            os.link(self.victim, self.name)
        return done


def test_a_file_that_got_a_name_elsewhere_meanwhile_is_not_frozen(world: World) -> None:
    """What is a file of ours alone when it is planned may be somebody else's too when it is its turn."""
    outside = fill(world, b"then", 0o640)
    tap = Naming(world.root / "app/d/f0", outside / "ours")
    with (
        tree_of(world.root, tap) as root, tree_of(world.state) as state,
        pytest.raises(HostError, match="another name by now"),
    ):  # fmt: skip
        freeze(state, root, "app", b"app", Scope(), "r", immutable=False)
    assert tap.done
    assert (outside / "ours").stat().st_mode & 0o777 == 0o640


# -- things come and go while it is compared -----------------------------------------------------


def coming_and_going(world: World) -> Callable[[], None]:
    """A file under another name for a moment, one that is there or not, a folder with things in it."""
    top = world.root / "app/d"

    def come_and_go() -> None:
        (top / "f0.new").write_bytes(b"then")
        os.rename(top / "f0.new", top / "f0")
        (top / "f1").unlink()
        (top / "f1").write_bytes(b"then")
        (top / "box").mkdir()
        (top / "box/f").write_bytes(b"passing")
        (top / "box/link").symlink_to("f")
        shutil.rmtree(top / "box")
        (top / "kept/link").unlink()
        (top / "kept/link").symlink_to("f")

    return come_and_go


def looked_at(top: Path) -> None:
    """As a comparison does it that takes every name for a promise."""
    for folder, names, files in os.walk(top, onerror=raised):
        for name in (*names, *files):
            if (Path(folder) / name).lstat() and name in files:
                (Path(folder) / name).read_bytes()


def raised(error: OSError) -> None:
    raise error


@pytest.mark.timeout(600)
def test_what_comes_and_goes_does_not_hinder_a_comparison(world: World) -> None:
    """A name that is gone by the time it is looked at is not there, and that is all.

    The control looks at the same tree by plain paths, and has to be lost in it.
    """
    fill(world, b"then")
    (world.root / "app/d/kept").mkdir()
    (world.root / "app/d/kept/f").write_bytes(b"then")
    (world.root / "app/d/kept/link").symlink_to("f")
    passing = {b"app/d", b"app/d/kept", b"app/d/kept/link", b"app/d/f0", b"app/d/f0.new",
               b"app/d/f1", b"app/d/box", b"app/d/box/f", b"app/d/box/link"}  # fmt: skip
    with world.open() as checkpoints:
        checkpoints.create("then")
        steady = checkpoints.fingerprints("app")["d/kept/f"]
        lost = looks = 0
        deeds = Deeds()
        end_s = time.monotonic() + NAIVE_WITHIN_S
        with racing(coming_and_going(world), deeds):
            while lost < LOST or looks < COMPARED:
                assert time.monotonic() < end_s, f"the control was lost {lost} times"
                try:
                    looked_at(world.root / "app")
                except FileNotFoundError:
                    lost += 1
                dry = checkpoints.restore("then", "app", step="s", dry_run=True)
                assert {change.path for change in dry} <= passing
                assert checkpoints.fingerprints("app")["d/kept/f"] == steady
                with checkpoints.opened("app") as (content, site):
                    assert content.items(site)["d/kept/f"] == hashlib.sha256(b"then").hexdigest()
                looks += 1
        shutil.rmtree(world.root / "app/d/box", ignore_errors=True)
        (world.root / "app/d/f0.new").unlink(missing_ok=True)
        checkpoints.restore("then", "app", step="s")
        assert not checkpoints.restore("then", "app", step="s", dry_run=True)


def test_what_is_gone_before_it_is_moved_away_hinders_no_restore(world: World) -> None:
    """An extra file that its owner removes between plan and change."""
    fill(world, b"then")
    with world.open() as checkpoints:
        checkpoints.create("then")
    (world.root / "app/d/extra").write_bytes(b"more")
    (world.root / "app/d/f1").write_bytes(b"other")
    tap = Between((world.root / "app/d/extra").unlink)
    with world.open(tap) as checkpoints:
        checkpoints.restore("then", "app", step="r")
    assert tap.done
    assert (world.root / "app/d/f1").read_bytes() == b"then"
