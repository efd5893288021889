"""SQLite, the one database that needs no server: read, copied while in use, checked.

Hides: sqlite3.
Never: writes into a database that is not a copy of ours.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from rollback.host.tap import Tap
from rollback.model.errors import HostError

Value = None | int | float | str | bytes
ROWS_MAX = 10_000
_STEP_BYTES = 16 * 2**20  # copied at once
_ASK_S = 0.25  # at most without a word, while somebody keeps a database locked
BESIDE = (b"-journal", b"-wal", b"-shm")  # the endings of what SQLite leaves beside a database


def _read_only(path: str, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=timeout_s)


def query(path: str, sql: str, *, timeout_s: float = 5.0) -> list[tuple[Value, ...]]:
    """The rows that a read-only query gives, at most ROWS_MAX. Raises: HostError."""
    try:
        with closing(_read_only(path, timeout_s)) as connection:
            return connection.execute(sql).fetchmany(ROWS_MAX)
    except sqlite3.Error as error:
        raise HostError(f"the database does not answer: {error}", where=path) from error


def integrity(path: str, *, timeout_s: float = 30.0) -> str:
    """`ok`, or what SQLite finds wrong."""
    rows = query(path, "pragma integrity_check", timeout_s=timeout_s)
    return "; ".join(str(row[0]) for row in rows[:5])


def copy(
    source: str, target: str, *, timeout_s: float = 60.0, tap: Tap,
    heard: Callable[[int, int], None] = lambda _done, _total: None,
    waits: Callable[[float], None] = lambda _waited_s: None,
) -> None:  # fmt: skip
    """`target` is one consistent moment of `source`, which may be in use meanwhile.

    `heard` is told how many bytes are copied, and of how many; `waits` how long somebody has kept it
    locked by now. Raises: HostError, also when that lasts for longer; then there is no `target`.
    """

    def backup() -> None:
        with closing(_read_only(source, timeout_s)) as old, closing(sqlite3.connect(target)) as new:
            old.execute("begin")  # copying by itself would wait for a lock without a limit
            _begin_to_read(old, timeout_s, waits)
            ((page,),) = old.execute("pragma page_size").fetchall()
            old.backup(new, pages=max(1, _STEP_BYTES // page), progress=lambda _, left, pages: heard(
                (pages - left) * page, pages * page))  # fmt: skip
            new.execute("pragma journal_mode=delete")

    try:
        tap.change("sqlite-backup", target, backup)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            tap.change("unlink", target, lambda: Path(target).unlink(missing_ok=True))
        raise HostError(f"the database cannot be copied: {error}", where=source) from error


def _begin_to_read(
    db: sqlite3.Connection, timeout_s: float, waits: Callable[[float], None]
) -> None:
    """Nobody keeps the database locked, or has for all that time: then it is an error as ever."""
    began_s = time.monotonic()
    while True:
        asked_s = time.monotonic()
        part_s = max(0.0, min(_ASK_S, began_s + timeout_s - asked_s))
        db.execute(f"pragma busy_timeout = {round(1000 * part_s)}")
        try:
            db.execute("select 1 from sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            asked_for_s = time.monotonic() - asked_s  # what is refused at once is not waited for
            if not busy or part_s < _ASK_S or asked_for_s < part_s / 2:
                raise
            waits(time.monotonic() - began_s)
        else:
            db.execute(f"pragma busy_timeout = {round(1000 * timeout_s)}")
            return


def tables(path: str, *, timeout_s: float = 30.0) -> dict[str, int]:
    """How many rows each table holds. Raises: HostError."""
    found = query(
        path, "select name from sqlite_master where type = 'table' order by name",
        timeout_s=timeout_s,
    )  # fmt: skip
    counts: dict[str, int] = {}
    for (name,) in found:
        quoted = str(name).replace('"', '""')
        ((rows,),) = query(path, f'select count(*) from "{quoted}"', timeout_s=timeout_s)  # noqa: S608
        assert isinstance(rows, int)
        counts[str(name)] = rows
    return counts


def differing(path: str, other: str, *, timeout_s: float = 30.0) -> dict[str, tuple[int, int]]:
    """By table of both that has the same columns: the rows that only `path` holds so, and only `other`.

    A row is known by its primary key, else by its row id. Raises: HostError.
    """
    found: dict[str, tuple[int, int]] = {}
    try:
        with closing(_read_only(path, timeout_s)) as db:
            db.execute("attach ? as other", (f"file:{quote(other)}?mode=ro",))
            shapes = [
                {str(name): db.execute(f"pragma {side}.table_info({_name(str(name))})").fetchall()
                 for (name,) in db.execute(f"select name from {side}.sqlite_master where type = 'table'")}  # noqa: S608
                for side in ("main", "other")
            ]  # fmt: skip
            for table in sorted(shapes[0].keys() & shapes[1].keys()):
                columns = [[row[1:] for row in shape[table]] for shape in shapes]
                if columns[0] == columns[1] and columns[0]:
                    sides = (("main", "other"), ("other", "main"))
                    one, two = (_only_in(db, table, shapes[0][table], *side) for side in sides)
                    found[table] = (one, two)
    except sqlite3.Error as error:
        raise HostError(f"the databases cannot be compared: {error}", where=path) from error
    return found


def _only_in(
    db: sqlite3.Connection, table: str, columns: list[tuple[Value, ...]], here: str, there: str
) -> int:
    names = [_name(str(row[1])) for row in columns]
    hidden = [
        n for n in ("rowid", "_rowid_", "oid") if n not in {str(r[1]).lower() for r in columns}
    ]
    keys = [_name(str(row[1])) for row in columns if row[5]] or hidden[:1]
    if not keys:
        raise sqlite3.ProgrammingError(f"nothing tells the rows of {table} apart")
    same = " and ".join(f"a.{key} is b.{key}" for key in keys)
    other = " or ".join(
        f"a.{name} is not b.{name} collate binary or typeof(a.{name}) <> typeof(b.{name})"
        for name in names
    )
    ((count,),) = db.execute(
        f"select count(*) from {here}.{_name(table)} a left join {there}.{_name(table)} b "  # noqa: S608
        f"on {same} where {other}"
    ).fetchall()
    assert isinstance(count, int)
    return count


Edit = tuple[str, str, object, bool]  # table, key, columns by name, whether the row is gone


def change(path: str, edits: list[Edit], *, column: str, tap: Tap) -> list[tuple[int, str]]:
    """The rows of a copy of ours are as the edits leave them; which edits are none, and why.

    `column` holds the key. Tables and columns that are not there come into being. Raises: HostError.
    """
    refused: list[tuple[int, str]] = []

    def write() -> None:
        with closing(sqlite3.connect(path)) as db, db:
            shape: dict[str, set[str]] = {}
            for at, edit in enumerate(edits):
                why = _refused(edit) or _edited(db, shape, edit, column)
                if why:
                    refused.append((at, why))

    try:
        tap.change("sqlite-change", path, write)
    except sqlite3.Error as error:
        raise HostError(f"the copy cannot be changed: {error}", where=path) from error
    return refused


def _refused(edit: Edit) -> str:
    table, _, value, gone = edit
    if not table or table.startswith("sqlite_"):
        return "it names no table"
    if not gone and not isinstance(value, dict):
        return "its value is no row"
    return ""


def _edited(db: sqlite3.Connection, shape: dict[str, set[str]], edit: Edit, column: str) -> str:
    table, key, value, gone = edit
    if not shape.get(table):
        if not gone:
            db.execute(f"create table if not exists {_name(table)} ({_name(column)} primary key)")
        found = db.execute(f"pragma table_info({_name(table)})").fetchall()
        shape[table] = {str(row[1]) for row in found}
    if column not in shape[table]:
        return "" if gone and not shape[table] else f"{table} has no column {column}"
    where = f"{_name(column)} = ? or {_name(column)} = cast(? as integer) and ? = cast(cast(? as integer) as text)"  # noqa: E501
    keys = (key, key, key, key)
    if gone:
        db.execute(f"delete from {_name(table)} where {where}", keys)  # noqa: S608
        return ""
    assert isinstance(value, dict)
    row = {str(name): _stored(one) for name, one in value.items() if name != column}
    for name in row.keys() - shape[table]:
        db.execute(f"alter table {_name(table)} add column {_name(name)}")
        shape[table].add(name)
    given = value.get(column, int(key) if key.isdecimal() and str(int(key)) == key else key)
    try:
        if not db.execute(f"select 1 from {_name(table)} where {where}", keys).fetchone():  # noqa: S608
            row = {column: given, **row}
            marks = ", ".join("?" * len(row))
            db.execute(f"insert into {_name(table)} ({', '.join(map(_name, row))}) values ({marks})",  # noqa: S608
                       tuple(row.values()))  # fmt: skip
        elif row:
            sets = ", ".join(f"{_name(name)} = ?" for name in row)
            db.execute(f"update {_name(table)} set {sets} where {where}",  # noqa: S608
                       (*row.values(), *keys))  # fmt: skip
    except sqlite3.IntegrityError as error:
        return f"the database refuses it: {error}"
    return ""


def _stored(value: object) -> Value:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return value  # type: ignore[return-value]


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def items(path: str, *, timeout_s: float = 30.0) -> dict[str, str]:
    """The digest of each row by table and primary key; without one, of how often each row is there.

    Raises: HostError.
    """
    found: dict[str, str] = {}
    try:
        with closing(_read_only(path, timeout_s)) as db:
            names = db.execute("select name from sqlite_master where type = 'table' "
                               "and name not like 'sqlite\\_%' escape '\\' order by name")  # fmt: skip
            for (table,) in names.fetchall():
                info = db.execute(f"pragma table_info({_name(table)})").fetchall()
                keys = [at for at, row in enumerate(info) if row[5]]
                columns = [str(row[1]) for row in info]
                for row in db.execute(f"select * from {_name(table)}"):  # noqa: S608
                    held = {
                        n: _spelled(v) for n, v in zip(columns, row, strict=True) if v is not None
                    }
                    digest = hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
                    if keys:
                        key = json.dumps([_spelled(row[at]) for at in keys])
                        found[f"{table}{key}"] = digest
                    else:
                        name = f"{table}[{digest[:16]}]"
                        found[name] = str(int(found.get(name, "0")) + 1)
    except sqlite3.Error as error:
        raise HostError(f"the database does not answer: {error}", where=path) from error
    return found


def _spelled(value: Value) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
