"""Rollbacks that prove themselves: checkpoints, levels, a gate of test suites, one journal."""

import importlib

VERSION = "0.1.0"  # as in pyproject.toml; asking the installed metadata costs 10 ms of every start

__all__ = [
    "VERSION",
    "Failed",
    "RolledBack",
    "check_safety",
    "execute_rollback",
    "verify_rollback_success",
]


def __getattr__(name: str) -> object:
    """The functions of `rollback.api`, loaded when somebody asks: the program itself does not."""
    if name in __all__:
        return getattr(importlib.import_module("rollback.api"), name)
    raise AttributeError(f"module 'rollback' has no attribute {name!r}")
