"""A small system that really runs: one service, one flag, a repository, and a scene for its steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback.conformance.world import World, free_ports, openers
from tests.conformance.examples.small import APP, build

__all__ = ["APP", "World", "build", "free_ports", "openers"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The small system; its services are ended afterwards."""
    made = build(tmp_path)
    yield made
    made.end()
