"""Examples of our own kinds, one file per family: what the contracts are asked on, and models for others.

A kind that needs somebody else's server (PostgreSQL, object storage) has its example where that is had.

Hides: which file has which.
Never: is imported by what runs a rollback.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from rollback.conformance.example import Example
from rollback.model.registry import Kind


def example(kind: type[Kind]) -> tuple[Example, ...]:
    """Every example of this kind of ours. Raises: LookupError where it has none here."""
    module = importlib.import_module(f"{__name__}.{kind.family}")
    known: Mapping[str, tuple[Example, ...]] = module.EXAMPLES
    if kind.kind not in known:
        raise LookupError(f"the {kind.family} {kind.kind} has none here; name one with --example")
    return known[kind.kind]
