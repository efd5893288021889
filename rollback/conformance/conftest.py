"""Asks the contracts of what `--kind` names, each of the family it belongs to, and no others.

Hides: how pytest is told.
Never: collects anything when nobody asked.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from rollback.conformance.asked import CASES, Case
from rollback.conformance.fixtures import parametrized, rows
from rollback.conformance.fixtures import words as words  # a fixture
from rollback.conformance.fixtures import world as world  # a fixture

_EVERY = "declaration"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Only the file of an asked family is read, and the one that is for every family."""
    cases = config.stash.get(CASES, ())
    wanted = {f"test_{case.kind.family}.py" for case in cases}
    if cases:
        wanted.add(f"test_{_EVERY}.py")
    if collection_path.name.startswith("test_") and collection_path.parent == Path(__file__).parent:
        return collection_path.name not in wanted or None
    return None


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> list[pytest.Item] | None:
    """A contract that none of the kinds can be asked is not there: it neither passes nor is skipped."""
    cases: tuple[Case, ...] = collector.config.stash.get(CASES, ())
    contract = name.startswith("test_") and inspect.isfunction(obj)
    return [] if contract and not rows(obj, collector.obj, cases) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every contract on every example."""
    cases: tuple[Case, ...] = metafunc.config.stash.get(CASES, ())
    parametrized(metafunc, cases)
