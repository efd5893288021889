"""What probes find: the share of them that is answered well, or how long they take.

A probe is a request that has to be answered with a 2xx status, or any declared check: a `port` is
asked over TCP, a `command` is run.

Hides: that the probes go out at the same time, or spread over a while.
Never: counts an answer that came too late; takes the silence of a subject for a short time, or a probe
that could not be made for one that was not answered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rollback.model.errors import HostUnreachable
from rollback.model.finding import Answer, Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Seconds, counted, spoken
from rollback.model.registry import Check as Asked
from rollback.model.registry import Kind, register
from rollback.model.step import MetricSource
from rollback.observe.check import ask
from rollback.observe.deadline import Outcome, together
from rollback.observe.measure import percentile
from rollback.observe.metric import no_number, number
from rollback.observe.view import View
from rollback.observe.web import Url, fetch

_SHARES = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
_UNITS = {"milliseconds": 1000.0, "seconds": 1.0}
_ANSWERS = {Answer.PASS: True, Answer.FAIL: False, Answer.UNKNOWN: None}
_GRACE_S = 0.2


@dataclass(frozen=True, slots=True)
class _Probed:
    """How one probe ended: well, ill, or nobody knows (None, and why).

    Units: `took_s` until its answer, or until it was given up.
    """

    well: bool | None
    took_s: float
    why: str = ""


@register("metric", "probe")
class Probe(MetricSource):
    """`probes` probes of `url`, or of a `check`; one that nobody answers within `timeout` is a no.

    They go out together, or evenly spread over `over`. Without `latency` the number is the share of
    those that were answered well. With it, how long they took: the median, a percentile (nearest rank)
    or the longest. One that ran out of time, was refused or answered badly has no time, and where it is
    the one that the figure rests on, there is no number: how long it would have taken nobody knows.
    """

    url: Url | None = None
    check: Asked | None = None
    probes: Annotated[int, Field(ge=1, le=100)] = 3
    timeout: Seconds = 5.0
    over: Annotated[Seconds, Field(le=600)] = 0.0
    latency: Literal["median", "p90", "p95", "p99", "max"] | None = None

    @model_validator(mode="after")
    def _one(self) -> Probe:
        if (self.url is None) == (self.check is None):
            raise ValueError("a probe is one of: url, check (like {port: {ports: [5432], …}})")
        return self

    @property
    def units(self) -> tuple[str, ...]:
        """A latency is a time."""
        return tuple(_UNITS) if self.latency is not None else ()

    @property
    def deadline_s(self) -> float:
        """All probes go out together, or within `over`."""
        return self.over + self.timeout + 1.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """Nobody answering is a share of 0.0: for availability, silence is the answer."""
        every_s = self.over / self.probes
        works = [self._after(view, place * every_s) for place in range(self.probes)]
        limit_s = self.over + self.timeout + _GRACE_S
        outcomes = together(works, within_s=limit_s, clock=view.host.clock)
        found = [self._ended(outcome) for outcome in outcomes]
        unknown = [one for one in found if one.well is None]
        if unknown:
            made = f"{len(unknown)} of {counted(self.probes, 'probe')} could not be made"
            return no_number(view, declared, f"{made}: {unknown[0].why}", count=self.probes)
        if self.latency is not None:
            return self._latency(view, declared, found, self.latency)
        share = sum(one.well is True for one in found) / self.probes
        return number(view, declared, share, count=self.probes)

    def _latency(
        self, view: View, declared: MetricDeclared, found: list[_Probed], figure: str
    ) -> Sample:
        """The figure over all probes; those without a time are slower than any that has one."""
        times: dict[float, int] = {}
        late = sum(not one.well and one.took_s >= self.timeout for one in found)
        for one in found:
            key = one.took_s if one.well else math.inf
            times[key] = times.get(key, 0) + 1
        ill = times.get(math.inf, 0) - late
        said = [f"{late} not answered within {spoken(self.timeout)}"] if late else []
        said += [f"{ill} refused or answered badly"] if ill else []
        told = f"{', '.join(said)}, of {counted(self.probes, 'probe')}" if said else ""
        took_s = percentile(times, _SHARES[figure])
        if math.isinf(took_s):
            return no_number(view, declared, f"no {figure}: {told}", count=self.probes)
        value = took_s * _UNITS[declared.unit]
        return number(view, declared, value, count=self.probes, note=told)

    def _ended(self, outcome: Outcome[_Probed]) -> _Probed:
        """A probe that has not ended ran out of time; of one that went wrong nobody knows."""
        if not outcome.finished:
            return _Probed(False, self.timeout)
        return outcome.result or _Probed(None, 0.0, str(outcome.error))

    def _after(self, view: View, wait_s: float) -> Callable[[], _Probed]:
        def probe() -> _Probed:
            if wait_s > 0:
                view.host.clock.sleep(wait_s)
            began = view.host.clock.boot_s()
            well, why = self._answered() if self.check is None else self._passes(self.check, view)
            took_s = view.host.clock.boot_s() - began
            return _Probed(False if took_s > self.timeout else well, took_s, why)

        return probe

    def _answered(self) -> tuple[bool, str]:
        assert self.url is not None, "one of two"
        try:
            answer = fetch(self.url, timeout_s=self.timeout)
        except HostUnreachable as error:
            return False, error.message
        return 200 <= answer.status < 300, f"status {answer.status}"

    def _passes(self, check: Kind, view: View) -> tuple[bool | None, str]:
        finding = ask(check.model_copy(update={"within": self.timeout}), view)
        return _ANSWERS[finding.answer], finding.evidence
