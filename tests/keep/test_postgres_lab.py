"""The PostgreSQL of the tests leaves nothing on the machine, however its test ends."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.keep.postgres_lab import Lab

ROOT = Path(__file__).parents[2]
STARTS = """
import time
from tests.keep.postgres_lab import running
with running() as lab:
    print(lab.pid, flush=True)
    time.sleep(600)
"""


def test_no_memory_of_the_server_lies_outside_of_its_folder(lab: Lab) -> None:
    """Killed, it could not take away what it had in /dev/shm."""
    server = psutil.Process(lab.pid)
    maps = [one.path for each in (server, *server.children()) for one in each.memory_maps()]
    assert [path for path in maps if path.startswith("/dev/shm")] == []
    assert [path for path in maps if "/pg_dynshmem/" in path] != []


def test_the_server_of_a_killed_test_ends() -> None:
    """Whoever started it had no time to stop it."""
    with subprocess.Popen([sys.executable, "-c", STARTS], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        server = psutil.Process(int(process.stdout.readline()))
        folder = Path(server.cmdline()[server.cmdline().index("-D") + 1]).parent
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 30
    try:
        while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "the server still runs"
            time.sleep(0.05)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
