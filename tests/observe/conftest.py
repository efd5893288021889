"""A root with a bit of everything in it, a view of it, and a product that really runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host
from rollback.observe.view import View
from tests.conformance.examples.check import furnish
from tests.observe.world import declared, running


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a product that serves all tests that do not harm it."""
    with running(tmp_path_factory.mktemp("product")) as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a bit of everything in it."""
    root = tmp_path / "root"
    furnish(root)
    return root


@pytest.fixture
def view_of(root: Path) -> Callable[..., View]:
    """Builds a View of the root with more sections, and more of the view."""

    def build(
        *, since: Any = None, held: Any = None, baseline: Any = None, **sections: Any
    ) -> View:
        view = View(declared(root, **sections), Host())
        return replace(view, since=since, held=held or {}, baseline=baseline or {})

    return build


@pytest.fixture
def view(view_of: Callable[..., View]) -> View:
    return view_of()
