"""A number from a question in SQL about a log or a table in a file, a GiB in seconds.

Hides: which part of the file the question sees.
Never: takes no row, or NULL, for zero.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from rollback.host import tables
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting, Seconds
from rollback.model.registry import register
from rollback.model.step import MetricSource, Text
from rollback.observe.expect import is_number, shown
from rollback.observe.lines import SKEW
from rollback.observe.metric import no_number, number
from rollback.observe.place import Place, opened
from rollback.observe.view import View


@register("metric", "query")
class Query(MetricSource):
    """The first column of the only row; a second one says on how many readings it rests.

    The file (JSON lines, CSV or Parquet, by the end of its name) is the table `log`, of which the
    question sees the rows of the metric's window, or the `newest` so many, by the column `time`.
    Rows without a readable time are not seen; without `time` (null) every row is.
    """

    file: Place
    sql: Text
    time: Text | None = "at"
    window: Seconds | None = None
    newest: Annotated[int, Field(ge=1, le=10**9)] | None = None
    within: Lasting = 30.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number; UNKNOWN when the question fails, or gives anything but one row with a number."""
        now = view.host.clock.now()
        window_s = self.window if self.window is not None else declared.window
        since = now - timedelta(seconds=window_s) if window_s is not None else None
        with opened(view, self.file) as (tree, name), tree.reading(name) as file:
            rows = tables.query(
                file.fd, os.fsdecode(name), self.sql, time=self.time, since=since, until=now + SKEW,
                newest=self.newest, timeout_s=self.within,
            )  # fmt: skip
        if len(rows) != 1:
            return no_number(
                view, declared, "the question gives " + ("no row" if not rows else "several rows")
            )
        value, *more = rows[0]
        count = more[0] if more else 1
        if not is_number(count):
            return no_number(
                view, declared, f"the second column is {shown(count)}, no number of readings"
            )
        if not is_number(value):
            said = "NULL" if value is None else shown(str(value))
            return no_number(
                view, declared, f"the question gives {said}, no number", count=int(count)
            )
        return number(view, declared, float(value), count=int(count))
