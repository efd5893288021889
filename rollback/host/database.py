"""SQLite, the one database that needs no server: read, copied while in use, checked.

Hides: sqlite3.
Never: writes into a database that is not a copy of ours.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from rollback.host.tap import Tap
from rollback.model.errors import HostError

Value = None | int | float | str | bytes
ROWS_MAX = 10_000


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


def copy(source: str, target: str, *, timeout_s: float = 60.0, tap: Tap) -> None:
    """`target` is one consistent moment of `source`, which may be in use meanwhile.

    Raises: HostError; then there is no `target`.
    """

    def backup() -> None:
        with closing(_read_only(source, timeout_s)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
            new.execute("pragma journal_mode=delete")

    try:
        tap.change("sqlite-backup", target, backup)
    except (sqlite3.Error, OSError) as error:
        with suppress(OSError):
            tap.change("unlink", target, lambda: Path(target).unlink(missing_ok=True))
        raise HostError(f"the database cannot be copied: {error}", where=source) from error


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
