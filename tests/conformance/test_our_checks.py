"""Our checks keep the contract of their family."""

from __future__ import annotations

import pytest

from rollback.conformance.asked import Case
from rollback.conformance.test_check import *  # noqa: F403 - the contracts themselves
from rollback.conformance.test_check import (
    test_in_a_living_world_it_passes_and_changes_nothing as contract,
)
from rollback.conformance.world import World


@pytest.mark.requirement("QL-16")  # in the place of the contract's own name: it is asked once
def test_in_a_living_world_it_passes_and_changes_nothing(case: Case, world: World) -> None:
    """A check only looks: it passes, and every byte, mode and time below the root stays."""
    contract(case, world)
