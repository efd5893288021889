"""The declared system: conditions, responses, and what may be asked of the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import rollback.kinds  # noqa: F401
from rollback.declare import load
from rollback.model.component import Component, Flag, Service
from rollback.model.level import ChecklistItem, Source
from rollback.model.policy import Condition, Respond
from rollback.model.section import Section
from rollback.model.system import System

STUDIO = Path(__file__).resolve().parents[2] / "systems" / "studio.yaml"


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"metric": "a"},
        {"metric": "a", "event": "b", "above": 1},
        {"event": "a", "above": 1},
        {"all": []},
        {"above": 1},
        {"metric": "a", "above": True},
        {"metric": "a", "above": "x"},
        {"fact": "a", "is": True, "event": "b"},
    ],
)
def test_a_condition_is_one_thing_with_a_number(written: Any) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate(written)


def test_a_condition_knows_every_metric_it_reads() -> None:
    found = Condition.model_validate(
        {
            "any": [
                {"metric": "a", "above": 1},
                {"not": {"all": [{"metric": "b", "below": "10%"}]}},
                {"metric": "a", "below": 0},
            ]
        }
    )
    assert found.metrics == ("a", "b")


def test_a_response_is_one_thing() -> None:
    assert Respond.model_validate({"roll_back": "code"}).roll_back == "code"
    for written in ({}, {"roll_back": "a", "hold": "b"}):
        with pytest.raises(ValidationError):
            Respond.model_validate(written)


@pytest.mark.parametrize(
    ("model", "written"),
    [
        (Source, {"checkpoint": "a", "git": "b"}),
        (Source, {}),
        (ChecklistItem, {"id": "a", "item": "b"}),
        (Service, {"manager": "registry", "lock": "x"}),
        (Service, {"manager": "systemd"}),
        (Service, {"argv": ["a"]}),
        (Flag, {}),
        (Component, {"path": "/etc"}),
        (Component, {"path": "a/../b"}),
    ],
)
def test_what_makes_no_sense_is_refused(model: Any, written: Any) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(written)


def test_a_level_is_found_by_its_id_or_its_rank() -> None:
    system = load(STUDIO, environ={})
    by_rank, by_name = system.level("1"), system.level("flag")
    assert by_rank is not None
    assert by_rank == by_name
    assert system.level("nope") is None
    assert system.level("99") is None


def test_the_checks_come_in_the_order_of_the_suites() -> None:
    suites = [suite for suite, _ in load(STUDIO, environ={}).checks()]
    order = ["smoke", "functional", "integration", "performance"]
    assert suites == sorted(suites, key=order.index)


def test_the_holders_of_a_role_are_its_members() -> None:
    system = load(STUDIO, environ={})
    assert [member.id for member in system.holders("operator")] == ["an-operator"]
    assert system.holders("nobody") == ()


@pytest.mark.parametrize("name", [
    name for name, found in vars(System).items() if isinstance(found, Section) and found.optional
])  # fmt: skip
def test_a_section_that_is_not_written_is_what_an_empty_one_is_read_as(name: str) -> None:
    """Its defaults are not validated, to save the time: they are what validation would give."""
    section = vars(System)[name]
    system = System({}, declaration=Path("/r.yaml"), root=Path("/"), state=Path("/s"), digest="",
                    authority_digest="")  # fmt: skip
    validated = section.model(**section.empty)
    assert getattr(system, name) == validated
    assert getattr(system, name).model_dump() == validated.model_dump()
