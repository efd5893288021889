"""What the contracts stand on: the cases, a world for each, and one way to say what is broken.

Hides: how pytest is told.
Never: holds a contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.conformance.asked import Case
from rollback.conformance.world import World, world_of


def owes(kept: object, otherwise: str) -> None:
    """The contract is kept; else the test says `otherwise`, and nothing of our insides."""
    __tracebackhide__ = True
    if not kept:
        pytest.fail(otherwise, pytrace=False)


def parametrized(metafunc: pytest.Metafunc, cases: Iterable[Case]) -> None:
    """The contract is asked of every case of its family; where it needs it, with each of its spoils."""
    family = getattr(metafunc.module, "FAMILY", "")
    mine = [case for case in cases if family in ("", case.kind.family)]
    if "spoil" in metafunc.fixturenames:
        pairs = [(case, spoil) for case in mine for spoil in case.example.spoils]
        metafunc.parametrize(
            ("case", "spoil"), pairs, ids=[f"{case.id}-{spoil}" for case, spoil in pairs]
        )
    elif "case" in metafunc.fixturenames:
        metafunc.parametrize("case", mine, ids=[case.id for case in mine])


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
