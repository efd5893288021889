"""Our own kinds of content, each on an example of its use.

Hides: what is captured.
Never: holds a contract.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from rollback.conformance.example import Example
from rollback.conformance.world import World
from tests.conformance.examples.servers import environ, postgres
from tests.conformance.examples.spoils import Spoil, gone, writes
from tests.keep.postgres_lab import PASSWORD


def _tree(world: World) -> None:
    folder = world.root / "it" / "deep"
    folder.mkdir(parents=True)
    (world.root / "it" / "text").write_text("text\n")
    (folder / "more").write_bytes(bytes(range(256)))
    (world.root / "it" / "link").symlink_to("deep/more")


def _added(world: World) -> None:
    (world.root / "it" / "new").mkdir()
    (world.root / "it" / "new" / "file").write_text("new")


def _database(*statements: str) -> Spoil:
    def do(world: World) -> None:
        with closing(sqlite3.connect(world.root / "it")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return do


def _rows(world: World) -> list[Any]:
    with closing(sqlite3.connect(world.root / "it")) as database:
        return database.execute("select a, b from t order by a").fetchall()


def _declared(world: World) -> dict[str, Any]:
    lab = postgres()
    database = {"name": "contract", "host": "127.0.0.1", "port": lab.port, "user": "env:LAB_USER",
                "password": "env:LAB_PASSWORD", "programs": str(lab.programs),
                "drain_within": "1s"}  # fmt: skip
    return {"components": {"it": {"path": "it", "content": "postgres", "database": database}}}


def _tables(world: World) -> None:
    environ(world, LAB_USER="postgres", LAB_PASSWORD=PASSWORD)
    server = postgres().server("postgres")
    server.do("drop database if exists contract")
    server.do("create database contract")
    for statement in ("create table t (a integer primary key, b text)", _FILLED):
        _served(statement)(world)


def _served(statement: str) -> Spoil:
    return lambda _world: postgres().server("contract").do(statement)


def _of(content: str, prepare: Spoil, spoils: dict[str, Spoil], **more: Any) -> tuple[Example, ...]:
    sections: dict[str, Any] = {"components": {"it": {"path": "it", "content": content}}}
    if content == "git":
        sections["repository"] = {"path": ".", "branch": "main"}
    return (Example(sections=sections, prepare=prepare, spoils=spoils, **more),)


_FILLED = "insert into t values (1, 'x'), (2, 'y')"
_TREES: dict[str, Spoil] = {"changed": writes("it/text", "another\n"), "lost": gone("it/deep/more"),
                            "added": _added}  # fmt: skip
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "files": _of("files", _tree, _TREES),
    "git": _of("git", _tree, _TREES),
    "sqlite": _of("sqlite", _database("create table t (a integer, b text)", _FILLED),
                  {"a row changed": _database("update t set b = 'z' where a = 1"),
                   "a row lost": _database("delete from t where a = 2"),
                   "a row added": _database("insert into t values (3, 'z')")}, seen=_rows),
    "postgres": (Example(
        sections=_declared, prepare=_tables,
        spoils={"a row changed": _served("update t set b = 'z' where a = 1"),
                "a row lost": _served("delete from t where a = 2")},
        seen=lambda _world: postgres().server("contract").ask("select a, b from t order by a")),),
    "append-only": _of("append-only", writes("it", "one\ntwo\n"),
                       {"cut": writes("it", "one\n"), "rewritten": writes("it", "one\nTWO\n")}),
}  # fmt: skip
