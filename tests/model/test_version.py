"""The version stands in one constant, which the package agrees with."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

from rollback import VERSION


def test_the_version_is_that_of_the_package() -> None:
    """What is built, what is installed, and what a plan says."""
    built = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(built.read_text())["project"]["version"] == VERSION
    assert metadata.version("rollback-proof") == VERSION
