"""`kill -9` of a running `rollback run`, at one moment after another; `rollback resume` ends COMPLETE.

The real program, the real studio, the real gate. How many moments: DRILL_KILLS (default 6), spread
evenly over an uninterrupted run. Each takes two runs, the killed one and the one that undoes the one
before, so this drill's own copy of the studio allows more runs a day than the declared one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drills import studio_run
from drills.faults.bad_release import BadRelease
from drills.sandboxes.studio import Studio
from rollback.act.site import Site

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]
KILLS = int(os.environ.get("DRILL_KILLS", "6"))
RUN_S_MAX = 180.0
RUNS = 2 + 2 * KILLS


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Studio, Site]]:
    """A studio that runs, may be rolled back often, and is gone afterwards."""
    with studio_run.running(
        tmp_path / "drill", within_s=RUNS * RUN_S_MAX, runs_a_day=RUNS
    ) as found:
        yield found


@pytest.mark.parametrize("level", ["code", "full-restore"])
def test_killed_at_any_moment_and_resumed_it_ends_complete(
    studio: tuple[Studio, Site], level: str
) -> None:
    """Each effect once: no step is claimed twice, one branch, one tag, and the journal is whole."""
    made, site = studio
    site.checkpoints.create("v1.0.0", kind="release", components=None, reason="drill")
    release = "v2.0.0" if level == "code" else "v2.0.0-corrupt"
    BadRelease(made, release, lambda: _restart(made)).inject()
    whole = _told(made, "run", level, "--yes")
    assert whole["state"] == "COMPLETE", whole
    length = len(_events(made, whole["run_id"]))
    died = 0
    for number in range(KILLS):
        undone = _told(made, "undo", _last(made), "--yes")
        assert undone.get("state") == "MITIGATED", (number, undone)
        after = 2 + number * (length - 3) // max(1, KILLS - 1)
        run, dead = _killed(made, level, after)
        died += dead
        ended = _told(made, "resume", run, "--as", "an-operator")
        assert ended.get("state") == "COMPLETE", (after, ended)
        claims = Counter(
            event["data"]["index"] for event in _events(made, run) if event["kind"] == "step.ended"
        )
        assert set(claims.values()) == {1}, (after, claims)
        branches = _git(made, "branch", "--list", f"*-{run}").split()
        assert len([name for name in branches if name != "*"]) == 1, (after, branches)
        assert _told(made, "audit", "verify")["whole"] is True
    assert died >= KILLS - 1, "the program ended before it was killed"  # the last moment is its end


def _restart(made: Studio) -> None:
    studio_run.restart(made)


def _killed(made: Studio, level: str, after: int) -> tuple[str, bool]:
    """A run killed once its journal holds `after` events; its id, and whether it still ran."""
    seen = len(_events(made))
    process = subprocess.Popen(
        [sys.executable, "-m", "rollback", "run", level, "--yes"],
        cwd=made.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + RUN_S_MAX
    while len(_events(made)) < seen + after and process.poll() is None:
        assert time.monotonic() < deadline, "the run did not get so far"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return _last(made), process.wait() == -signal.SIGKILL


def _last(made: Studio) -> str:
    return str([e["run"] for e in _events(made) if e["kind"] == "run.planned"][-1])


def _events(made: Studio, run: str = "") -> list[dict[str, Any]]:
    path = made.directory / ".rollback" / "journal" / "events.jsonl"
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # being written, or torn and sealed later
    return [event for event in found if not run or event["run"] == run]


def _told(made: Studio, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "rollback", "--json", *words],
        cwd=made.directory, capture_output=True, check=False, timeout=RUN_S_MAX,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _git(made: Studio, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=Path(made.root), capture_output=True, check=True)
    return done.stdout.decode()
