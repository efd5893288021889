"""The suites' plugin, so that `pytest verification -m smoke --system FILE` works from here."""

from __future__ import annotations

pytest_plugins = ("rollback.prove.plugin",)
