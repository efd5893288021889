"""Kinds of content: databases in use, trails that only grow, files under version control."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rollback.host import Tap
from rollback.model.errors import HostError, ObjectCorrupt
from tests.keep.standin import World, component, walked
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots

ROWS = "select count(*) from t"


def world_of(tmp_path: Path, content: str, path: str) -> World:
    return World(tmp_path, {"it": component(path, content=content)}).make()


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("select a from t order by a").fetchall()


def database(path: Path, count: int = 500) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    db.execute("create table t (a integer, b text)")
    db.executemany("insert into t values (?, ?)", [(at, "text " * 20) for at in range(count)])
    db.commit()
    return db


def test_a_database_in_use_is_captured_at_one_moment_and_comes_back(tmp_path: Path) -> None:
    """An open transaction is not in it; the rows are counted and named in the dry run."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    with closing(database(path)) as db:
        db.execute("insert into t values (-1, 'not committed')")
        with world.open() as checkpoints:
            made = checkpoints.create("then")
            assert checkpoints.manifest(made.id, "it").meta["tables"] == {"t": 500}
            db.rollback()
            wanted = rows(path)
            db.execute("delete from t where a < 100")
            db.commit()
            before = walked(world.root)
            said = checkpoints.restore("then", "it", step="s", dry_run=True)
            assert walked(world.root) == before
            assert said.notes == ("table t: 400 rows now, 500 then",)
            db.close()
            assert checkpoints.restore("then", "it", step="s") == said
            assert rows(path) == wanted
            assert not checkpoints.restore("then", "it", step="s")


def test_what_a_database_left_beside_itself_goes_to_quarantine_first(tmp_path: Path) -> None:
    """A journal of the old database would be replayed into the new one."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    database(path).close()
    with world.open() as checkpoints:
        checkpoints.create("then")
        with closing(sqlite3.connect(path)) as db:
            db.execute("delete from t")
            db.commit()
        for end in ("-wal", "-shm"):
            path.with_name("data.db" + end).write_bytes(b"left by the dead")
        said = checkpoints.restore("then", "it", step="s")
        assert {change.path for change in said.removes} == {b"data.db-wal", b"data.db-shm"}
        assert sorted(os.listdir(world.root)) == ["data.db"]
        assert len(rows(path)) == 500
        (kept,) = (world.state / "quarantine/s/kept").glob("data.db_old_*-wal")
        assert kept.read_bytes() == b"left by the dead"


def test_a_write_ahead_log_belongs_to_the_moment(tmp_path: Path) -> None:
    """Rows that are only in the log are captured too."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    database(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma journal_mode=wal")
        db.execute("insert into t values (9999, 'in the log')")
        db.commit()
        assert path.with_name("data.db-wal").stat().st_size > 0
        with world.open() as checkpoints:
            made = checkpoints.create("then")
            assert checkpoints.manifest(made.id, "it").meta["tables"] == {"t": 501}
            assert not checkpoints.diff("then")


def test_a_database_that_is_damaged_is_captured_as_it_is_and_is_no_good_target(
    tmp_path: Path,
) -> None:
    """The present must be kept before it is replaced, however broken; it comes back bit by bit."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    database(path).close()
    with world.open() as checkpoints:
        good = checkpoints.create("good")
        path.write_bytes(b"not a database at all" * 100)
        broken = path.read_bytes()
        made = checkpoints.create("broken")
        assert made.target
        assert "not a database" in made.damage[0]
        assert checkpoints.last_good().id == good.id
        checkpoints.restore("good", "it", step="s1")
        assert len(rows(path)) == 500
        checkpoints.restore("broken", "it", step="s2")
        assert path.read_bytes() == broken


def test_damage_inside_a_database_is_noticed_at_capture(tmp_path: Path) -> None:
    """A page overwritten: the checkpoint says what SQLite says."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    database(path, 5000).close()
    data = bytearray(path.read_bytes())
    data[3 * 4096 : 4 * 4096] = os.urandom(4096)
    path.write_bytes(data)
    with world.open() as checkpoints:
        made = checkpoints.create("broken")
        assert made.damage
        assert checkpoints.last_good() is None


