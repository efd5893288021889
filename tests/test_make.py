"""What `make` says where there is nothing to do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = "reports/node_modules/.package-lock.json"  # what makes pages is fetched from elsewhere


def test_pages_of_no_results_are_refused_in_one_friendly_line(tmp_path: Path) -> None:
    """Where they would come from is said; no bare number."""
    for folder in (tmp_path / "nothing", tmp_path):
        done = subprocess.run(
            ["make", "allure", f"RUN={folder}", "-o", PAGES], cwd=ROOT, text=True,
            capture_output=True, timeout=60, check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        )  # fmt: skip
        assert done.returncode == 2
        first, *rest = done.stderr.splitlines()
        assert first.startswith(f"No results in {folder}/: `make drill` leaves some")
        assert all(line.startswith("make: ***") for line in rest)
