"""What another test runner found: how many passed, and which tests must be there, or gone.

A report that lies there from earlier proves nothing: it has to be newer than the mitigation, or
the runner is run here and now.

Hides: where the report comes from; its format is told by its first bytes.
Never: takes "nothing failed" of a report without tests for a pass.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, model_validator

from rollback.host.processes import Completed
from rollback.model.component import Argv, RelativePath
from rollback.model.errors import CommandFailed
from rollback.model.finding import Finding, Json, failed, passed, unknown
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.expect import Bound, Expected, shown, why_not
from rollback.observe.place import Place, opened
from rollback.observe.reading import program, tail
from rollback.observe.runner import REPORT_BYTES_MAX, Reported, read_report
from rollback.observe.view import View

_NAMED_MAX = 5


@register("check", "results")
class Results(Check):
    """A report of JUnit or TAP: `file`, or what `argv` prints, or both: `argv` writes `file`.

    `passed`, `failed` and `skipped` are numbers or limits; without a word about them at least one
    has to pass, none may fail and none may be skipped. `has` and `gone` are names, or patterns of
    them: a test of that name passed, and none is listed at all.
    """

    file: Place | None = None
    argv: Argv | None = None
    cwd: RelativePath = "."
    passed: Expected = Field(default_factory=lambda: Bound(at_least=1))
    failed: Expected = 0
    skipped: Expected = 0
    has: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    gone: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    within: Seconds = 60.0

    @model_validator(mode="after")
    def _somewhere(self) -> Results:
        if self.file is None and self.argv is None:
            raise ValueError("nothing is read; write file: or argv:")
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """How many tests failed."""
        return {"count": "failed"}

    def ask(self, view: View) -> Finding:
        """PASS when the report is fresh, whole, and says what is declared."""
        done: Completed | None = None
        before = self._mark(view)
        if self.argv is not None:
            try:
                done = program(view, self.argv, timeout_s=self.within, cwd=self.cwd)
            except CommandFailed as error:
                return unknown(f"{self.argv[0]} {error.message}")
            if done.timed_out:
                return unknown(f"{self.argv[0]} did not end within {spoken(self.within)}")
        if self.file is None:
            assert done is not None, "one of the two is declared"
            return self._read(done.stdout, done, "the runner's output")
        ran = f"; {shown(done.argv[0])} ended with {done.status}: {tail(done)}" if done else ""
        if done is not None and before is not None and before == self._mark(view):
            return unknown(f"{self.file} is the one that lay there before{ran}")
        return self._read_file(view, self.file, done, ran)

    def _mark(self, view: View) -> tuple[int, ...] | None:
        """What tells one report file from the next; None where there is none."""
        if self.file is None:
            return None
        with opened(view, self.file) as (tree, name):
            found = tree.stat(name)
        return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None

    def _read_file(self, view: View, file: str, done: Completed | None, ran: str) -> Finding:
        with opened(view, file) as (tree, name):
            found = tree.stat(name)
            if found is None:
                return unknown(f"{file} is not there{ran}")
            if found.st_size > REPORT_BYTES_MAX:
                return unknown(f"{file} is larger than {REPORT_BYTES_MAX // 2**20} MiB")
            written = datetime.fromtimestamp(found.st_mtime, UTC)
            if done is None and view.since is not None and written < view.since:
                return unknown(
                    f"{file} is of {written:%Y-%m-%d %H:%M:%S} UTC, before the mitigation"
                )
            data = tree.read(name)
        return self._read(data, done, file)

    def _read(self, data: bytes, done: Completed | None, what: str) -> Finding:
        try:
            report = read_report(data)
        except ValueError as error:
            return unknown(f"{what}: {error}")
        wrong = self._wrong(report)
        if done is not None and done.status != 0 and not report.count("failed"):
            wrong.append(f"{shown(done.argv[0])} ended with {done.status} though no test failed: "
                         f"{tail(done)}")  # fmt: skip
        counts: dict[str, Json] = {
            "passed": report.count("passed"), "failed": report.count("failed"),
            "skipped": report.count("skipped"),
        }  # fmt: skip
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        if wrong:
            return failed(f"{what}: {told}; {'; '.join(wrong[:_NAMED_MAX])}", **counts)
        return passed(f"{what}: {told}", **counts)

    def _wrong(self, report: Reported) -> list[str]:
        wrong = []
        if reason := why_not(report.count("passed"), self.passed):
            wrong.append(f"passed: {reason}")
        if reason := why_not(report.count("failed"), self.failed):
            some = ", ".join(map(shown, report.named("failed")[:_NAMED_MAX]))
            wrong.append(f"failed: {reason}" + (f": {some}" if some else ""))
        if reason := why_not(report.count("skipped"), self.skipped):
            wrong.append(f"skipped: {reason}")
        good = report.named("passed")
        wrong += [f"no test {shown(one)!r} passed" for one in self.has
                  if not any(fnmatch.fnmatchcase(name, one) for name in good)]  # fmt: skip
        for one in self.gone:
            left = [name for name, _ in report.tests if fnmatch.fnmatchcase(name, one)]
            if left:
                wrong.append(f"{shown(left[0])!r} is still there")
        return wrong
