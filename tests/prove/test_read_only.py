"""Smoke only reads: a check that may write is refused there, with the line and the place where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.model.errors import SpecError
from tests.prove.conftest import Little

URL = "url: 'http://127.0.0.1:9/x'"
WRITING = {
    "DELETE": f"- http: {{id: one, {URL}, method: DELETE}}",
    "PUT": f"- http: {{id: one, {URL}, method: PUT}}",
    "PATCH, though it says none": f"- http: {{id: one, {URL}, method: PATCH, effects: none}}",
    "POST": f"- http: {{id: one, {URL}, method: POST}}",
    "test data": "- command: {id: one, argv: ['true'], effects: test-data}",
    "load": f"- load: {{id: one, {URL}, rate: 50, duration: 3s, p95: {{below: 100}}}}",
    "a workflow": "- workflow: {id: one, steps: [{post: 'http://127.0.0.1:9/x'}]}",
    "a workflow that says none": "- workflow: {id: one, effects: none, steps: [{delete: 'http://127.0.0.1:9/'}]}",
    "the same question by POST": f"- consistent: {{id: one, {URL}, method: POST, "
    "inputs: {n: {integer: [1, 2]}}, pointer: [/x]}",
}  # fmt: skip
READING = {
    "GET": f"- http: {{id: one, {URL}}}",
    "OPTIONS": f"- http: {{id: one, {URL}, method: OPTIONS}}",
    "a POST that says it changes nothing": f"- http: {{id: one, {URL}, method: POST, effects: none}}",
    "a workflow of GETs": "- workflow: {id: one, effects: none, steps: [{get: 'http://127.0.0.1:9/x'}]}",
}  # fmt: skip


@pytest.mark.parametrize("name", WRITING)
def test_what_may_write_is_refused_in_smoke(little: Little, name: str) -> None:
    """With file and line, and where to put it; there it is taken."""
    little.checks = {"smoke": [WRITING[name]]}
    with pytest.raises(SpecError) as refused:
        little.load()
    (problem,) = refused.value.problems
    place = "performance" if name == "load" else "functional or integration"
    assert f"smoke is read-only: move it to {place}, with effects: " in problem.message
    line = little.file.read_text().splitlines()[int(problem.where.rpartition(":")[2]) - 1]
    assert "id: one" in line
    little.checks = {"functional": [WRITING[name].replace("id: one,", "id: one, effects: test-data,")
                                    if "effects" not in WRITING[name] else WRITING[name]]}  # fmt: skip
    assert little.load().verification.functional


@pytest.mark.parametrize("name", READING)
def test_what_only_reads_is_taken(little: Little, name: str) -> None:
    """Also a POST, where the declaration says in so many words that it changes nothing."""
    little.checks = {"smoke": [READING[name]]}
    assert len(little.load().verification.smoke) == 1


def test_elsewhere_it_says_what_it_does(little: Little, tmp_path: Path) -> None:
    """A DELETE that says nothing of its effects would pass every environment's limits."""
    little.checks = {"functional": [WRITING["DELETE"]]}
    with pytest.raises(SpecError, match="DELETE may change what it is sent to") as caught:
        little.load()
    assert caught.value.hint.startswith("write effects: test-data")
    little.checks = {"functional": [WRITING["DELETE"].replace("DELETE", "DELETE, effects: none")]}
    assert little.load().verification.functional[0].effects == "none"  # type: ignore[attr-defined]
