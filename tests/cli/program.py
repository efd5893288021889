"""The program as an operator starts it: its status, and what it printed; as a child or in this process."""

from __future__ import annotations

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

_START = "from rollback.cli import main; main()"
# Root without the right to pass over permissions: then they hold for it as for anybody.
_PLAIN = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
libc.prctl(24, 1), libc.prctl(24, 2)
os.chdir(sys.argv[1])
os.execv(sys.executable, [sys.executable, "-m", "rollback", *sys.argv[2:]])
"""


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


def plainly(folder: Path, *argv: str) -> Ended:
    """The program as a user for whom permissions hold."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROLLBACK")}
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN, str(folder), *argv], capture_output=True, text=True,
        env=environment, timeout=240, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


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
