"""Kinds of somebody else's that are wrong on purpose, each in one way, and the right ones they came from.

`WRONG` says which contract of `rollback.conformance` has to notice, and in which words.
"""

from __future__ import annotations

from collections.abc import Callable

from rollback.model.registry import Kind

WRONG: dict[str, tuple[str, str]] = {}
"""By `MODULE:CLASS`: the contract, and what it says."""


def wrong(contract: str, says: str) -> Callable[[type[Kind]], type[Kind]]:
    """The class is noticed by this contract, with these words."""

    def note(kind: type[Kind]) -> type[Kind]:
        WRONG[f"{kind.__module__}:{kind.__name__}"] = (contract, says)
        return kind

    return note
