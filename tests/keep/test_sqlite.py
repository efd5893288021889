"""A database is put back while nobody has it open, and the one that stood there is kept whole."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest

from rollback.host import Tap
from rollback.keep.changes import Changes
from rollback.keep.contents import sqlite
from rollback.model.errors import HostError
from tests.keep.standin import World, component, walked
from tests.killed import (
    KILL_EVERY,
    KILL_SOME,
    KILLED,
    CountingTap,
    DyingTap,
    Lacking,
    in_child,
    shots,
)
from tests.systems import Hands

T = TypeVar("T")
CLIENT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
for line in sys.argv[2:]:
    db.execute(line).fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A component that is a database of 50 rows, which a checkpoint `then` holds; 40 are left."""
    monkeypatch.setattr(sqlite, "DRAIN_S", 0.3)
    with tempfile.TemporaryDirectory(dir=FAST, prefix="sqlite-") as folder:
        yield filled(Path(folder))


def filled(base: Path) -> World:
    world = World(base, {"it": component("data.db", content="sqlite")}, clock=Hands()).make()
    with closing(sqlite3.connect(path_of(world))) as db, db:
        db.execute("create table t (a integer, b text)")
        db.executemany("insert into t values (?, ?)", [(at, "text " * 20) for at in range(50)])
    with world.open() as checkpoints:
        checkpoints.create("then")
    change(world, "delete from t where a < 10")
    return world


def path_of(world: World) -> Path:
    return world.root / "data.db"


def change(world: World, *lines: str) -> None:
    with closing(sqlite3.connect(path_of(world))) as db, db:
        for line in lines:
            db.execute(line)


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (found,) = db.execute("select count(*) from t").fetchone()
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        return int(found)


def restore(world: World, tap: Tap | None = None, target: str = "then") -> Changes:
    """Each at another moment."""
    world.clock.ahead_s += 7
    with world.open(tap) as checkpoints:
        return checkpoints.restore(target, "it", step="s")  # type: ignore[no-any-return]


def kept(world: World) -> list[str]:
    """What is in quarantine, by name, where that is not the stage."""
    folder = world.state / "quarantine"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def opened(world: World, names: list[str]) -> int:
    """How many rows the kept database holds, opened elsewhere with what lay beside it."""
    elsewhere = world.base / "elsewhere"
    shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir()
    (main,) = [name for name in names if not name.endswith(("-wal", "-shm", "-journal"))]
    (where,) = (world.state / "quarantine").rglob(main)
    for path in where.parent.iterdir():
        shutil.copy(path, elsewhere / path.name)
    return count(elsewhere / main)


@contextmanager
def client(world: World, *lines: str) -> Iterator[subprocess.Popen[str]]:
    """Another process has the database open, and has done this."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(path_of(world)), *lines], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate("")


CLIENTS = {
    "idle": (),
    "has-read": ("select * from t",),
    "reads": ("begin", "select * from t"),
    "writes": ("begin immediate", "insert into t values (1, '')"),
    "excludes": ("begin exclusive",),
    "wal": ("pragma journal_mode=wal", "insert into t values (1, '')"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_while_a_client_has_it_open_nothing_is_changed(world: World, name: str) -> None:
    """The line names the file, who has it open, and what to type; then it is put back."""
    world.services = {"web": SimpleNamespace(components=("it",)),
                      "other": SimpleNamespace(components=())}  # fmt: skip
    with client(world, *CLIENTS[name]) as process:
        names = set(os.listdir(world.root))
        inode = path_of(world).stat().st_ino
        with pytest.raises(HostError) as caught:
            restore(world)
        said = str(caught.value)
        assert "data.db" in said
        assert "in use" in said
        assert str(process.pid) in said
        assert "stop or drain web" in caught.value.hint
        assert path_of(world).stat().st_ino == inode
        assert names <= set(os.listdir(world.root))
        assert list((world.state / "intents").iterdir()) == []
        assert kept(world) == []
    assert restore(world)
    assert count(path_of(world)) == 50


def test_a_client_that_ends_in_time_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who asks and goes is no reason to refuse."""
    monkeypatch.setattr(sqlite, "DRAIN_S", 30.0)
    with client(world, "begin immediate") as process:

        class Ends(Tap):
            def change(
                self, call: str, where: str | bytes, do: Callable[[], T],
                torn: Callable[[], object] | None = None,
            ) -> T:  # fmt: skip
                done = super().change(call, where, do, torn)
                if call == "sqlite-backup":  # it was compared; next it is claimed
                    assert process.stdin is not None
                    process.stdin.close()
                return done

        assert restore(world, Ends())
        process.stdin = None
    assert count(path_of(world)) == 50


def test_from_the_claim_to_the_end_nobody_reads_or_writes_it(world: World) -> None:
    """Neither the old one nor the new one, whoever comes: at every change they are told to wait."""
    ask = ("import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=0); "
           "print(db.execute('select count(*) from t').fetchone()[0])")  # fmt: skip
    said: list[tuple[str, str]] = []

    class Asks(CountingTap):
        def change(
            self, call: str, where: str | bytes, do: Callable[[], T],
            torn: Callable[[], object] | None = None,
        ) -> T:  # fmt: skip
            done = super().change(call, where, do, torn)
            if "s.json" in os.fsdecode(where) or (said and call in ("link", "rename", "fsync")):
                asked = subprocess.run([sys.executable, "-c", ask, str(path_of(world))],
                                       capture_output=True, text=True, check=False)  # fmt: skip
                said.append((call, asked.stdout.strip() or asked.stderr.strip().splitlines()[-1]))
            return done

    assert restore(world, Asks())
    assert said
    for call, answer in said:
        assert answer == "50" or "locked" in answer, (call, answer)
    assert any("locked" in answer for _, answer in said)


