"""Asking to stop: whoever waits is woken, at whatever instant of the waiting the signal comes."""

from __future__ import annotations

import subprocess
import sys

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
