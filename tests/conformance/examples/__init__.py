"""Examples of our own kinds, one file per family: what the contracts are asked on, and models for others.

Handed over as anybody hands over his own: `--example tests.conformance.examples:example`.

Hides: which file has which.
Never: holds a contract.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from rollback.conformance.example import Example
from rollback.model.registry import Kind


def example(kind: type[Kind]) -> tuple[Example, ...]:
    """Every example of this kind of ours. Raises: LookupError where it has none."""
    module = importlib.import_module(f"{__name__}.{kind.family}")
    known: Mapping[str, tuple[Example, ...]] = module.EXAMPLES
    if kind.kind not in known:
        raise LookupError(f"the {kind.family} {kind.kind} of ours has none in {module.__name__}")
    return known[kind.kind]
