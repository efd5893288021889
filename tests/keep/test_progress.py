"""Whatever takes long says how far it is, piece by piece, and ends where it said it would."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.keep.archive import ArchiveSource, read_archive
from rollback.keep.export import export
from rollback.keep.fetch import fetch
from rollback.keep.packing import Packing, verify_packed
from rollback.keep.repair import Repair
from tests.keep.postgres_lab import Lab
from tests.keep.standin import World, component, tree_of
from tests.keep.test_copies import copies, declared

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
MIB = 2**20
SIZES = {"large": 40 * MIB, "other": 3 * MIB, "small": 10}


class Ear:
    """Hears everything, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int | None, str]] = []

    def __call__(self, what: str, done: int, total: int | None, unit: str) -> None:
        self.heard.append((what, done, total, unit))

    def of(self, begins: str) -> list[tuple[int, int | None]]:
        """How far one piece of work was, each time it said so; all of it in one unit."""
        found = [one for one in self.heard if one[0].startswith(begins)]
        assert found, sorted({one[0] for one in self.heard})
        assert len({unit for _, _, _, unit in found}) == 1
        return [(done, total) for _, done, total, _ in found]

    def assert_told(self, begins: str, total: int, times: int = 3) -> None:
        """It was told often, never went back, and ended at its total."""
        told = self.of(begins)
        assert len(told) >= times, told
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert {given for _, given in told} == {total}
        assert told[-1][0] == total


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def world(ear: Ear) -> Iterator[World]:
    """Three files and a place for copies; a checkpoint `then` holds them."""
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="progress-"))
    world = World(base, {"app": component("app", restore="standby")}).make()
    world.checkpoints = declared(second={"folder": {"path": "second"}})
    world.progress = ear
    (world.root / "app/d").mkdir(parents=True)
    for name, size in SIZES.items():
        (world.root / "app" / name).write_bytes(os.urandom(size))
    with world.open() as kept:
        kept.create("then")
    ear.heard.clear()
    yield world
    shutil.rmtree(base)


def packs(world: World) -> int:
    return sum(path.stat().st_size for path in (world.state / "store/packs").iterdir())


def test_putting_back_is_told_by_the_byte(world: World, ear: Ear) -> None:
    """One large file alone is many pieces; before it, the folders that were looked at."""
    for name in SIZES:
        (world.root / "app" / name).write_bytes(b"other")
    with world.open() as kept:
        kept.restore("then", "app", step="s")
    ear.assert_told("putting back app", sum(SIZES.values()), times=20)
    folders = ear.of("comparing app")
    assert folders[-1] == (2, 2)


def test_what_has_to_be_read_to_be_compared_is_told(world: World, ear: Ear) -> None:
    """Where nothing is known of the looks of the live files, they are read."""
    shutil.rmtree(world.state / "cache")
    with world.open() as kept:
        assert kept.diff("then") == ()
    assert ear.of("reading app")[-1] == (sum(SIZES.values()), None)


def test_a_standby_is_told_by_the_byte(world: World, ear: Ear) -> None:
    """It is a copy of everything; what the kernel copies comes in large pieces."""
    with world.open() as kept:
        assert kept.refresh_standby("then") == {"app": ""}
    found = [one for one in ear.heard if one[0].startswith("making the standby of app")]
    told = [(done, total) for _, done, total, unit in found if unit == "bytes"]
    assert len(told) > 4
    assert told[-1] == (sum(SIZES.values()), sum(SIZES.values()))


def test_copies_are_told_as_they_are_written_and_read_back(world: World, ear: Ear) -> None:
    """To a place, looked at there, and from it when the store is gone."""
    size = packs(world)
    with world.open() as kept:
        place = copies(world, kept)
        assert place.make_good()[0].problem == ""
        told = ear.of("copying to")
        assert len(told) > 8
        assert told[0][1] == 2 * size
        assert told[-1][0] >= 2 * size
        list(place.verify(kept.list(), deep=True))
        assert ear.of("reading second")[-1][0] >= size
    shutil.rmtree(world.state / "store")
    with world.open() as kept:
        fetch(kept, copies(world, kept), "small", "second")
        told = ear.of("fetching from")
    assert len(told) > 8
    assert told[0][1] == 2 * size
    assert told[-1][0] >= 2 * size


def test_an_export_and_an_archive_are_told_by_the_byte(world: World, ear: Ear) -> None:
    """What goes into them, and what is read of them."""
    with world.open() as kept, tree_of(world.base) as tree:
        export(kept, Host(), "then", (), str(world.base / "out.tar"))
        told = ear.of("exporting out.tar")
        assert len(told) > 20
        assert told[-1][0] >= sum(SIZES.values()) == told[-1][1]
        packing = Packing(kept.store, {"app": kept.manifest("then", "app")}, progress=ear)
        tree.write(b"in.tar.gz", packing.chunks())
        assert len(ear.of("packing")) > 20
        verify_packed(tree, b"in.tar.gz", packing.digests, ear)
        size = tree.size(b"in.tar.gz")
        ear.assert_told("reading in.tar.gz", size)
        with tree_of(world.state) as state:
            state.make_folder("spool")
            source = ArchiveSource(read_archive(tree, b"in.tar.gz"), "app")
            with state.sub("spool") as spool:
                source.fetch(tree, b"in.tar.gz", [b"large"], spool, ear)
        ear.assert_told("taking out of in.tar.gz", size)


def test_a_repair_is_told_what_it_has_read(world: World, ear: Ear) -> None:
    """By packs, in bytes."""
    (world.root / "app/large").write_bytes(os.urandom(70 * MIB))
    with world.open() as kept:
        kept.create("more")
        ear.heard.clear()
        Repair(kept, copies(world, kept)).run()
    ear.assert_told("reading packs", packs(world), times=2)


def test_a_database_is_told_by_the_byte(tmp_path: Path, ear: Ear) -> None:
    """Copied while it is in use, kept, and laid out."""
    world = World(tmp_path, {"it": component("data.db", content="sqlite")}, progress=ear).make()
    with closing(sqlite3.connect(world.root / "data.db")) as db, db:
        db.execute("create table t (a integer primary key, b blob)")
        db.executemany("insert into t (b) values (randomblob(1000000))", [()] * 60)
    with world.open() as kept:
        kept.create("then")
        size = (world.root / "data.db").stat().st_size
        ear.assert_told("copying it", size)
        ear.assert_told("keeping it", size, times=20)
        with kept.opened("it") as (content, site):
            content.items(site, kept.manifest("then", "it"))
        ear.assert_told("laying out it", size, times=20)


def test_a_database_on_a_server_is_told_by_the_byte(tmp_path: Path, ear: Ear, lab: Lab) -> None:
    """While its programs run, what they have written or read."""
    lab.server("postgres").do("create database told")
    live = lab.server("told")
    live.do(
        "create table t as select g, repeat(md5(g::text), 30) as b from generate_series(1, 60000) g"
    )
    world = World(tmp_path, {"it": component("x", content="postgres", database=lab.declared("told"))},
                  progress=ear).make()  # fmt: skip
    with world.open() as kept:
        kept.create("then")
        assert ear.of("dumping it")
        size = ear.of("keeping it")[-1][0]
        ear.assert_told("keeping it", size, times=20)
        live.do("delete from t where g < 100")
        kept.restore("then", "it", step="s")
    ear.assert_told("laying out it", size, times=20)
    told = ear.of("loading it")
    assert {total for _, total in told} == {size}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
