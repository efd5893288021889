"""Declared values: strict, frozen, lists for tuples; kinds by name with errors at their place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError, model_validator

import rollback.kinds  # noqa: F401
from rollback.model.registry import FAMILIES, Action, Check, Declared, Planned, kinds, nearest
from rollback.model.step import Check as CheckBase
from rollback.model.step import Step


class Inner(Declared):
    names: tuple[tuple[str, ...], ...] = ()


class Outer(Declared):
    numbers: tuple[int, ...] = ()
    inner: dict[str, Inner] = {}  # noqa: RUF012
    maybe: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _checked(self) -> Outer:
        return self


def test_a_list_fills_a_tuple_at_any_depth() -> None:
    found = Outer.model_validate(
        {"numbers": [1], "inner": {"a": {"names": [["x"], []]}}, "maybe": ["y"]}
    )
    assert found.inner["a"].names == (("x",), ())
    assert found.maybe == ("y",)


@pytest.mark.parametrize(
    "written",
    [
        {"numbers": ["1"]},
        {"numbers": [1.0]},
        {"numbers": "12"},
        {"numbers": {"1": 1}},
        {"other": 1},
    ],
)
def test_everything_else_is_strict(written: Any) -> None:
    with pytest.raises(ValidationError):
        Outer.model_validate(written)


def test_a_declared_value_never_changes() -> None:
    with pytest.raises(ValidationError):
        Outer().numbers = (2,)  # type: ignore[misc]


def test_an_error_inside_of_a_kind_has_its_whole_place() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(tuple[Check, ...]).validate_python(
            ({"http": {"url": "http://127.0.0.1/", "status": "x", "nope": 1}},)
        )
    (found,) = caught.value.errors()
    places = {tuple(one["loc"]) for one in found["ctx"]["errors"]}
    assert places == {("http", "status"), ("http", "nope")}


def test_an_error_in_an_alternative_has_its_whole_place() -> None:
    step = {"wait": {"for": "1s", "on_fail": {"then": [{"wait": {"for": 1}}]}}}
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Action).validate_python(step)
    (found,) = caught.value.errors()
    places = [tuple(one["loc"]) for one in found["ctx"]["errors"]]
    assert ("wait", "on_fail", "then", 0, "wait", "for") in places


@pytest.mark.parametrize("written", [None, "http", [], {}, {"a": 1, "b": 2}, {1: {}}, {"http": 5}])
def test_what_is_no_kind_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Check).validate_python(written)


def test_a_planned_kind_keeps_what_was_written() -> None:
    written = {
        "planned": {
            "kind": "ramp",
            "with": {"id": "x", "options": [1]},
            "missing": "asks a person",
        }
    }
    found = TypeAdapter(Action).validate_python(written)
    assert isinstance(found, Planned)
    assert found.planned_kind == "ramp"
    assert found.parameters == {"id": "x", "options": [1]}
    assert found.missing == "asks a person"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_registered_kind_says_what_it_is(family: str) -> None:
    for name, cls in kinds(family).items():
        assert cls.kind == name
        assert cls.__doc__, name


def test_steps_and_checks_have_a_time_limit() -> None:
    assert all(issubclass(cls, Step) for cls in kinds("action").values())
    assert all(issubclass(cls, CheckBase) for cls in kinds("check").values())


def test_the_nearest_name_or_what_there_is() -> None:
    assert nearest("htp", ["http", "sql"]) == "did you mean http?"
    assert nearest("zzz", ["http", "sql"]) == "known: http, sql"
    assert nearest("x", []) == ""
