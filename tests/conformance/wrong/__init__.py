"""Kinds of somebody else's that are wrong on purpose, each in one way, and the right ones they came from."""

from __future__ import annotations

from collections.abc import Callable

from rollback.model.registry import Kind


def wrong(contract: str, says: str) -> Callable[[type[Kind]], type[Kind]]:
    """The class has to be noticed by this contract, with these words; `test_wrong_kinds` reads that."""
    return lambda kind: kind
