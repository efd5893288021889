"""One test for each check that the declaration lists in this suite."""

from __future__ import annotations

from rollback.prove.question import Question


def test_declared(declared: Question) -> None:
    """The check answers what is wanted of it; UNKNOWN is never that."""
    declared.holds()
