"""`kill -9` of a running `rollback run`, at one moment after another; `rollback resume` ends COMPLETE.

The real program, the real studio, the real gate. How many moments: DRILL_KILLS (default 6; at most
9, since the studio allows ten runs a day), spread evenly over an uninterrupted run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
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
    for number in range(KILLS):
        assert _told(made, "undo", _last(made), "--yes")["state"] == "MITIGATED"
        after = 2 + number * (length - 3) // max(1, KILLS - 1)
        run = _killed(made, level, after)
        ended = _told(made, "resume", run, "--as", "an-operator")
        assert ended["state"] == "COMPLETE", (after, ended)
        claims = Counter(
            event["data"]["index"] for event in _events(made, run) if event["kind"] == "step.ended"
        )
        assert set(claims.values()) == {1}, (after, claims)
        branches = _git(made, "branch", "--list", f"*-{run}").split()
        assert len([name for name in branches if name != "*"]) == 1, (after, branches)
        assert _told(made, "audit", "verify")["whole"] is True


def _restart(made: Studio) -> None:
    studio_run.restart(made)


def _killed(made: Studio, level: str, after: int) -> str:
    """A run killed once its journal holds `after` events; its id."""
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
    process.wait()
    return _last(made)


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