def test_who_opens_it_meanwhile_is_named(world: World) -> None:
    """They were told to wait, and hold the old database now: nobody finds out by chance."""
    late = []

    class Comes(Tap):
        def change(
            self, call: str, where: str | bytes, do: Callable[[], T],
            torn: Callable[[], object] | None = None,
        ) -> T:  # fmt: skip
            done = super().change(call, where, do, torn)
            if call == "rename" and os.fsdecode(where).endswith("s.json"):
                late.append(stack.enter_context(client(world)))
            return done

    with ExitStack() as stack:
        said = restore(world, Comes())
    assert any(f"({late[0].pid}) opened the old database" in note for note in said.notes)
    assert count(path_of(world)) == 50


BARE = {"renameat2": errno.ENOSYS, "link": errno.EPERM}


@pytest.mark.parametrize("lacking", [{}, *({k: v} for k, v in BARE.items()), BARE])
def test_the_old_one_is_kept_whole_under_a_dated_name(
    world: World, lacking: dict[str, int]
) -> None:
    """What was restored over can be opened again; where it lies is told and noted."""
    tap = Lacking()
    tap.codes.update(lacking)
    done = restore(world, tap)
    names = kept(world)
    (name,) = names
    assert name.startswith("data.db_old_20")
    assert opened(world, names) == 40
    assert len(done.kept) == 1
    assert done.kept[0].endswith(f"/quarantine/s/kept/{name}")
    assert count(path_of(world)) == 50
    assert Path(done.kept[0]).stat().st_nlink == 1


def hot_journal(world: World) -> None:
    """A client is killed in the middle of a transaction that has reached the file."""
    code = ("import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "db.execute('pragma cache_size=2'); db.execute('begin'); "
            "db.execute('update t set b = hex(randomblob(3000))'); os.kill(os.getpid(), 9)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, str(path_of(world))], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (world.root / "data.db-journal").stat().st_size > 0


def log_of_the_dead(world: World) -> None:
    """A client is killed after it wrote rows that are in the write-ahead log alone."""
    code = ("import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "db.execute('pragma journal_mode=wal'); "
            "db.execute('delete from t where a < 13'); os.kill(os.getpid(), 9)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, str(path_of(world))], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (world.root / "data.db-wal").stat().st_size > 0


def all_in_the_log(world: World) -> None:
    """The file itself is as it was captured; what came since is in the log of a dead client."""
    change(world, "pragma journal_mode=wal")
    with world.open() as checkpoints:
        checkpoints.create("logged")
    log_of_the_dead(world)


# what is there, its rows, what is restored over it, the rows of that
SETS: dict[str, tuple[Callable[[World], None], int, str, int]] = {
    "plain": (lambda _world: None, 40, "then", 50),
    "hot-journal": (hot_journal, 40, "then", 50),
    "write-ahead-log": (log_of_the_dead, 37, "then", 50),
    "all-in-the-log": (all_in_the_log, 37, "logged", 40),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("lacking", [(), ("renameat2",)])
def test_killed_at_any_change_the_whole_old_set_is_kept_under_one_name(
    world: World, name: str, lacking: tuple[str, ...]
) -> None:
    """A journal without its database, or the other way round, would be worth nothing."""
    make, old, target, new = SETS[name]
    make(world)
    before = {path.name: path.read_bytes() for path in world.root.iterdir()}

    def again() -> None:
        shutil.rmtree(world.root)
        world.root.mkdir()
        for each, data in before.items():
            (world.root / each).write_bytes(data)
        for folder in ("quarantine", "intents"):
            shutil.rmtree(world.state / folder, ignore_errors=True)

    restore(world, target=target)
    again()
    counting = CountingTap()
    restore(world, Lacking(*lacking, inner=counting), target)
    assert len(counting.points) > 8
    for shot in shots(counting.points)[:: KILL_EVERY if lacking else KILL_SOME]:
        again()
        dying = Lacking(*lacking, inner=DyingTap(*shot))
        ended = in_child(lambda tap=dying: restore(world, tap, target))  # type: ignore[misc]
        assert ended == KILLED or counting.points[shot[0] - 1].call == "sqlite-backup"  # it failed
        assert (world.root / "data.db").exists()
        restore(world, Lacking(*lacking), target)
        assert count(path_of(world)) == new, shot
        assert sorted(os.listdir(world.root)) == ["data.db"], shot
        names = kept(world)
        assert opened(world, names) == old, (shot, names)
        assert len({one.split("-")[0] for one in names}) == 1, (shot, names)
        assert list((world.state / "intents").iterdir()) == []


def test_a_database_that_goes_away_is_kept_too(world: World) -> None:
    """Where none was captured none stands, and nobody may have it open meanwhile."""
    path_of(world).rename(world.base / "elsewhere.db")
    with world.open() as checkpoints:
        checkpoints.create("none")
        (world.base / "elsewhere.db").rename(path_of(world))
        with client(world), pytest.raises(HostError, match="in use"):
            checkpoints.restore("none", "it", step="s")
        done = checkpoints.restore("none", "it", step="s")
    assert walked(world.root).keys() == {b"."}
    names = kept(world)
    assert opened(world, names) == 40
    assert done.kept[0].endswith(names[0])


def test_a_database_that_stays_locked_is_missing_in_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying it has a limit: the checkpoint is PARTIAL, or byte by byte, and never waits for ever."""
    monkeypatch.setattr(sqlite, "COPY_S", 0.3)
    with client(world, "begin exclusive"), world.open() as checkpoints:
        made = checkpoints.create("locked", allow_partial=True)
        assert made.missing or "locked" in made.damage[0]
