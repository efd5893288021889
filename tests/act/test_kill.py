"""A rollback is killed, at some of its changes on every commit and at all of them in `make drill`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from drills import sweep
from drills.sweep_world import CASES, Case

SHOTS_MAX = 15  # of one case; the stride follows from it
GATED_SHOTS_MAX = 4  # each runs a suite


@pytest.mark.requirement("MB-40", "MB-61")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_killed_anywhere_a_rollback_converges(case: Case, tmp_path: Path) -> None:
    """Old or new, a journal that verifies, no claim without its effect, one end for every kill.

    Another phase of the stride every day, so that over time every point has its turn.
    """
    most = GATED_SHOTS_MAX if case.gated else SHOTS_MAX
    every = max(1, -(-EXISTING[case.id] // most))
    phase = dt.datetime.now(dt.UTC).timetuple().tm_yday
    (found,) = sweep.sweep([case], every=every, offset=phase, again_every=0, whole=0)
    assert found.failures == [], "\n".join(map(str, found.failures))
    assert found.missed == 0
    assert 0 < found.covered <= most
    assert found.existing >= EXISTING[case.id] * 0.8, (
        "points got lost: is there a way past the tap?"
    )


# How many points there are, roughly; a fall means that changes no longer pass the tap.
EXISTING = {
    "flag": 74,
    "configuration": 564,
    "code-revert": 710,
    "code-reset": 704,
    "full-restore": 822,
    "component": 682,
    "gate": 201,
}


def test_a_kill_during_the_recovery_is_survived_too() -> None:
    """The point of the second kill moves with the first; then a third driver ends the run."""
    case = next(case for case in CASES if case.id == "flag")
    (found,) = sweep.sweep([case], every=9, again_every=11, whole=0)
    assert found.failures == [], "\n".join(map(str, found.failures))
    assert found.recoveries_covered >= 5
