"""One test for each check that the declaration lists in this suite.

A check over a space of inputs (`inputs:`) is asked with many of them, the same ones every time;
what fails is reported with the smallest inputs that make it fail.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rollback.model.finding import Answer, Finding, failed, passed, unknown
from rollback.prove.question import Question


def test_declared(declared: Question, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The check answers what is wanted of it; UNKNOWN is never that."""
    if declared.explores:
        declared.settle(_explore(declared, tmp_path_factory.getbasetemp()))
    else:
        declared.holds()


def _explore(declared: Question, scratch: Path) -> Finding:
    """The finding over the whole input space: the first failure, made small, or how many held."""
    # Imported here: the other checks of this suite need not wait for it.
    from hypothesis import HealthCheck, configuration, given, settings
    from hypothesis import strategies as st
    from hypothesis.errors import Flaky

    configuration.set_hypothesis_home_dir(scratch / "hypothesis")

    def values(rule: Any) -> st.SearchStrategy[Any]:
        if rule.integer is not None:
            return st.integers(*rule.integer)
        if rule.one_of is not None:
            return st.sampled_from(rule.one_of)
        # What can travel in a URL and in JSON: UTF-8 without NUL.
        return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=rule.text)

    clock = declared.view.host.clock
    deadline = clock.boot_s() + declared.deadline_s
    said: list[Finding] = []
    wrong: list[Finding] = []

    @settings(
        max_examples=declared.examples,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries({name: values(one) for name, one in declared.inputs.items()}))
    def every(inputs: dict[str, Any]) -> None:
        late = clock.boot_s() > deadline
        if late and wrong:
            return  # it fails; no time is left to find smaller inputs
        finding = unknown(f"only {len(said)} questions in time") if late else None
        said.append(finding or declared.ask_with(inputs))
        if said[-1].answer is not Answer.PASS:
            wrong.append(said[-1])
        assert said[-1].answer is Answer.PASS

    try:
        every()
    except (AssertionError, Flaky):
        return wrong[-1]
    if not any(": answered " in one.evidence for one in said):
        return failed(f"all {len(said)} questions were refused")
    return passed(f"{len(said)} questions asked twice, the same answer each time")
