"""Two databases row by row: judged by comparing in Python what SELECT gives."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rollback.host import database
from rollback.model.errors import HostError

SHAPES = (
    "k {type} primary key, v, w text collate nocase",
    "k integer primary key, v, w text collate nocase",
    "k {type} primary key, v, w text collate nocase) without rowid --",
)
VALUES = (None, 1, 1.0, "1", b"1", "a", "A", "a\0b", "a\0c", "", b"", 0.5)
PAIRS = dict(enumerate(itertools.product(VALUES, VALUES)))


def made(path: Path, shape: str, rows: dict[int, tuple[object, ...]]) -> str:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f'create table "odd ""name" ({shape})' if "--" not in shape
                   else f'create table "odd ""name" ({shape}\n')  # fmt: skip
        db.executemany('insert into "odd ""name" values (?, ?, ?)',
                       [(key, *rest) for key, rest in rows.items()])  # fmt: skip
        db.commit()
    return str(path)


def seen(path: str) -> set[object]:
    """Each row with the types of its values: 1, 1.0 and '1' are three."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute('select k, v, w, typeof(v), typeof(w) from "odd ""name"').fetchall()
    return set(rows)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("key", ["", "text"])
def test_rows_that_only_one_of_two_databases_holds_are_counted(
    shape: str, key: str, tmp_path: Path
) -> None:
    """Each value against each other one, whatever the key and the collation; and rows of one alone."""
    now = {at: (one, "a") for at, (one, _) in PAIRS.items()} | {1000: (1, "alone")}
    then = {at: (other, "a") for at, (_, other) in PAIRS.items()}
    now |= {at + 200: (1, one) for at, (one, _) in PAIRS.items()}
    then |= {at + 200: (1, other) for at, (_, other) in PAIRS.items()}
    one = made(tmp_path / "one", shape.format(type=key), now)
    two = made(tmp_path / "two", shape.format(type=key), then)
    here, there = seen(one), seen(two)
    assert len(here - there) > 200
    assert database.differing(one, two) == {
        'odd "name': (len(here - there), len(there - here))}  # fmt: skip


def test_rows_without_a_key_are_told_apart_by_their_row_id(tmp_path: Path) -> None:
    """Two equal rows are two; a column that is called rowid is a column."""
    for name, rows in (("one", [(1, 2), (1, 2), (3, 4)]), ("two", [(1, 2), (9, 9)])):
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.execute("create table t (rowid, a)")
            db.executemany("insert into t values (?, ?)", rows)
            db.commit()
    assert database.differing(str(tmp_path / "one"), str(tmp_path / "two")) == {"t": (2, 1)}


def test_what_cannot_be_compared_is_left_out_or_an_error(tmp_path: Path) -> None:
    """Other columns, a table of one of them only; a file that is no database."""
    for name, sql in (("one", "create table a (x); create table b (x); create table c (x)"),
                      ("two", "create table a (x, y); create table c (x)")):  # fmt: skip
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.executescript(sql)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert database.differing(one, two) == {"c": (0, 0)}
    (tmp_path / "two").write_text("no database at all, and long enough to be looked at" * 40)
    with pytest.raises(HostError, match="cannot be compared"):
        database.differing(one, two)
