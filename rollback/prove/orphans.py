"""Processes that outlive their tests: they come to us, are named, and end.

Hides: the child subreaper and the parent-death signal of Linux.
Never: ends a process that is not a descendant of this one.
"""

from __future__ import annotations

import ctypes
import signal

import psutil

from rollback.host.below import show

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ENDED_WITHIN_S = 2.0


def adopt() -> None:
    """What our descendants leave behind becomes our child, in any session; we end with our parent."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_all() -> list[str]:
    """No descendant runs any more; the command lines of those that did."""
    found = psutil.Process().children(recursive=True)
    named = []
    for process in found:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                named.append(f"{process.pid} {show(' '.join(process.cmdline()) or process.name())}")
            process.kill()
        except psutil.NoSuchProcess:
            continue  # it ended by itself
    psutil.wait_procs(found, timeout=_ENDED_WITHIN_S)
    return named
