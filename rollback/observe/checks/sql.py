"""What a query of a database gives, and whether the database is whole.

Hides: that nothing can be written meanwhile, in SQLite as in PostgreSQL.
Never: takes a busy database for a broken one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import model_validator

from rollback.host import database
from rollback.host.postgres import Server
from rollback.model.component import RelativePath
from rollback.model.errors import HostError
from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.quantity import Limit
from rollback.model.registry import register
from rollback.model.step import Check, Id, Text
from rollback.observe.check import ANY_UNIT
from rollback.observe.expect import Bound, JsonValue, combined, is_number, shown
from rollback.observe.place import size_bytes
from rollback.observe.view import View

_LIMITS = ("above", "below", "at_least", "at_most", "equals")
_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


@register("check", "sql")
class Sql(Check):
    """The first column of the first row; without limits the query only has to give something.

    `database` is a file of SQLite, `component` one that is declared as `sqlite` or `postgres`.
    """

    database: RelativePath | None = None
    component: Id | None = None
    query: Text | None = None
    integrity: bool = False
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: JsonValue = None

    @model_validator(mode="after")
    def _asks_something(self) -> Sql:
        if (self.database is None) == (self.component is None):
            raise ValueError("write one of: database (a file of SQLite), component")
        if self.query is None and not self.integrity:
            raise ValueError("nothing is asked; write query: or integrity: true")
        if self.query is None and self._limits():
            raise ValueError("limits are about what a query gives; write query:")
        return self

    def _limits(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in _LIMITS if name in self.model_fields_set}

    @property
    def measures(self) -> Mapping[str, str]:
        """What the query gives."""
        return {ANY_UNIT: "value"} if self.query is not None else {}

    def ask(self, view: View) -> Finding:
        """PASS when the database is whole and gives what is declared."""
        findings = []
        name = self.component or self.database
        try:
            kept = _database(view, self.component, self.database or "")
            if self.integrity:
                findings.append(_whole(kept, str(name), self.within))
            if self.query is not None:
                findings.append(self._gives(kept.ask(self.query, self.within)))
        except FileNotFoundError:
            return failed(f"{self.database or self.component} is missing")
        except HostError as error:
            code = str(getattr(error.__cause__, "sqlite_errorname", ""))
            told = f"{name}: {shown(error.message)}"
            return failed(told) if code.startswith(_BROKEN) else unknown(told)
        return combined(findings)

    def read_value(self, view: View) -> Value:
        """What the query gives. Raises: HostError, FileNotFoundError."""
        kept = _database(view, self.component, self.database or "")
        rows = kept.ask(self.query or "", self.within)
        if not rows:
            raise HostError("the query gives no row")
        return _plain(rows[0])

    def _gives(self, rows: Sequence[object]) -> Finding:
        if not rows:
            return failed("the query gives no row")
        value = _plain(rows[0])
        if value is None and not self._limits():
            return failed("the query gives null; write equals: null if that is right")
        details = {"value": value} if is_number(value) else {}
        limits = Bound.model_validate(self._limits())
        if self._limits() and (reason := limits.why_not(value)):
            finding = failed(f"the query gives {shown(value)}: {reason}", **details)
            return finding.beyond(limits.broken("the query", value))
        return passed(f"the query gives {shown(value)}", **details)


Value = bool | int | float | str | None


def _plain(value: object) -> Value:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


class _Sqlite:
    def __init__(self, path: str) -> None:
        self.path = path

    def ask(self, query: str, timeout_s: float) -> Sequence[object]:
        """The first column of every row."""
        return [row[0] for row in database.query(self.path, query, timeout_s=timeout_s)]


class _Postgres:
    def __init__(self, server: Server) -> None:
        self._server = server

    def ask(self, query: str, timeout_s: float) -> Sequence[object]:
        """The first column of every row."""
        rows = self._server.look(query, timeout_s=timeout_s)
        return [next(iter(row.values()), None) for row in rows]


def _database(view: View, component: str | None, path: str) -> _Sqlite | _Postgres:
    """Who is asked. Raises: FileNotFoundError, HostError."""
    if component is not None:
        declared = view.system.components.get(component)
        if declared is None or declared.content not in ("sqlite", "postgres"):
            raise HostError("it is not declared as a database",
                            hint="content: sqlite, or content: postgres")  # fmt: skip
        if declared.database is not None:
            folder = str(view.system.declaration.parent)
            return _Postgres(Server.of(declared.database, folder=folder, tap=view.host.tap))
        path = declared.path
    if size_bytes(view, path) is None:
        raise FileNotFoundError(path)
    return _Sqlite(str(view.root / path))


def _whole(kept: _Sqlite | _Postgres, name: str, timeout_s: float) -> Finding:
    if isinstance(kept, _Postgres):
        return unknown(f"{name}: PostgreSQL cannot be asked whether it is whole; write a query")
    if not kept.ask("select count(*) from sqlite_master", timeout_s)[0]:
        return failed(f"{name} holds nothing: not even a table")
    said = database.integrity(kept.path, timeout_s=timeout_s)
    if said == "ok":
        return passed(f"{name} is whole")
    return failed(f"{name} is damaged: {shown(said)}")
