"""Listens to a pytest session and keeps what it saw, for the verdict and for the last line.

Hides: the shapes of pytest's reports (skips, expected failures, reruns, subtests).
Never: imports pytest; changes an outcome.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollback.prove.discreet import ASKED, plain
from rollback.prove.verdict import FORMAT, Asked, Outcome, Phase, Verdict

WHY_CHARS_MAX = 400
_PHASES = ("setup", "call", "teardown")


@dataclass
class _Test:
    phases: dict[str, Phase] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    why: str = ""
    duration_s: float = 0.0
    asked: Asked | None = None


class Recorder:
    """What one session collected, selected, ran and reported."""

    def __init__(self) -> None:
        self.collected: dict[str, None] = {}
        self.selected: dict[str, None] = {}
        self.problems: list[str] = []
        self.left_behind: list[str] = []
        self.files: dict[str, str] = {}
        self._tests: dict[str, _Test] = {}

    def found(self, nodeids: Iterable[str]) -> None:
        """These tests were collected."""
        self.collected.update(dict.fromkeys(nodeids))

    def chosen(self, nodeids: Iterable[str]) -> None:
        """These tests were left to run, after every deselection."""
        self.selected.update(dict.fromkeys(nodeids))

    def not_collected(self, report: Any) -> None:
        """A file or folder failed or skipped itself as a whole."""
        if report.outcome != "passed":
            self.problems.append(f"{report.nodeid or 'session'} {report.outcome}: {_why(report)}")

    def told(self, report: Any) -> None:
        """One phase of one test has ended."""
        test = self._tests.setdefault(report.nodeid, _Test())
        outcome = str(report.outcome)
        if hasattr(report, "context") and type(report).__name__ == "SubtestReport":
            if outcome != "passed" or hasattr(report, "wasxfail"):
                test.oddities.append(f"a subtest {outcome}")
                test.why = test.why or _why(report)
            return
        test.duration_s += max(0.0, float(report.duration))
        if report.when in test.phases:
            test.oddities.append(f"its {report.when} ran more than once")
        if hasattr(report, "wasxfail"):
            test.oddities.append(f"expected to fail ({outcome})")
        elif outcome == "skipped":
            test.oddities.append("skipped")
        elif outcome == "rerun":
            test.oddities.append("rerun after a failure")
        known: dict[str, Phase] = {"passed": "passed", "skipped": "skipped"}
        test.phases[report.when] = known.get(outcome, "failed")
        if outcome != "passed":
            test.why = test.why or _why(report)
        for name, value in report.user_properties:
            if name == ASKED and test.asked is None:
                test.asked = Asked.model_validate(value)

    def verdict(self, *, nonce: str, suite: str, declaration: str, exit_status: int) -> Verdict:
        """Everything that was seen, as facts."""
        return Verdict(
            format=FORMAT, nonce=nonce, suite=suite, declaration=declaration,
            exit_status=exit_status, collected=tuple(self.collected),
            selected=tuple(self.selected), collect_problems=tuple(self.problems),
            tests=self.tests(), files=dict(self.files), left_behind=tuple(self.left_behind),
        )  # fmt: skip

    def tests(self) -> tuple[Outcome, ...]:
        """Every test that was reported, in order."""
        return tuple(
            Outcome(
                nodeid=nodeid, setup=test.phases.get("setup", ""), call=test.phases.get("call", ""),
                teardown=test.phases.get("teardown", ""), why=test.why, asked=test.asked,
                oddities=tuple(dict.fromkeys(test.oddities)), duration_s=test.duration_s,
            )
            for nodeid, test in self._tests.items()
        )  # fmt: skip


def _why(report: Any) -> str:
    """The one line that says most: the message of the exception, not where it was raised."""
    text = ""
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
    if crash is not None:
        text = str(crash.message)
    elif isinstance(report.longrepr, tuple) and len(report.longrepr) == 3:
        text = str(report.longrepr[2])
    elif unmet := getattr(report.longrepr, "errorstring", ""):
        text = str(unmet)  # a fixture that there is not
    elif report.longrepr is not None:
        text = str(report.longrepr).strip().splitlines()[-1:][0] if str(report.longrepr) else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    first = first.removeprefix("AssertionError: ").removeprefix("Skipped: ")
    return plain(first)[:WHY_CHARS_MAX]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path; bytecode does not count."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def digest(path: Path) -> str:
    """SHA-256 of a file; "" where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def counts(tests: Iterable[Outcome]) -> Mapping[str, int]:
    """How many tests passed, failed, were skipped or otherwise odd, and are known to be red."""
    found = {"passed": 0, "failed": 0, "skipped": 0, "known red": 0}
    for test in tests:
        if test.plain and test.known_red:
            found["known red"] += 1
        elif test.plain:
            found["passed"] += 1
        elif "skipped" in (test.setup, test.call, test.teardown):
            found["skipped"] += 1
        else:
            found["failed"] += 1
    return found