@pytest.mark.long
def test_a_database_comes_back_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed at any change, the database opens and holds the old or the new rows."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    database(path, 50).close()
    with world.open() as checkpoints:
        checkpoints.create("then")
    with closing(sqlite3.connect(path)) as db:
        db.execute("delete from t where a < 10")
        db.commit()
    now = path.read_bytes()

    def restore(tap: Tap) -> None:
        with world.open(tap) as checkpoints:
            checkpoints.restore("then", "it", step="s")

    def again() -> None:
        path.write_bytes(now)
        shutil.rmtree(world.state / "quarantine", ignore_errors=True)

    restore(Tap())
    again()
    counting = CountingTap()
    restore(counting)
    assert len(counting.points) > 8
    for shot in shots(counting.points):
        again()
        assert in_child(lambda s=shot: restore(DyingTap(*s))) == KILLED  # type: ignore[misc]
        assert len(rows(path)) in (40, 50)
        restore(Tap())
        assert len(rows(path)) == 50
        assert list((world.state / "scratch").iterdir()) == []
        (old,) = (world.state / "quarantine/s/kept").iterdir()
        assert len(rows(old)) == 40
        assert list((world.state / "intents").iterdir()) == []


def test_a_stored_database_with_other_rows_is_refused(tmp_path: Path) -> None:
    """The side file is checked before it is swapped in."""
    world = world_of(tmp_path, "sqlite", "data.db")
    path = world.root / "data.db"
    database(path).close()
    with world.open() as checkpoints:
        checkpoints.create("then")
        made = checkpoints.get("then")
        manifest = checkpoints.manifest("then", "it")
        manifest.meta["tables"]["t"] = 501
        path.write_bytes(b"")
        before = walked(world.root)
        with pytest.raises(ObjectCorrupt, match="other rows"):
            checkpoints.restore(made.id, "it", step="s")
        assert walked(world.root) == before


@pytest.mark.requirement("PM-75")
def test_a_trail_is_captured_up_to_its_size_and_never_written_back(tmp_path: Path) -> None:
    """It may grow; when its beginning is another, or it is cut, that is an error, not a repair."""
    world = world_of(tmp_path, "append-only", "audit.jsonl")
    path = world.root / "audit.jsonl"
    path.write_bytes(b"one\ntwo\n")
    with world.open() as checkpoints:
        checkpoints.create("then")
        assert checkpoints.held() == {"it": {
            "size_bytes": 8, "sha256": hashlib.sha256(b"one\ntwo\n").hexdigest()}}  # fmt: skip
        path.write_bytes(b"one\ntwo\nthree\n")
        before = walked(world.root)
        assert not checkpoints.restore("then", "it", step="s")
        for cut in (b"one\ntwo", b"one\nTWO\nthree\n", None):
            if cut is None:
                path.unlink()
            else:
                path.write_bytes(cut)
            after = walked(world.root)
            assert len(checkpoints.diff("then")) == 1
            with pytest.raises(HostError, match="no longer begins"):
                checkpoints.restore("then", "it", step="s")
            assert walked(world.root) == after
        assert before != walked(world.root)


def test_files_under_version_control_come_back_without_touching_the_repository(
    tmp_path: Path,
) -> None:
    """`.git` is neither captured nor changed; the commit that was out is kept beside the files."""
    world = world_of(tmp_path, "git", "app")
    app = world.root / "app"
    (app / ".git/refs/heads").mkdir(parents=True)
    (app / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (app / ".git/refs/heads/main").write_text("a" * 40 + "\n")
    (app / "code.py").write_text("then")
    with world.open() as checkpoints:
        made = checkpoints.create("then")
        manifest = checkpoints.manifest(made.id, "it")
        assert [entry.path for entry in checkpoints.entries(made.id, "it")] == [b".", b"code.py"]
        assert manifest.meta["head"] == {"branch": "main", "commit": "a" * 40}
        assert manifest.meta["not_captured"] == [{"path": ".git", "type": "the repository itself"}]
        (app / "code.py").write_text("now")
        (app / ".git/refs/heads/main").write_text("b" * 40 + "\n")
        repository = walked(app / ".git")
        checkpoints.restore("then", "it", step="s")
        assert (app / "code.py").read_text() == "then"
        assert walked(app / ".git") == repository
