"""The kernel itself says no, at every call that changes something: strace injects the error.

E2: what the taps show (`test_errno`) is shown again without them, so a change that passes no tap is
found as well. A call is counted for each thread by itself, which is how strace counts.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollback.host import Clock, Tap
from rollback.model.errors import RollbackError
from tests.keep.deeds import DEEDS, Deed
from tests.power import Recorder, write

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
CODES = ("ENOSPC", "EIO", "EROFS", "EDQUOT")
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "syncfs", "ftruncate", "fchmod", "fchown", "renameat",
         "renameat2", "linkat", "symlinkat", "mkdirat", "unlinkat", "utimensat")  # fmt: skip
STRACE = shutil.which("strace")
WITHIN_S = 60.0

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]


@pytest.fixture
def base() -> Iterator[Path]:
    above = Path(tempfile.mkdtemp(dir=FAST, prefix="strace-"))
    (above / "world").mkdir(mode=0o755)
    yield above / "world"
    shutil.rmtree(above)


def traced(deed: Deed, log: Path, *inject: str) -> tuple[int, list[str]]:
    """How a child ended that did the deed under strace: 0 well, 7 an error of ours; what it reported."""
    shared = mmap.mmap(-1, 4096)  # to say something takes no call that may be injected
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            deed.do(Tap(), lambda what: shared.write(what.encode() + b"\n"))
            status = 0
        except RollbackError:
            status = 7
        finally:
            os._exit(status)
    os.waitpid(child, os.WUNTRACED)
    argv = [
        "strace",
        "-f",
        "-qq",
        "-o",
        str(log),
        "-e",
        f"trace={','.join(CALLS)}",
        *inject,
        "-p",
        str(child),
    ]
    tracer = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    clock = Clock()
    status = Path(f"/proc/{child}/status")
    assert clock.poll(
        lambda: "TracerPid:\t0" not in status.read_text(), within_s=WITHIN_S, every_s=0.002
    )
    os.kill(child, signal.SIGCONT)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    tracer.wait(timeout=WITHIN_S)
    return ended, shared[:].rstrip(b"\0").decode().split()


def counted(log: Path) -> dict[str, int]:
    """How often each call was made, by the thread that made it most."""
    found = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
    most: dict[str, int] = {}
    for (_, call), count in found.items():
        most[call] = max(count, most.get(call, 0))
    return most


@pytest.mark.parametrize("name", DEEDS)
def test_every_error_of_the_kernel_leaves_old_or_new(
    base: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    """An error of ours or a good end; nothing is listed that does not restore; the next command converges."""
    if STRACE is None:
        print("no error was injected: there is no strace")
        return
    deed = DEEDS[name](base)
    begin = Recorder(base).begin
    log = base.parent / "log"
    assert traced(deed, log)[0] == 0
    wrong: list[object] = []
    shots = 0
    for call, count in sorted(counted(log).items()):
        for at in range(1, count + 1):
            for code in CODES:
                write(begin, base)
                ended, reported = traced(deed, log, "-e", f"inject={call}:error={code}:when={at}")
                shots += "(INJECTED)" in log.read_text(errors="replace")
                found = deed.judge(reported) if ended in (0, 7) else [f"it ended with {ended}"]
                if found:
                    wrong.append((call, at, code, found))
    assert not wrong, wrong[:5]
    assert shots, "nothing was injected"
    record_property("shots", shots)
    print(f"{shots} errors of the kernel in {name}")
