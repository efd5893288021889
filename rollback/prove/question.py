"""One declared check as a test of a suite: asked, compared with what is wanted, put on record.

Hides: how the answer reaches the verdict and the report.
Never: turns UNKNOWN into a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rollback.keep.redact import Redactor
from rollback.model.finding import Finding
from rollback.model.registry import Kind
from rollback.observe.check import ask, deadline_s
from rollback.observe.expect import shown
from rollback.observe.view import View
from rollback.prove.exhibit import Exhibit
from rollback.prove.expect import Expected, shortfall
from rollback.prove.likeness import likeness

EVIDENCE_CHARS_MAX = 2000


class Question:
    """The check behind one test. `note(name, value)` puts the answer on the test's record."""

    def __init__(
        self, check: Kind, expected: Expected, view: View, note: Callable[[dict[str, Any]], None],
        *, hide: Redactor, reported: bool,
    ) -> None:  # fmt: skip
        self.check = check
        self.expected = expected
        self.view = view
        self._note = note
        self._hide = hide
        self._exhibit = Exhibit(check, expected, view, hide, reported=reported)

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
        with self._exhibit.step(f"Ask with {shown(inputs)}"):
            asked: Finding = self.check.ask_with(self.view, inputs)  # type: ignore[attr-defined]
        return asked

    def holds(self) -> None:
        """The check answers what is wanted. Raises: AssertionError with its evidence."""
        __tracebackhide__ = True  # what matters is the evidence
        with self._exhibit.asking():
            finding = ask(self.check, self.view)
        self.settle(finding)

    def settle(self, finding: Finding) -> None:
        """The finding is on record. Raises: AssertionError when it is not what is wanted."""
        __tracebackhide__ = True
        self._exhibit.show(finding)
        like = likeness(self.id, finding)
        # What a program says goes into verdicts, reports and on terminals: no secret goes along.
        evidence = self._hide.text(finding.evidence)[:EVIDENCE_CHARS_MAX]
        self._note({
            "id": self.id, "expected": self.expected.wanted, "answer": finding.answer.value,
            "evidence": evidence, "fingerprint": like.fingerprint,
            "beyond": [asdict(one) for one in like.measured],
            "samples": {name: list(series) for name, series in finding.samples.items()},
        })  # fmt: skip
        said = shortfall(self.expected, finding.answer, like, evidence)
        words = f"Answer: {finding.answer}, wanted {self.expected.wanted}: {evidence}"
        with self._exhibit.step(shown(words, limit=300)):
            if said:
                raise AssertionError(said)

    def __repr__(self) -> str:
        return f"<check {self.id}>"
