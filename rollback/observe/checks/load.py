"""Response times and errors under a paced load, by Locust in a child process.

Hides: Locust; nobody here imports it, for it changes the process that does.
Never: takes silence for speed: no requests, or too few, is UNKNOWN.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from rollback.host.processes import Completed, base_environment, run
from rollback.model.finding import (
    Answer,
    Attachment,
    Finding,
    Json,
    Measured,
    failed,
    passed,
    unknown,
)
from rollback.model.quantity import Limit, Seconds, spoken
from rollback.model.registry import Declared, register
from rollback.model.step import Check, Effects, Text
from rollback.observe import regression
from rollback.observe.chart import Mark
from rollback.observe.expect import Bound, JsonValue, Limits, figure
from rollback.observe.load.course import Course, picture, piece_s, split
from rollback.observe.measure import (
    chance_of_more,
    median,
    percentile,
    spread_out,
)
from rollback.observe.pointer import parse
from rollback.observe.reading import tail
from rollback.observe.view import View
from rollback.observe.web import NOTHING, Url

LOCUSTFILE = Path(__file__).parent.parent / "load" / "locustfile.py"
START_UP_S = 3.0  # measured 0.9 to 1.3 s on a busy two-core machine
_READINGS_MAX = 2000
_TOLERANCE = re.compile(r"\A<=\+([0-9]{1,4})%\Z", re.ASCII)


def _tolerance(written: str) -> str:
    if not _TOLERANCE.match(written):
        raise ValueError(f"{written!r} is no tolerance; write it like <=+100%")
    return written


class Baseline(Declared):
    """How much slower than the seal: worse only if the share *and* the floor are exceeded.

    Both are asked of p95, and of the median where the whole distribution moved by a large effect.
    """

    p95: Annotated[str, AfterValidator(_tolerance)]
    floor: Limit = 0.0

    @property
    def share(self) -> float:
        """The tolerance as a fraction."""
        found = _TOLERANCE.match(self.p95)
        assert found, "checked when the declaration was read"
        return int(found[1]) / 100

    def allowed_ms(self, was_ms: float) -> float:
        """Up to here it is not slower than it was."""
        return max(was_ms * (1 + self.share), was_ms + self.floor)

    def compared(
        self, was_ms: float, readings: Sequence[float], histogram: Mapping[float, int]
    ) -> tuple[str, Answer]:
        """What can be said against the sealed p95 and readings, and whether it is slower now.

        Beyond the allowed p95 it is FAIL when so many slow answers are no luck (a test of the
        quantile), and UNKNOWN when they may be: more samples would tell.
        """
        told = f"p95 was {was_ms:g} ms in the seal"
        count, allowed_ms = sum(histogram.values()), self.allowed_ms(was_ms)
        over = sum(times for value, times in histogram.items() if value > allowed_ms)
        if percentile(histogram, 0.95) > allowed_ms:
            luck = chance_of_more(over, count, 0.05)
            if luck < regression.LUCK_MAX:
                return f"{told}, more than {self.p95} slower", Answer.FAIL
            return (f"{told}; {over} of {count} answers took longer than {self.p95} of it, which "
                    "may be luck: too few samples to tell", Answer.UNKNOWN)  # fmt: skip
        if not readings:  # of a seal that holds none
            return told, Answer.PASS
        now = spread_out(histogram, _READINGS_MAX)
        found = regression.compare(readings, now, ratio=self.share, floor=self.floor, unit=" ms")
        if found.answer is Answer.PASS:
            return told, Answer.PASS
        return f"{told}; {found.evidence}", found.answer


@register("check", "load")
class Load(Check):
    """`rate` requests a second by `users` for `duration`; limits of p95 are in milliseconds."""

    url: Url
    method: Literal["GET", "POST"] = "GET"
    json_: JsonValue = Field(default=NOTHING, alias="json")
    headers: dict[str, Text] = Field(default_factory=dict)
    rate: Annotated[float, Field(gt=0, le=2000)]
    users: Annotated[int, Field(ge=1, le=500)] = 5
    duration: Seconds
    p95: Limits | None = None
    errors: Limits | None = None
    min_samples: Annotated[int, Field(ge=1)] = 100
    baseline: Baseline | None = None
    effects: Effects = "load"
    within: Seconds = 60.0

    @model_validator(mode="after")
    def _possible(self) -> Load:
        if self.p95 is None and self.errors is None and self.baseline is None:
            raise ValueError("nothing is asked; write p95, errors or baseline")
        if self.rate * self.duration < self.min_samples:
            raise ValueError(
                f"{self.rate:g} a second for {spoken(self.duration)} cannot give "
                f"{self.min_samples} samples; write a longer duration, or fewer min_samples"
            )
        if self.duration + START_UP_S > self.within:
            raise ValueError(f"within: allow at least {self.duration + START_UP_S:g}s")
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """The time that 95 of 100 requests keep, and the share that went wrong."""
        return {"milliseconds": "p95_ms", "fraction": "errors"}

    def ask(self, view: View) -> Finding:
        """PASS when enough requests were made and every limit holds."""
        done = self._run(view)
        if done.timed_out:
            return unknown(f"the load did not end within {spoken(self.within)}")
        course, figures = split(done.stdout)
        try:
            result = _read(figures)
        except ValueError as error:
            return unknown(f"the load said nothing that can be read ({error}): {tail(done)}")
        if result is None:
            return unknown(f"no request was made: {tail(done)}")
        sealed = view.baseline.get(self.id or "", {})
        finding = self._judged(result, sealed)
        return finding.showing(self._picture(course, sealed)) if course else finding

    def _picture(self, course: Course, sealed: Mapping[str, Sequence[float]]) -> Attachment:
        """The load over time, with every limit that is declared, and what it was in the seal."""
        times = [*_marks("p95", self.p95, 1, " ms")]
        before = tuple(sealed.get("p95_ms", ()))
        if self.baseline is not None and before:
            was_ms = median(before)
            allowed_ms = self.baseline.allowed_ms(was_ms)
            times.append(Mark(f"p95 in the seal: {figure(was_ms)} ms", was_ms, limit=False))
            times.append(Mark(f"p95 against the seal: {figure(allowed_ms)} ms", allowed_ms))
        title = f"{self.title or self.id or 'Load'}: {self.method} {self.url}"
        errors = [*_marks("errors", self.errors, 100, "%")]
        return picture(course, title, rate=self.rate, times=times, errors=errors)

    def _run(self, view: View) -> Completed:
        plan = {
            "url": self.url, "method": self.method, "headers": self.headers,
            "per_user": self.rate / self.users, "timeout_s": self.within,
            "piece_s": piece_s(self.rate, self.users, self.duration),
        }  # fmt: skip
        if self.json_ is not NOTHING:
            plan["json"] = self.json_
        argv = [
            sys.executable, "-I", "-B", "-m", "locust", "-f", str(LOCUSTFILE), "--headless",
            "--json", "--skip-log", "--only-summary", "--users", str(self.users),
            "--spawn-rate", str(self.users), "--run-time", f"{max(1, math.ceil(self.duration))}s",
            "--stop-timeout", "2", "--host", self.url,
        ]  # fmt: skip
        # An empty home: Locust also reads ~/.locust.conf and ./locust.conf.
        environment = base_environment({"ROLLBACK_LOAD": json.dumps(plan), "HOME": "/nonexistent"})
        return run(argv, cwd="/", timeout_s=self.within, environment=environment, tap=view.host.tap)

    def _judged(self, result: _Result, sealed: Mapping[str, Sequence[float]]) -> Finding:
        p95_ms = percentile(result.histogram, 0.95)
        errors = result.failures / result.requests
        details: dict[str, Json] = {
            "requests": result.requests, "failures": result.failures, "p95_ms": p95_ms,
            "p50_ms": percentile(result.histogram, 0.5), "errors": errors, "rate": self.rate,
        }  # fmt: skip
        told = f"{result.requests} requests, {figure(errors * 100)}% errors, p95 {p95_ms:g} ms"
        wrong, broken = [], list[tuple[Measured, ...]]()
        if self.errors is not None and (reason := self.errors.why_not(errors)):
            wrong.append(f"errors: {reason}")
            broken.append(self.errors.broken("errors", errors))
        if result.requests < self.min_samples and not wrong:
            return unknown(f"{told}: fewer than {self.min_samples} requests were made", **details)
        good = result.requests - result.failures
        if self.errors is None and good < self.min_samples and not wrong:
            wrong.append(f"{good} of {result.requests} requests were answered well, at least "
                         f"{self.min_samples} have to be")  # fmt: skip
            broken.append(())
        if self.p95 is not None and (reason := self.p95.why_not(p95_ms)):
            wrong.append(f"p95: {reason} ms")
            broken.append(self.p95.broken("p95", p95_ms))
        compared, slower = self._against(sealed, result)
        if slower is Answer.FAIL:
            wrong.append(compared)
            was_ms = median(sealed["p95_ms"])
            broken.append((Measured("p95 beside the seal", p95_ms, was_ms, "higher"),))
        if wrong:
            finding = failed(f"{told}; {'; '.join(wrong)}", **details).beyond(*broken)
        elif slower is Answer.UNKNOWN:
            finding = unknown(f"{told}; {compared}", **details)
        else:
            finding = passed(f"{told}; {compared}", **details)
        samples = {"p95_ms": (p95_ms,),
                   "response_ms": spread_out(result.histogram, _READINGS_MAX)}  # fmt: skip
        return replace(finding, samples=samples)

    def _against(
        self, sealed: Mapping[str, Sequence[float]], result: _Result
    ) -> tuple[str, Answer]:
        """What the comparison with the seal says; FAIL is slower, UNKNOWN is not to be told."""
        if self.baseline is None:
            return "no comparison is declared", Answer.PASS
        before = tuple(sealed.get("p95_ms", ()))
        if not before:
            return "no baseline to compare with", Answer.PASS
        was_ms, readings = median(before), tuple(sealed.get("response_ms", ()))
        return self.baseline.compared(was_ms, readings, result.histogram)


def _marks(name: str, limits: Bound | None, times: float, unit: str) -> Iterator[Mark]:
    """The declared limits as they are drawn."""
    if limits is None:
        return
    told = (("above", limits.above), ("below", limits.below), ("at least", limits.at_least),
            ("at most", limits.at_most))  # fmt: skip
    for word, limit in told:
        if limit is not None:
            yield Mark(f"{name} {word} {figure(limit * times)}{unit}", limit * times)


@dataclass(frozen=True, slots=True)
class _Result:
    requests: int
    failures: int
    histogram: dict[float, int]


def _read(output: bytes) -> _Result | None:
    """What Locust counted; None when it made no request. Raises: ValueError."""
    entries: Any = parse(output.strip() or b"[]")
    if not isinstance(entries, list):
        raise ValueError("not a list of figures")
    requests = failures = 0
    histogram: dict[float, int] = {}
    try:
        for entry in entries:
            requests += int(entry["num_requests"])
            failures += int(entry["num_failures"])
            for value_ms, count in entry["response_times"].items():
                histogram[float(value_ms)] = histogram.get(float(value_ms), 0) + int(count)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"figures of another shape: {error}") from None
    return _Result(requests, failures, histogram) if requests and histogram else None
