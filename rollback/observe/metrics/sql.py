"""A number from a query of a SQLite database.

Hides: that it is opened read-only.
Never: takes an empty result for zero.
"""

from __future__ import annotations

from rollback.host import database
from rollback.model.component import RelativePath
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting
from rollback.model.registry import register
from rollback.model.step import MetricSource, Text
from rollback.observe.expect import is_number, shown
from rollback.observe.metric import no_number, number
from rollback.observe.place import size_bytes
from rollback.observe.view import View


@register("metric", "sql")
class Sql(MetricSource):
    """The first column of the first row."""

    database: RelativePath
    query: Text
    within: Lasting = 10.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number; UNKNOWN when the query fails, or gives no row or no number."""
        if size_bytes(view, self.database) is None:
            return no_number(view, declared, f"{self.database}: there is no such file")
        path = str(view.root / self.database)
        rows = database.query(path, self.query, timeout_s=self.within)
        if not rows:
            return no_number(view, declared, "the query gives no row")
        value = rows[0][0]
        if isinstance(value, bytes) or not is_number(value):
            return no_number(view, declared, f"the query gives {shown(value)}, no number")
        return number(view, declared, float(value), count=1)  # type: ignore[arg-type]
