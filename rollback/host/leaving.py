"""A program that is started and left: nobody waits for its end, and its end leaves nothing behind.

Hides: sessions, and who reaps.
Never: uses a shell; keeps a hand on what it started.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from rollback.host import processes
from rollback.host.tap import Tap

_LEFT: set[int] = set()


def leave(argv: Sequence[str], *, cwd: str, tap: Tap) -> int:
    """The program runs in a session of its own, with our environment; nobody waits for it. Its pid.

    Those that were left before and have ended are gone from the table of processes. Raises:
    CommandFailed when it cannot be started.
    """
    for pid in list(_LEFT):
        _reap(pid)

    process = processes.apart(
        argv, tap, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _LEFT.add(process.pid)
    return process.pid


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # started before a fork: somebody else's
        if os.waitpid(pid, os.WNOHANG)[0] == 0:
            return
    _LEFT.discard(pid)
