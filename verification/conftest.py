"""The suites' plugin, for `pytest .../verification` where nothing above has loaded it."""

from __future__ import annotations

import pytest

PLUGIN = "rollback.prove.plugin"


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """The plugin is there, once; it brings its own options."""
    if not pluginmanager.has_plugin(PLUGIN):
        pluginmanager.import_plugin(PLUGIN)
