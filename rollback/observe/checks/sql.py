"""What a query of a SQLite database gives, and whether the database is whole.

Hides: that it is opened read-only.
Never: takes a busy database for a broken one.
"""

from __future__ import annotations

from pydantic import model_validator

from rollback.host import database
from rollback.model.component import RelativePath
from rollback.model.errors import HostError
from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.quantity import Limit
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.expect import Bound, JsonValue, combined, is_number, shown
from rollback.observe.place import size_bytes
from rollback.observe.view import View

_LIMITS = ("above", "below", "at_least", "at_most", "equals")
_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


@register("check", "sql")
class Sql(Check):
    """The first column of the first row; without limits the query only has to answer."""

    database: RelativePath
    query: Text | None = None
    integrity: bool = False
    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: JsonValue = None

    @model_validator(mode="after")
    def _asks_something(self) -> Sql:
        if self.query is None and not self.integrity:
            raise ValueError("nothing is asked; write query: or integrity: true")
        if self.query is None and self._limits():
            raise ValueError("limits are about what a query gives; write query:")
        return self

    def _limits(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in _LIMITS if name in self.model_fields_set}

    def ask(self, view: View) -> Finding:
        """PASS when the database is whole and gives what is declared."""
        if size_bytes(view, self.database) is None:
            return failed(f"{self.database} is missing")
        path = str(view.root / self.database)
        findings = []
        try:
            if self.integrity:
                findings.append(self._whole(path))
            if self.query is not None:
                findings.append(self._gives(path, self.query))
        except HostError as error:
            code = str(getattr(error.__cause__, "sqlite_errorname", ""))
            told = f"{self.database}: {shown(error.message)}"
            return failed(told) if code.startswith(_BROKEN) else unknown(told)
        return combined(findings)

    def read_value(self, view: View) -> bool | int | float | str | None:
        """What the query gives. Raises: HostError."""
        rows = database.query(
            str(view.root / self.database), self.query or "", timeout_s=self.within
        )
        value = rows[0][0] if rows else None
        return value.hex() if isinstance(value, bytes) else value

    def _whole(self, path: str) -> Finding:
        said = database.integrity(path, timeout_s=self.within)
        if said == "ok":
            return passed(f"{self.database} is whole")
        return failed(f"{self.database} is damaged: {shown(said)}")

    def _gives(self, path: str, query: str) -> Finding:
        rows = database.query(path, query, timeout_s=self.within)
        if not rows:
            return failed("the query gives no row") if self._limits() else passed("no row")
        value = rows[0][0]
        if isinstance(value, bytes):
            value = value.hex()
        details = {"value": value} if is_number(value) else {}
        reason = Bound.model_validate(self._limits()).why_not(value) if self._limits() else ""
        if reason:
            return failed(f"the query gives {shown(value)}: {reason}", **details)
        return passed(f"the query gives {shown(value)}", **details)
