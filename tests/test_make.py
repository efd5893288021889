"""What `make` says where there is nothing to do."""

from __future__ import annotations

import json
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


def test_the_first_pages_say_what_they_wait_for_before_they_wait(tmp_path: Path) -> None:
    """How much is fetched, where to and that it happens once; then the installer may show how far it is."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "reports").mkdir()
    lock = (ROOT / "reports" / "package-lock.json").read_text()
    (tmp_path / "reports" / "package-lock.json").write_text(lock)
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(
        '#!/bin/sh\nset -e\nmkdir -p reports/node_modules\necho "installs: $*" >&2\n'
        "touch reports/node_modules/.package-lock.json\n"
    )
    npm.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment = kept | {"PATH": f"{npm.parent}:{kept['PATH']}"}
    done, again = (
        subprocess.run(
            ["make", PAGES],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
            env=environment,
        )
        for _ in range(2)
    )
    assert done.returncode == 0, done.stderr
    count = len(json.loads(lock)["packages"]) - 1
    first, second = done.stderr.splitlines()
    assert first.startswith(
        f"Allure is installed into reports/node_modules, once: {count} packages"
    )
    assert "minutes on a slow one" in first
    assert second == "installs: ci --prefix reports --no-audit --no-fund --progress"
    assert "Allure is installed" not in again.stderr + again.stdout
