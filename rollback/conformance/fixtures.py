"""What the contracts stand on: the cases, a world for each, and one way to say what is broken.

Hides: how pytest is told.
Never: holds a contract.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rollback.conformance.asked import Case
from rollback.conformance.world import World, world_of

Contract = TypeVar("Contract", bound=Callable[..., None])
_ASKED_OF = "asked_of"


def owes(kept: object, otherwise: str) -> None:
    """The contract is kept; else the test says `otherwise`, and nothing of our insides."""
    __tracebackhide__ = True
    if not kept:
        pytest.fail(otherwise, pytrace=False)


def asked_of(holds: Callable[[Case], object]) -> Callable[[Contract], Contract]:
    """The contract is asked of the cases for which this holds, and of no others."""

    def note(contract: Contract) -> Contract:
        setattr(contract, _ASKED_OF, holds)
        return contract

    return note


def rows(contract: object, module: object, cases: Iterable[Case]) -> list[tuple[Any, ...]]:
    """What a contract is asked of: the cases of its family, where it needs it each with its spoils."""
    family = getattr(module, "FAMILY", "")
    holds = getattr(contract, _ASKED_OF, lambda _case: True)
    mine = [case for case in cases if family in ("", case.kind.family) and holds(case)]
    if "spoil" in inspect.signature(contract).parameters:  # type: ignore[arg-type] # a function
        return [(case, spoil) for case in mine for spoil in case.example.spoils]
    return [(case,) for case in mine]


def parametrized(metafunc: pytest.Metafunc, cases: Iterable[Case]) -> None:
    """The contract is asked of each of its rows."""
    if "case" not in metafunc.fixturenames:
        return
    found = rows(metafunc.function, metafunc.module, cases)
    names = ("case", "spoil") if "spoil" in metafunc.fixturenames else ("case",)
    metafunc.parametrize(names, found, ids=["-".join((row[0].id, *row[1:])) for row in found])


def _around(case: Case) -> dict[str, Any]:
    """Where a declaration names the kind: the sections in which the world has it."""
    kind, example = case.kind, case.example

    def inside(world: World) -> dict[str, Any]:
        return {kind.kind: case.parameters(world)}

    if kind.family == "metric":
        return {"metrics": lambda world: {"it": {**example.metric, "source": inside(world)}}}
    if kind.family == "notifier":
        return {"notify": lambda world: {"channels": {"it": inside(world)}}}
    return {}


@pytest.fixture
def words(case: Case, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The parameters of the example; a world is made only where they are about one."""
    if callable(case.example.parameters):
        return case.parameters(request.getfixturevalue("world"))
    return dict(case.example.parameters)


@pytest.fixture
def world(tmp_path: Path, case: Case) -> Iterator[World]:
    """The world of the example, prepared; what it started is ended afterwards."""
    made = world_of(tmp_path, case.example, _around(case))
    try:
        yield made
    finally:
        made.end()
