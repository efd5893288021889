"""Whether a service's memory grows with its work.

The memory of the process and its children is read between batches of requests; the slope is
bytes per request, with the interval that holds the true slope in 95 of 100 measurements.
Above the limit with its whole interval: FAIL. Below it with its whole interval: PASS. When the
interval lies across the limit the measurement goes on (an allocator takes memory in steps, and
more work tells steps from a leak); undecided at the end is UNKNOWN: an estimate below the limit
that may as well lie above it is no proof.

Hides: batches, and reading memory.
Never: judges a service that restarted or refused the work meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field, model_validator

from rollback.model.errors import HostUnreachable, PlanError
from rollback.model.finding import Answer, Finding, Json, Measured, failed, passed, unknown
from rollback.model.registry import register
from rollback.model.step import Check, Effects, Id
from rollback.observe.expect import Limits, figure, shown
from rollback.observe.measure import Slope, slope
from rollback.observe.service import held_by, usage
from rollback.observe.view import View
from rollback.observe.web import Url, fetch

_REFUSED_SHARE_MAX = 0.01
_REFUSED_MIN = 5.0
_ROUNDS_MAX = 3
_WARM_UP_SHARE = 0.1


@register("check", "memory")
class MemoryCheck(Check):
    """`requests` in `samples` batches; `slope: {below: 2 KiB}` is per request."""

    service: Id
    url: Url
    requests: Annotated[int, Field(ge=60, le=1_000_000)] = 1200
    samples: Annotated[int, Field(ge=8, le=500)] = 12
    slope: Limits
    effects: Effects = "load"

    @model_validator(mode="after")
    def _upper_limit(self) -> MemoryCheck:
        if self.slope.below is None:
            raise ValueError("slope: write an upper limit, like {below: 2 KiB}")
        if self.requests < self.samples:
            raise ValueError("requests: one for each sample is the least; write a larger number")
        return self

    def ask(self, view: View) -> Finding:
        """PASS when the slope is below the limit with its whole interval."""
        try:
            with held_by(view, self.service) as holder:
                if holder is None:
                    return failed(f"{self.service} does not run: nobody holds its lock")
                return self._measured(view, holder.pid)
        except PlanError as error:
            return unknown(f"{error.message}; {error.hint}")

    def _measured(self, view: View, pid: int) -> Finding:
        clock = view.host.clock
        work = _Work(self.url, clock.boot_s() + self.within * 0.95)
        batch = max(1, self.requests // self.samples)
        xs: list[float] = []
        ys: list[float] = []
        finding = unknown("nothing was measured")
        if reason := work.do(view, int(self.requests * _WARM_UP_SHARE)):
            return unknown(f"{self.service}: {reason}")
        for _ in range(_ROUNDS_MAX):
            for _ in range(self.samples):
                reason = work.do(view, batch)
                used = usage(pid)
                if used is None:
                    return unknown(f"{self.service} ended while it was measured")
                if reason:
                    return self._judged(xs, ys, reason)
                xs.append(float(work.done))
                ys.append(float(used.memory_bytes))
            finding = self._judged(xs, ys, "")
            if finding.answer is not Answer.UNKNOWN:
                return finding
        return finding

    def _judged(self, xs: list[float], ys: list[float], cut_short: str) -> Finding:
        found = slope(xs, ys)
        if found is None:
            return unknown(f"{self.service}: {cut_short or 'too few samples'}")
        limit = float(self.slope.below or 0.0)
        details: dict[str, Json] = {
            "bytes_per_request": round(found.estimate, 1), "low": round(found.low, 1),
            "high": round(found.high, 1), "samples": found.points, "requests": int(xs[-1]),
        }  # fmt: skip
        told = _told(self.service, found, int(xs[-1]), limit)
        series = {"memory_bytes": tuple(ys)}
        if found.low >= limit:
            grows = Measured("bytes per request below", found.estimate, limit, "higher")
            finding = failed(f"{told}: it grows", **details).beyond((grows,))
        elif found.high < limit and not cut_short:
            finding = passed(told, **details)
        else:
            why = cut_short or "the interval lies across the limit: more work would tell"
            finding = unknown(f"{told}; {why}", **details)
        return replace(finding, samples=series)


def _told(service: str, found: Slope, requests: int, limit: float) -> str:
    return (
        f"{service}: {figure(round(found.estimate, 1))} bytes per request "
        f"({figure(round(found.low, 1))} to {figure(round(found.high, 1))}) over {requests} "
        f"requests, limit {figure(limit)}"
    )


@dataclass
class _Work:
    url: str
    deadline: float
    done: int = 0
    refused: int = field(default=0)

    def do(self, view: View, count: int) -> str:
        """Why the work could not be done; "" when it was."""
        for _ in range(count):
            left_s = self.deadline - view.host.clock.boot_s()
            if left_s <= 0:
                return f"the time was over after {self.done} requests"
            try:
                answer = fetch(self.url, timeout_s=left_s)
            except HostUnreachable as error:
                return f"{shown(error.message)} after {self.done} requests"
            self.done += 1
            self.refused += not 200 <= answer.status < 300
            if self.refused > max(_REFUSED_MIN, self.done * _REFUSED_SHARE_MAX):
                return f"{self.refused} of {self.done} requests were refused: no work was done"
        return ""
