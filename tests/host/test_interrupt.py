"""Asking to stop: whoever waits is woken, at whatever instant of the waiting the signal comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import signal, sys
from rollback.host.interrupt import Stop

at, seen = int(sys.argv[1]), 0

def trace(frame, event, _arg):
    global seen
    if event == "line":
        seen += 1
        if seen == at:
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)
    return trace

with Stop() as stop:
    stop.wake()
    sys.settrace(trace)
    stop.wait(5.0)
    sys.settrace(None)
    if not stop.asked:  # there are no so many instants
        signal.raise_signal(signal.SIGTERM)
    stop.wait(0.01)
    assert stop.because == "SIGTERM"
"""


@pytest.mark.parametrize("instant", range(1, 16))
def test_a_signal_may_come_at_any_instant_of_the_waiting(instant: int) -> None:
    """Also while the waiting holds a lock of its own: the handler runs inside of it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(instant)], timeout=30, check=False)
    assert done.returncode == 0


def test_an_interrupt_amid_a_text_that_is_executed_ends_with_the_declared_status(
    tmp_path: Path,
) -> None:
    """Classes are made of executed texts while modules are loaded; Python would end by the signal."""
    (tmp_path / "amid.py").write_text(
        "import sys\n"
        "from rollback.cli.failing import status_of\n"
        "def attempt():\n"
        "    exec('import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)')\n"
        "sys.exit(status_of(attempt, as_json=False))\n"
    )
    done = subprocess.run([sys.executable, "-m", "amid"], capture_output=True, text=True,
                          timeout=60, check=False, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 130, done
    assert "Traceback" not in done.stderr
    assert "interrupted: nothing more was done" in done.stderr
