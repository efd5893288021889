"""Our own kinds, each on its examples, under the contracts that are shipped for everybody's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rollback.conformance.fixtures import parametrized
from rollback.conformance.fixtures import words as words  # a fixture
from rollback.conformance.fixtures import world as world  # a fixture
from tests.conformance.examples.servers import ENDS
from tests.conformance.our_kinds import cases

# Each file there registers kinds as it is imported, and they would be kinds of the whole session.
collect_ignore = ["wrong"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every contract of the package on every kind of ours."""
    if metafunc.module.__name__.rpartition(".")[2].startswith("test_our_"):
        parametrized(metafunc, cases())


@pytest.fixture(scope="session", autouse=True)
def servers() -> Iterator[None]:
    """What an example started for all is ended with the session."""
    yield
    ENDS.close()
