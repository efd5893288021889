"""Which kinds of ours there are, and on what each is tried."""

from __future__ import annotations

from functools import cache

from rollback.conformance import ours
from rollback.conformance.asked import Case, examples_of
from rollback.model.registry import FAMILIES, Kind, kinds

# Kinds without an example that can be tried alone, and where else what they owe is shown.
ELSEWHERE = {
    ("action", "guarded"): "needs the command line: tests/cli/test_guard.py",
    ("action", "take-back"): "needs the engine: tests/act/test_undo.py",
    ("action", "compare"): "needs a transaction log: tests/act/test_recovery.py",
    ("action", "repair"): "needs a transaction log: tests/act/test_recovery.py",
    ("action", "replay"): "needs a transaction log: tests/act/test_recovery.py",
    ("action", "vouched"): "needs a transaction log: tests/act/test_recovery.py",
}


@cache
def cases() -> tuple[Case, ...]:
    """Every kind of ours on each of its examples, but those that are shown elsewhere."""
    found: list[Case] = []
    for family in FAMILIES:
        for name, kind in kinds(family).items():
            if (family, name) not in ELSEWHERE and kind.__module__.startswith("rollback."):
                found += examples_of(kind, example)
    return tuple(found)


def example(kind: type[Kind]) -> object:
    """Ours, or that of a kind that needs a server which only tests have."""
    from tests.conformance import servers

    elsewhere = {("store", "s3"): servers.STORES, ("content", "postgres"): servers.CONTENTS}
    return elsewhere.get((kind.family, kind.kind)) or ours.example(kind)
