"""Our own kinds of content, each on an example of its use; a PostgreSQL database needs a server.

Hides: what is captured.
Never: holds a contract.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

from rollback.conformance.example import Example
from rollback.conformance.world import World

Spoil = Callable[[World], object]


def _tree(world: World) -> None:
    folder = world.root / "it" / "deep"
    folder.mkdir(parents=True)
    (world.root / "it" / "text").write_text("text\n")
    (folder / "more").write_bytes(bytes(range(256)))
    (world.root / "it" / "link").symlink_to("deep/more")


def _changed(world: World) -> None:
    (world.root / "it" / "text").write_text("another\n")


def _lost(world: World) -> None:
    (world.root / "it" / "deep" / "more").unlink()


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


def _trail(text: str) -> Spoil:
    return lambda world: (world.root / "it").write_text(text)


def _of(content: str, prepare: Spoil, spoils: dict[str, Spoil], **more: Any) -> tuple[Example, ...]:
    sections: dict[str, Any] = {"components": {"it": {"path": "it", "content": content}}}
    if content == "git":
        sections["repository"] = {"path": ".", "branch": "main"}
    return (Example(sections=sections, prepare=prepare, spoils=spoils, **more),)


_TREES: dict[str, Spoil] = {"changed": _changed, "lost": _lost, "added": _added}
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "files": _of("files", _tree, _TREES),
    "git": _of("git", _tree, _TREES),
    "sqlite": _of("sqlite", _database("create table t (a integer, b text)",
                                      "insert into t values (1, 'x'), (2, 'y')"),
                  {"a row changed": _database("update t set b = 'z' where a = 1"),
                   "a row lost": _database("delete from t where a = 2"),
                   "a row added": _database("insert into t values (3, 'z')")}, seen=_rows),
    "append-only": _of("append-only", _trail("one\ntwo\n"),
                       {"cut": _trail("one\n"), "rewritten": _trail("one\nTWO\n")}),
}  # fmt: skip
