"""The suites' plugin, for `pytest .../verification` where nothing else loads it."""

from __future__ import annotations

pytest_plugins = ("rollback.prove.plugin",)
