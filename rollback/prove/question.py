"""One declared check as a test of a suite: asked, compared with what is wanted, put on record.

Hides: how the answer reaches the verdict and the report.
Never: turns UNKNOWN into a pass.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from rollback.model.finding import Finding
from rollback.model.registry import Kind
from rollback.observe.check import ask, deadline_s
from rollback.observe.view import View
from rollback.prove.expect import Expected, fingerprint, shortfall

EVIDENCE_CHARS_MAX = 2000


class Question:
    """The check behind one test. `note(name, value)` puts the answer on the test's record."""

    def __init__(
        self, check: Kind, expected: Expected, view: View, note: Callable[[dict[str, Any]], None],
        *, reported: bool,
    ) -> None:  # fmt: skip
        self.check = check
        self.expected = expected
        self.view = view
        self._note = note
        self._allure = importlib.import_module("allure") if reported else None

    @property
    def id(self) -> str:
        """The id of the check."""
        return self.expected.id

    @property
    def deadline_s(self) -> float:
        """How long asking may take."""
        return deadline_s(self.check)

    @property
    def explores(self) -> bool:
        """True when the check is asked with many inputs of a declared space."""
        return bool(self.inputs) and hasattr(self.check, "ask_with")

    @property
    def inputs(self) -> dict[str, Any]:
        """The declared space by name of the input, like {"integer": [1, 5]}."""
        return dict(getattr(self.check, "inputs", {}) or {})

    @property
    def examples(self) -> int:
        """How many inputs are tried."""
        return int(getattr(self.check, "examples", 25))

    def ask_with(self, inputs: dict[str, Any]) -> Finding:
        """The finding for one input."""
        asked: Finding = self.check.ask_with(self.view, inputs)  # type: ignore[attr-defined]
        return asked

    def holds(self) -> None:
        """The check answers what is wanted. Raises: AssertionError with its evidence."""
        __tracebackhide__ = True  # what matters is the evidence
        self.settle(ask(self.check, self.view))

    def settle(self, finding: Finding) -> None:
        """The finding is on record. Raises: AssertionError when it is not what is wanted."""
        __tracebackhide__ = True
        self._attach(finding)
        mark = fingerprint(self.id, finding)
        evidence = finding.evidence[:EVIDENCE_CHARS_MAX]
        self._note({
            "id": self.id, "expected": self.expected.wanted, "answer": finding.answer.value,
            "evidence": evidence, "fingerprint": mark,
            "samples": {name: list(series) for name, series in finding.samples.items()},
        })  # fmt: skip
        said = shortfall(self.expected, finding.answer, mark, evidence)
        if said:
            raise AssertionError(said)

    def _label(self, allure: Any) -> None:
        system = self.view.system.system
        dynamic = allure.dynamic
        title = getattr(self.check, "title", None) or self.id
        dynamic.epic(system.title)
        dynamic.feature(self.expected.suite)
        dynamic.story(getattr(self.check, "item", None) or title)
        dynamic.title(title)
        dynamic.severity(getattr(self.check, "severity", "normal"))
        # A system's version changes; what makes two runs of one test the same test must not.
        dynamic.parameter("version", system.version, excluded=True)

    def _attach(self, finding: Finding) -> None:
        if self._allure is None:
            return
        self._label(self._allure)
        kinds = self._allure.attachment_type
        self._allure.attach(f"{finding.answer}: {finding.evidence}", "evidence", kinds.TEXT)
        if finding.details:
            self._allure.attach(_pretty(dict(finding.details)), "details", kinds.JSON)
        if finding.samples:
            series = {name: list(values) for name, values in finding.samples.items()}
            self._allure.attach(_pretty(series), "samples", kinds.JSON)

    def __repr__(self) -> str:
        return f"<check {self.id}>"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)
