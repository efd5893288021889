"""Which kinds of ours there are, each on its examples, asked for as anybody's are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rollback.conformance import asked
from rollback.conformance.asked import Case
from rollback.model.registry import FAMILIES, Kind, kinds

EXAMPLE = "tests.conformance.examples:example"
ROOT = Path(__file__).parents[2]


def ours() -> tuple[type[Kind], ...]:
    """Every kind that we ship."""
    return tuple(kind for family in FAMILIES for kind in kinds(family).values()
                 if kind.__module__.startswith("rollback."))  # fmt: skip


@cache
def cases() -> tuple[Case, ...]:
    """Every kind of ours on each of its examples; one without any is a usage error."""
    words = [f"{kind.__module__}:{kind.__name__}" for kind in ours()]
    return asked.cases(words, EXAMPLE, str(ROOT))
