"""Who waits for a lock, as the kernel lists it.

Hides: the lines of /proc/locks.
Never: takes a lock to find out.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

_WAITS = re.compile(r"-> FLOCK +\w+ +\w+ +(\d+) +[0-9a-f]+:[0-9a-f]+:(\d+) ")


def waiting(lock: str, *, session: int) -> tuple[int, ...]:
    """The processes of this session that wait for the flock of this file; none where nobody can see."""
    found: list[int] = []
    with suppress(OSError):
        inode = os.stat(lock).st_ino
        with open("/proc/locks", encoding="ascii") as file:
            waits = [(int(pid), int(number)) for pid, number in _WAITS.findall(file.read())]
        for pid in (pid for pid, number in waits if number == inode):
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == session:
                    found.append(pid)
    return tuple(found)
