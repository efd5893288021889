"""A number from a Prometheus server: one instant query, and how many readings it rests on.

Hides: the HTTP API, vectors and scalars, and how old an answer is.
Never: takes an empty answer for zero; picks one of several series by itself.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import urlencode

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
            found = self._ask(self.count)
            if isinstance(found, str) or len(found) != 1:
                why = found if isinstance(found, str) else f"{len(found)} series"
                return no_number(view, declared, f"how many readings there are: {why}")
            counted = int(found[0][1]) if found[0][1] == found[0][1] else 0
        found = self._ask(self.query)
        if isinstance(found, str):
            return no_number(view, declared, found, count=counted)
        if len(found) != 1 and (self.of is None or not found):
            why = (
                f"{len(found)} series answer; say which counts with of: max" if found else "no data"
            )
            return no_number(view, declared, why, count=counted)
        age_s = view.host.clock.now().timestamp() - min(at for at, _ in found)
        if age_s > self.fresh or age_s < -SKEW_S:
            said = f"{spoken(age_s)} old" if age_s > 0 else f"{spoken(-age_s)} in the future"
            return no_number(view, declared, f"the reading is {said}", count=counted)
        values = [value for _, value in found]
        if any(value != value for value in values):
            return no_number(view, declared, "the answer is NaN", count=counted)
        value = values[0] if self.of is None else _PICK[self.of](values)
        return number(view, declared, value, count=counted)

    def _ask(self, query: str) -> list[tuple[float, float]] | str:
        """Time and value of each series; or why there is none."""
        answer = fetch(f"{self.url.rstrip('/')}/api/v1/query?{urlencode({'query': query})}",
                       timeout_s=self.within)  # fmt: skip
        try:
            body = json_of(answer)
        except ValueError as error:
            return str(error)
        if not isinstance(body, dict) or body.get("status") != "success" or answer.status != 200:
            told = body.get("error") if isinstance(body, dict) else None
            return f"the server answered {answer.status}: {shown(str(told or 'no reason given'), limit=200)}"
        try:
            return _series(body["data"])
        except (KeyError, TypeError, ValueError):
            return "the answer is not one of an instant query"


def _series(data: Json) -> list[tuple[float, float]]:
    assert isinstance(data, dict) or not data
    if not isinstance(data, dict):
        raise TypeError("no data")
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [_pair(result)]
    if kind != "vector" or not isinstance(result, list):
        raise ValueError(f"a {kind}")
    return [_pair(one["value"]) for one in result if isinstance(one, dict)]


def _pair(written: Json) -> tuple[float, float]:
    if not isinstance(written, list) or len(written) != 2:
        raise ValueError("no pair")
    at, value = written
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not isinstance(value, str):
        raise TypeError("no reading")
    if not _VALUE.match(value):  # float() takes more: spaces, underscores, digits of any script
        raise ValueError("no number")
    return float(at), float(value)
