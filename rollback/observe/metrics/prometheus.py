"""A number from a Prometheus server: one instant query, and how many readings it rests on; and past ones.

Hides: the HTTP API, vectors, scalars and ranges, and how old an answer is.
Never: takes an empty answer for zero; picks one of several series by itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

from rollback.model.errors import HostUnreachable
from rollback.model.finding import Json, Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting, Seconds, spoken
from rollback.model.registry import register
from rollback.model.step import MetricSource, Text
from rollback.observe.expect import shown
from rollback.observe.metric import no_number, number
from rollback.observe.view import View
from rollback.observe.web import Url, fetch, json_of

_VALUE = re.compile(r"[-+]?(Inf|NaN|[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?)\Z", re.ASCII | re.IGNORECASE)
_NAMES = {"query": "an instant query", "query_range": "a query over a range"}
_COUNTING = "how many readings there are"
_POINTS_MAX = 10_000  # a server gives at most 11,000 points of a series at once
SKEW_S = 30.0  # clocks of two machines; a reading of the future is none
_PICK: dict[str, Any] = {"max": max, "min": min, "sum": sum}


@register("metric", "prometheus")
class Prometheus(MetricSource):
    """`query` at the server's `url`; `of` says which of several series counts.

    `count` is a query for how many readings the number rests on, compared with `min_samples`.
    A reading that is older than `fresh` is UNKNOWN: the server repeats the last one for five minutes.
    """

    url: Url
    query: Text
    of: Literal["max", "min", "sum"] | None = None
    count: Text | None = None
    fresh: Seconds = 300.0
    within: Lasting = 10.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number; UNKNOWN when the query fails, is empty, ambiguous, stale or no number."""
        counted = 1
        if self.count is not None:
            counts = self._ask(self.count)
            if isinstance(counts, str):
                return no_number(view, declared, f"{_COUNTING}: {counts}")
            found = self._counted([value for _, value in counts])
            if isinstance(found, str):
                return no_number(view, declared, found)
            counted = found
        series = self._ask(self.query)
        if isinstance(series, str):
            return no_number(view, declared, series, count=counted)
        age_s = view.host.clock.now().timestamp() - min((at for at, _ in series), default=0.0)
        if (len(series) == 1 or (self.of and series)) and (age_s > self.fresh or age_s < -SKEW_S):
            said = f"{spoken(age_s)} old" if age_s > 0 else f"{spoken(-age_s)} in the future"
            return no_number(view, declared, f"the reading is {said}", count=counted)
        return self._one(view, declared, [value for _, value in series], counted)

    def recall(
        self, view: View, declared: MetricDeclared, moments: Sequence[datetime]
    ) -> Sequence[Sample]:
        """The number at each moment, as the server would have answered then; UNKNOWN where it has none.

        It repeats a reading for five minutes, also here. Raises: HostUnreachable when it does not answer,
        or not to this query.
        """
        values = self._past(self.query, moments)
        counts = self._past(self.count, moments) if self.count is not None else None
        found = []
        for place, of_all in enumerate(values):
            counted = self._counted(counts[place]) if counts is not None else 1
            found.append(
                no_number(view, declared, counted) if isinstance(counted, str)
                else self._one(view, declared, of_all, counted)
            )  # fmt: skip
        return found

    def _counted(self, counts: list[float]) -> int | str:
        """How many readings a number rests on; or why nobody can say."""
        if len(counts) != 1:
            return f"{_COUNTING}: {len(counts)} series"
        return int(counts[0]) if math.isfinite(counts[0]) else 0

    def _one(
        self, view: View, declared: MetricDeclared, values: list[float], counted: int
    ) -> Sample:
        """The number that these series make at one moment."""
        if len(values) != 1 and (self.of is None or not values):
            several = f"{len(values)} series answer; say which counts with of: max"
            return no_number(view, declared, several if values else "no data", count=counted)
        if any(value != value for value in values):
            return no_number(view, declared, "the answer is NaN", count=counted)
        value = values[0] if self.of is None else _PICK[self.of](values)
        return number(view, declared, value, count=counted)

    def _past(self, query: str, moments: Sequence[datetime]) -> list[list[float]]:
        """The values of all series at each moment; an empty list where there is none."""
        found: list[list[float]] = [[] for _ in moments]
        step_s = (moments[1] - moments[0]).total_seconds() if len(moments) > 1 else 1.0
        for begin in range(0, len(moments), _POINTS_MAX):
            some = moments[begin : begin + _POINTS_MAX]
            first_s = some[0].timestamp()
            span = {"start": f"{first_s:.3f}", "end": f"{some[-1].timestamp():.3f}",
                    "step": f"{step_s:.3f}"}  # fmt: skip
            pairs = self._get("query_range", _range_pairs, query=query, **span)
            if isinstance(pairs, str):
                raise HostUnreachable(f"{shown(query, limit=100)}: {pairs}", where=self.url)
            for at, value in pairs:
                place = begin + round((at - first_s) / step_s)
                if begin <= place < begin + len(some):
                    found[place].append(value)
        return found

    def _ask(self, query: str) -> list[tuple[float, float]] | str:
        """Time and value of each series, now; or why there is none."""
        return self._get("query", _instant_pairs, query=query)

    def _get(
        self, what: str, pairs: Callable[[dict[str, Json]], list[tuple[float, float]]], **asked: str
    ) -> list[tuple[float, float]] | str:
        """Time and value of all readings that the server answers with; or why there is none."""
        answer = fetch(
            f"{self.url.rstrip('/')}/api/v1/{what}?{urlencode(asked)}", timeout_s=self.within
        )
        try:
            body = json_of(answer)
        except ValueError as error:
            return str(error)
        if not isinstance(body, dict) or body.get("status") != "success" or answer.status != 200:
            told = body.get("error") if isinstance(body, dict) else None
            return f"the server answered {answer.status}: {shown(str(told or 'no reason given'), limit=200)}"
        try:
            data = body["data"]
            if not isinstance(data, dict):
                raise TypeError("no data")
            return pairs(data)
        except (KeyError, TypeError, ValueError):
            return f"the answer is not one of {_NAMES[what]}"


def _instant_pairs(data: dict[str, Json]) -> list[tuple[float, float]]:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [_pair(result)]
    if kind != "vector" or not isinstance(result, list):
        raise ValueError(f"a {kind}")
    return [_pair(one["value"]) for one in result if isinstance(one, dict)]


def _range_pairs(data: dict[str, Json]) -> list[tuple[float, float]]:
    kind, result = data["resultType"], data["result"]
    if kind != "matrix" or not isinstance(result, list):
        raise ValueError(f"a {kind}")
    found = []
    for one in result:
        values = one["values"] if isinstance(one, dict) else None
        if not isinstance(values, list):
            raise TypeError("no series")
        found += [_pair(value) for value in values]
    return found


def _pair(written: Json) -> tuple[float, float]:
    if not isinstance(written, list) or len(written) != 2:
        raise ValueError("no pair")
    at, value = written
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not isinstance(value, str):
        raise TypeError("no reading")
    if not _VALUE.match(value):  # float() takes more: spaces, underscores, digits of any script
        raise ValueError("no number")
    return float(at), float(value)
