"""Several parts of a system say the same, or it is said who says what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from rollback.model.finding import Answer
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.observe.world import check, free_port

ViewOf = Callable[..., View]


def says(text: str) -> dict[str, Any]:
    return {"command": {"argv": ["/bin/echo", text]}}


CONFIG = {"config": {"file": "config/config.yaml", "keys": ["party.maxAgents"]}}
ROWS = {"sql": {"database": "data/state.db", "query": "select count(*) + 1 from sessions"}}


@pytest.mark.parametrize(
    ("values", "equals", "answer", "said"),
    [
        ({"a": says("3"), "b": CONFIG, "c": ROWS}, None, Answer.PASS, "they agree: a 3, b 3, c 3"),
        ({"a": says("3"), "b": CONFIG}, 3, Answer.PASS, "they agree"),
        ({"a": says("3"), "b": CONFIG}, {"below": 3}, Answer.FAIL, "3 is not below 3"),
        ({"a": says("3"), "b": CONFIG}, 4, Answer.FAIL, "a: 3 is not 4; b: 3 is not 4"),
        ({"a": says("4"), "b": CONFIG}, None, Answer.FAIL, "do not agree: a 4, b 3"),
        ({"a": says('"3"'), "b": CONFIG}, None, Answer.FAIL, "do not agree"),
        ({"a": says("true"), "b": says("1")}, None, Answer.FAIL, "do not agree: a true, b 1"),
        ({"a": says(""), "b": CONFIG}, None, Answer.UNKNOWN, "a: printed nothing"),
        ({"a": says("3"), "b": {"config": {"file": "config/config.yaml", "keys": ["gone"]}}}, None,
         Answer.UNKNOWN, "b: config/config.yaml: gone is missing"),
        ({"a": says("3"), "b": {"config": {"file": "config/gone.yaml", "keys": ["x"]}}}, None,
         Answer.UNKNOWN, "b: "),
        ({"a": says("3"), "b": {"config": {"file": "config/config.yaml"}}}, None,
         Answer.UNKNOWN, "needs one key"),
        ({"a": says("3"), "b": says("4"), "c": says("")}, None, Answer.FAIL, "do not agree"),
        ({"a": says(""), "b": says("")}, None, Answer.UNKNOWN, "b: printed nothing"),
        ({"evidence": says("3"), "details": says("3")}, None, Answer.PASS, "they agree"),
    ],
)  # fmt: skip
def test_values_agree(
    root: Path, view_of: ViewOf, values: dict[str, Any], equals: Any, answer: Answer, said: str
) -> None:
    """Alike and of one kind; somebody silent is nobody who agrees, and two who differ are enough."""
    given = {"values": values} | ({} if equals is None else {"equals": equals})
    finding = ask(check("agree", **given), view_of())
    assert finding.answer is answer, finding.evidence
    assert said in finding.evidence


def test_nobody_on_the_port_is_unknown(root: Path, view_of: ViewOf) -> None:
    """The part that is down is named."""
    url = f"http://127.0.0.1:{free_port()}/version"
    values = {"router": {"http": {"url": url, "pointer": "/v"}}, "config": CONFIG}
    finding = ask(check("agree", values=values), view_of())
    assert finding.answer is Answer.UNKNOWN
    assert finding.evidence.startswith("router: ")


@pytest.mark.parametrize(
    "values", [{}, {"a": says("1")}, {"a": says("1"), "b": {"files": {"exists": ["x"]}}}]
)
def test_what_gives_no_value_is_refused(values: dict[str, Any]) -> None:
    """When the declaration is read: one alone always agrees, and files have no value."""
    with pytest.raises(PydanticCustomError):
        check("agree", values=values)
