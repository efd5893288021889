"""What is started once for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.keep.postgres_lab import PASSWORD, Lab, running


@pytest.fixture(scope="session")
def a_lab() -> Iterator[Lab]:
    """A real PostgreSQL, started when the first test asks for it."""
    with running() as lab:
        yield lab


@pytest.fixture
def lab(a_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The server, and in the environment who we are there."""
    monkeypatch.setenv("LAB_USER", "postgres")
    monkeypatch.setenv("LAB_PASSWORD", PASSWORD)
    return a_lab
