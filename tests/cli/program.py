"""The program as an operator starts it: a child process, its status, what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START = "from rollback.cli import main; main()"


@dataclass(frozen=True)
class Ended:
    """How one call of the program ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


def rollback(folder: Path, *argv: str, **environ: str) -> Ended:
    """The program has run in this folder with these arguments."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROLLBACK")} | environ
    done = subprocess.run(
        [sys.executable, "-c", _START, *argv], cwd=folder, env=environment, text=True,
        capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)
