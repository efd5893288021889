"""The program as an operator starts it: its status, and what it printed; as a child or in this process."""

from __future__ import annotations

import ctypes
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback.cli.group import cli

_libc = ctypes.CDLL(None)
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
        capture_output=True, timeout=240, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def humbly(folder: Path, *argv: str) -> Ended:
    """The program has run without the right of root to look into everything."""
    done = subprocess.run(
        [sys.executable, "-c", _START, *argv], cwd=folder, text=True, capture_output=True, timeout=240,
        env={k: v for k, v in os.environ.items() if not k.startswith("ROLLBACK")}, check=False,
        stdin=subprocess.DEVNULL, preexec_fn=_without_rights,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def _without_rights() -> None:
    """Of the program that comes next; whoever has not those rights keeps what there is."""
    for capability in (1, 2):  # to pass over the permissions of files, and of folders
        _libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@dataclass(frozen=True)
class Typed:
    """How one call in this process ended."""

    status: int
    out: str
    err: str
    took_s: float


def typed(folder: Path, *argv: str) -> Typed:
    """The program called in this process, in this folder."""
    out, err = io.StringIO(), io.StringIO()
    began = time.monotonic()
    with inside(folder), redirect_stdout(out), redirect_stderr(err):
        status = cli.run(list(argv))
    return Typed(status, out.getvalue(), err.getvalue(), time.monotonic() - began)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """This folder is the current one."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
