"""Faults that nobody picked: every component of a sandbox meets every way in which its kind can be broken.

What there is comes from the declaration and from the files that are there; which files of a large component
are taken, from their size. So a check that looks at one place by luck does not make a gate look strong.

Hides: how a fault is done to bytes, a database, a process.
Never: touches what is not below the root of the sandbox; heals: who plants puts the tree back.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drills.faults.watchdog import end_holders, holders, pinned
from drills.sandboxes.studio import Studio
from rollback.model.component import Component
from rollback.model.system import System

FILES_MAX = 3  # of one component: its largest ones
_NOT = ("__pycache__", ".git")


@dataclass(frozen=True)
class Sabotage:
    """One fault: in which family, of what, and how it is done. `running`: to what runs, not to what lies."""

    family: str
    target: str
    do: Callable[[], object]
    running: bool = False

    @property
    def id(self) -> str:
        """`family target`."""
        return f"{self.family} {self.target}"


def generated(studio: Studio, system: System) -> list[Sabotage]:
    """Every sabotage of this sandbox, in the order of the declaration."""
    found: list[Sabotage] = []
    for name, component in system.components.items():
        found += _component(studio.root / component.path, name, component)
    for name, service in system.services.items():
        lock = studio.root / str(service.lock)
        found += [
            Sabotage("killed", f"service {name}", partial(end_holders, lock), True),
            Sabotage("frozen", f"service {name}", partial(_freeze, lock), True),
        ]
    return found


def _component(path: Path, name: str, component: Component) -> Iterator[Sabotage]:
    if component.content == "sqlite":
        yield from _database(path, name)
    elif path.is_dir():
        for file in _largest(path):
            yield from _file(file, f"{name}/{file.relative_to(path)}")
        yield Sabotage("gone", name, lambda: shutil.rmtree(path))
        for folder in sorted(
            one for one in path.iterdir() if one.is_dir() and one.name not in _NOT
        ):
            stray = folder / "zz.json"
            yield Sabotage("garbage", f"{name}/{folder.name}", partial(stray.write_text, "{"))
    else:
        yield from _file(path, name)


def _largest(path: Path) -> list[Path]:
    files = [one for one in path.rglob("*") if one.is_file() and not set(_NOT) & set(one.parts)]
    return sorted(files, key=lambda one: (-one.stat().st_size, str(one)))[:FILES_MAX]


def _file(file: Path, name: str) -> Iterator[Sabotage]:
    def write(change: Callable[[bytes], bytes]) -> Callable[[], object]:
        return lambda: file.write_bytes(change(file.read_bytes()))

    yield Sabotage("lost", name, file.unlink)
    if not file.stat().st_size:
        return  # nothing of it can be wrong
    yield Sabotage("emptied", name, write(lambda _data: b""))
    yield Sabotage("cut", name, write(lambda data: data[: len(data) // 2]))
    yield Sabotage("flipped", name, write(_flipped))
    yield Sabotage("foreign", name, write(lambda data: bytes(reversed(data))))


def _flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _database(path: Path, name: str) -> Iterator[Sabotage]:
    yield Sabotage("lost", name, path.unlink)
    yield Sabotage("emptied", name, partial(path.write_bytes, b""))
    yield Sabotage("header", name, lambda: _overwrite(path, 0, b"\0" * 64))
    yield Sabotage("page", name, lambda: _overwrite(path, path.stat().st_size // 2, b"\xff" * 256))
    for table, column in _tables(path).items():
        yield Sabotage("dropped", f"{name}/{table}", partial(_run, path, f"drop table {table}"))
        if column:
            altered = f"update {table} set {column} = 'x' || coalesce({column}, '')"
            yield Sabotage(
                "cleared", f"{name}/{table}", partial(_run, path, f"delete from {table}")
            )
            yield Sabotage("altered", f"{name}/{table}", partial(_run, path, altered))


def _tables(path: Path) -> dict[str, str]:
    """Each table with its last column; "" for one without rows, of which nothing can be altered."""
    with closing(sqlite3.connect(path)) as db:
        names = [str(row[0]) for row in db.execute(
            "select name from sqlite_master where type = 'table' and name not like 'sqlite_%' order by 1"
        )]  # fmt: skip
        return {
            name: str(db.execute(f"pragma table_info({name})").fetchall()[-1][1])
            if db.execute(f"select 1 from {name} limit 1").fetchone() else ""
            for name in names
        }  # fmt: skip


def _run(path: Path, said: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(said)


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def _freeze(lock: Path) -> None:
    for pid in holders(lock):
        with pinned(pid, lock) as pidfd:
            if pidfd >= 0:
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)


def thaw(root: Path) -> None:
    """Whoever was frozen in this sandbox goes on, so that it can be stopped."""
    for lock in sorted((root / "run").glob("*.lock")):
        for pid in holders(lock):
            with pinned(pid, lock) as pidfd:
                if pidfd >= 0:
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)


def put_back(root: Path, kept: Path) -> None:
    """Every path of the tree is as it was kept, and nothing else is there."""
    for one in os.scandir(root):
        shutil.rmtree(one.path) if one.is_dir(follow_symlinks=False) else os.unlink(one.path)
    shutil.copytree(kept, root, symlinks=True, dirs_exist_ok=True)
