"""Each drill gets a studio of its own, running, watched over, and gone afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drills import studio_run
from drills.sandboxes.studio import Studio
from drills.sweep import commit
from rollback.act.site import Site

JOURNAL = Path(__file__).resolve().parents[1] / "reports" / "drills.jsonl"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[Studio, Site]]:
    """A studio at v1.0.0 that runs; a watchdog stops it even if the drill is killed."""
    with studio_run.running(tmp_path / "drill") as found:
        yield found


def record(**measured: Any) -> None:
    """One line more in reports/drills.jsonl."""
    JOURNAL.parent.mkdir(exist_ok=True)
    body = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), **measured}
    with JOURNAL.open("a") as file:
        file.write(json.dumps(body) + "\n")
