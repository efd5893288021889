"""What the page of one check shows in an Allure report: labels, steps, evidence, figures, logs.

Hides: Allure's calls; a log is cut to its end, and secrets are masked.
Never: decides anything: a report describes.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from rollback.keep.redact import Redactor
from rollback.model.errors import HostError
from rollback.model.finding import Answer, Exchange, Finding
from rollback.model.registry import Kind
from rollback.observe.chart import Line, Panel, drawn
from rollback.observe.view import View
from rollback.prove.expect import Expected

LOG_BYTES_MAX = 16 * 2**10
LOG_LINES_MAX = 60
SERIES_MAX = 6
BODY_LINES_MAX, LINE_CHARS_MAX = 120, 2000
_QUERY = re.compile(r"([?&]([^=&#]+)=)([^&#]*)")
_ABOUT = ("url", "file", "database", "directory", "flag", "service", "services", "ports", "argv")


class Exhibit:
    """Collects for the report while one check is asked; without a report it does nothing."""

    def __init__(
        self, check: Kind, expected: Expected, view: View, hide: Redactor, *, reported: bool
    ) -> None:  # fmt: skip
        self._check = check
        self._expected = expected
        self._view = view
        self._allure: Any = importlib.import_module("allure") if reported else None
        self._hide = hide
        self._labelled = not reported

    def step(self, said: str) -> AbstractContextManager[Any]:
        """What happens inside is a step of the report; it fails when something is raised there."""
        if self._allure is None:
            return nullcontext()
        self._label()
        step: AbstractContextManager[Any] = self._allure.step(self._hide.text(said))
        return step

    def asking(self) -> AbstractContextManager[Any]:
        """The step in which the check is asked."""
        return self.step(f"Ask: {asked(self._check)}")

    def show(self, finding: Finding) -> None:
        """Everything that the finding rests on is attached."""
        if self._allure is None:
            return
        self._label()
        self._walk(finding)
        kinds = self._allure.attachment_type
        self._attach(f"{finding.answer}: {finding.evidence}", "evidence", kinds.TEXT)
        for one in finding.attached:
            kind = kinds.SVG if one.form == "svg" else kinds.TEXT
            body = one.body if isinstance(one.body, str) else transcript(one.body, self._hide)
            self._attach(body, one.name, kind)
        if finding.details:
            self._attach(_pretty(dict(finding.details)), "details", kinds.JSON)
        if finding.samples:
            self._attach(table(finding.samples), "samples in figures", kinds.CSV)
            pictured = any(one.form == "svg" for one in finding.attached)
            for name, values in list(finding.samples.items())[:SERIES_MAX]:
                if len(values) > 2 and not pictured:
                    self._attach(chart(name, values), f"samples: {name}", kinds.SVG)
            series = {name: list(values) for name, values in finding.samples.items()}
            self._attach(_pretty(series), "samples", kinds.JSON)
        for name in self._logs(finding):
            if text := self._tail(name):
                self._attach(text, f"the end of {name}", kinds.TEXT)

    def _attach(self, body: str, name: str, kind: Any) -> None:
        self._allure.attach(self._hide.text(body), name, kind)

    def _label(self) -> None:
        if self._labelled:  # once, and not before the test itself runs: its name would win
            return
        self._labelled = True
        dynamic, check, expected = self._allure.dynamic, self._check, self._expected
        dynamic.title(getattr(check, "title", None) or expected.id)
        declared = self._hide.text(_pretty(self._hide.data(_declared(check))))
        dynamic.description(
            f"Check `{expected.id}`, wanted: **{expected.wanted}**. UNKNOWN is never that.\n\n"
            f"Declared as `{check.kind}`:\n\n```json\n{declared}\n```"
        )
        # A system's version changes; what makes two runs of one test the same test must not.
        dynamic.parameter("version", self._view.system.system.version, excluded=True)

    def _walk(self, finding: Finding) -> None:
        """The steps of a piece of work, as far as it came."""
        steps: Sequence[Any] = getattr(self._check, "steps", ())
        failing = finding.details.get("step")
        for number, one in enumerate(steps, start=1):
            with suppress(_Stopped), self.step(_worded(one)):
                if number == failing:
                    raise _Stopped(self._hide.text(finding.evidence))
            if number == failing:
                return

    def _logs(self, finding: Finding) -> Iterator[str]:
        """The log that the check is about; what the services said, when it did not pass."""
        if self._check.kind == "log":
            yield str(getattr(self._check, "file", ""))
        if finding.answer is not Answer.PASS:
            services = self._view.system.services.values()
            own = str(getattr(self._check, "file", ""))
            yield from dict.fromkeys(s.log for s in services if s.log and s.log != own)

    def _tail(self, name: str) -> str:
        try:
            with self._view.host.tree(str(self._view.root)) as root:
                size = root.size(name)
                start = max(0, size - LOG_BYTES_MAX)
                text = root.read_at(name, start, size - start).decode("utf-8", "replace")
        except (HostError, OSError, ValueError):
            return ""  # the answer does not hang on it
        return "\n".join(text.splitlines()[-LOG_LINES_MAX:])


class _Stopped(AssertionError):
    """This is where the work stopped; only the report hears of it."""


def asked(check: Kind) -> str:
    """What the check looks at, in a few words."""
    for name in _ABOUT:
        value = getattr(check, name, None)
        if value:
            several = isinstance(value, (list, tuple))
            words = " ".join(map(str, value)) if several else str(value)
            method = f"{check.method} " if hasattr(check, "method") else ""
            return f"{check.kind} {method}{words}"[:200]
    return check.kind


def _worded(step: Any) -> str:
    said = f"{step.method} {step.url}"
    if until := getattr(step, "until", None):
        said += " until " + ", ".join(f"{where} is {value}" for where, value in until.items())
    return said[:300]


def _declared(check: Kind) -> dict[str, Any]:
    written: dict[str, Any] = check.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {name: value for name, value in written.items() if name not in ("id", "title")}


def table(samples: Mapping[str, Sequence[float]]) -> str:
    """One row for each series, as CSV: how many readings, and where they lie."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["series", "readings", "smallest", "median", "95th percentile", "largest"])
    for name, values in samples.items():
        if values:
            ordered = sorted(values)
            high = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
            figures = (ordered[0], statistics.median(ordered), high, ordered[-1])
            writer.writerow([name, len(ordered), *(f"{value:.6g}" for value in figures)])
    return out.getvalue()


