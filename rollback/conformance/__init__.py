"""The contracts that every kind keeps, as tests for anybody's: `pytest --pyargs rollback.conformance`.

`--kind MODULE:CLASS` names an action, check, metric source, notifier, store, content, service manager
or flag of anybody's; an `Example` beside it says what to try it on. One file of contracts per family.

Hides: how a kind gets a small system that it can be tried on, and loses it again.
Never: imports tests, drills or suites; asks anything of a system that somebody uses.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollback.conformance.example import Example

__all__ = ["Example"]


def __getattr__(name: str) -> object:
    """`Example`, loaded when somebody asks: pytest reads this file at every start."""
    if name in __all__:
        return getattr(importlib.import_module("rollback.conformance.example"), name)
    raise AttributeError(f"module 'rollback.conformance' has no attribute {name!r}")