def chart(name: str, values: Sequence[float]) -> str:
    """The readings in their order as a line, as SVG."""
    unit = name.rpartition("_")[2] if "_" in name else "value"
    line = Line(f"{len(values)} readings", [(float(n), v) for n, v in enumerate(values, start=1)])
    return drawn(name, [Panel(name, unit, [line], from_zero=False)], across="reading")


def transcript(exchanges: Sequence[Exchange], hide: Redactor) -> str:
    """What was asked and answered, as it went over the wire; what stands under a telling name is masked."""
    lines = []
    for one in exchanges:
        lines.append(f"> {one.method} {_asking(one.url, hide)}")
        lines += [f"> {name}: {hide.under(name, value)}" for name, value in one.headers.items()]
        lines += _body("> ", one.body, hide)
        if one.status is None:
            lines += [f"! {one.said or 'no answer'}", ""]
            continue
        lines.append(f"< {one.status} in {one.elapsed_s * 1000:.1f} ms, {len(one.answer)} B")
        fields = one.answer_headers.items()
        lines += [f"< {name}: {hide.under(name, value)}" for name, value in fields]
        lines += [*_body("< ", one.answer, hide), ""]
    return "\n".join(lines)


def _asking(url: str, hide: Redactor) -> str:
    return _QUERY.sub(lambda found: found[1] + str(hide.under(found[2], found[3])), url)


def _body(mark: str, data: bytes, hide: Redactor) -> Iterator[str]:
    if not data:
        return
    text = data.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):
        text = _pretty(hide.under("", json.loads(data)))
    shown = hide.text(text).splitlines()
    yield mark.rstrip()
    yield from (f"{mark}{line[:LINE_CHARS_MAX]}" for line in shown[:BODY_LINES_MAX])
    if len(shown) > BODY_LINES_MAX:
        yield f"{mark}… {len(shown) - BODY_LINES_MAX} more lines"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)
