"""A small process beside a drill that clears up after it, however the drill ends.

It hears of the drill's end by the end of a pipe, which the kernel closes even after SIGKILL. Then
it heals what is still broken, ends the services by their locks, and removes temporary folders.

Hides: what is left to do; it is written to the pipe before it is done to the world.
Never: ends a process that has not the given lock file open at this moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_S = 3600.0
_START = "import sys; from drills.faults.watchdog import main; sys.exit(main())"


class Watchdog:
    """From `with` to its end a child watches; afterwards it has cleared up and is gone.

    `folders` are temporary: removed at the end of the watch, unless `keep`. Services whose lock
    file (any `*.lock` below a `run` folder of them, or `lock_name`) is held are ended first. When
    the drill ends in good order it has nothing to do.
    """

    def __init__(
        self, *, folders: Iterable[Path] = (), lock_name: str = "*.lock", keep: bool = False,
        within_s: float = LIMIT_S,
    ) -> None:  # fmt: skip
        self._order: dict[str, Any] = {
            "folders": [str(folder) for folder in folders], "lock_name": lock_name, "keep": keep,
            "within_s": within_s,
        }  # fmt: skip
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-c", _START], cwd=REPOSITORY,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.tell(order=self._order)
        assert self._child.stdout is not None
        if self._child.stdout.readline() != b"watching\n":
            raise RuntimeError("the watchdog does not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(60.0)
        assert self._child.stdout is not None
        self._child.stdout.close()

    @property
    def pid(self) -> int:
        """The watching process."""
        assert self._child is not None
        return self._child.pid

    def tell(self, **said: Any) -> None:
        """The watchdog knows: `heal` names a cure and what for, `healed` that it is done."""
        assert self._child is not None
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(said).encode() + b"\n")
        self._child.stdin.flush()


# -- the child --------------------------------------------------------------------------------


def main() -> int:
    """The drill has ended, or its time is up, and nothing of it is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its pipe, and not before
    order: dict[str, Any] = {}
    cures: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + LIMIT_S
    rest = b""
    while (left_s := deadline - time.monotonic()) > 0:
        if not select.select([0], [], [], min(left_s, 60.0))[0]:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "order" in said:
                order = said["order"]
                deadline = time.monotonic() + float(order["within_s"])
                os.write(1, b"watching\n")
            elif "heal" in said:
                cures[said["heal"]["id"]] = said["heal"]
            else:
                cures.pop(said["healed"], None)
    for cure in reversed(cures.values()):
        with suppress(OSError, KeyError):
            heal(cure)
    for folder in map(Path, order.get("folders", ())):
        for lock in folder.rglob(order["lock_name"]):
            if lock.parent.name == "run":
                end_holders(lock)
        if not order["keep"]:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def heal(cure: dict[str, Any]) -> None:
    """What a fault left broken is whole again: a process goes on, a file has its bytes and mode."""
    what = cure["what"]
    if what == "resume":
        for pid in holders(Path(cure["lock"])):
            with pinned(pid, Path(cure["lock"])) as pidfd:
                if pidfd >= 0:
                    signal.pidfd_send_signal(pidfd, signal.SIGCONT)
    elif what == "bytes":
        put_right(Path(cure["path"]), Path(cure["aside"]))
    elif what == "attribute":
        argv = ["chattr", str(cure["flag"]), "--", str(cure["path"])]
        subprocess.run(argv, check=False, timeout=10, capture_output=True)


def put_right(path: Path, aside: Path) -> None:
    """A file with a flipped bit has its bytes again; `aside` and its folder are gone."""
    if not aside.exists():
        return
    whole, now = aside.read_bytes(), path.read_bytes() if path.is_file() else b""
    bits = sum((a ^ b).bit_count() for a, b in zip(whole, now, strict=False))
    if len(whole) == len(now) and bits == 1:  # else somebody wrote another file: it is not ours
        with path.open("r+b") as file:
            file.write(whole)
        status = aside.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.rmtree(aside.parent)


class pinned:  # noqa: N801 - reads as a verb
    """A pidfd of the process while it has the lock file open; -1 when it has not."""

    def __init__(self, pid: int, lock: Path) -> None:
        self._pid = pid
        self._lock = lock
        self._fd = -1

    def __enter__(self) -> int:
        with suppress(ProcessLookupError):
            self._fd = os.pidfd_open(self._pid)
        if self._fd >= 0 and opens(self._pid, os.stat(self._lock)):  # asked once it is pinned
            return self._fd
        return -1

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def holders(lock: Path) -> list[int]:
    """The processes, other than this one, that have exactly this file open; none when it is free."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        wanted = os.fstat(fd)
    else:
        return []
    finally:
        os.close(fd)
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and opens(pid, wanted)]


def opens(pid: int, wanted: os.stat_result) -> bool:
    """True when the process has the file open."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"{folder}/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def end_holders(lock: Path, within_s: float = 5.0) -> list[int]:
    """Nobody but us has the lock file open any more; whom that took."""
    ended: list[int] = []
    deadline = time.monotonic() + within_s
    while found := holders(lock):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{lock} is still held by {found}")
        for pid in found:
            with pinned(pid, lock) as pidfd, suppress(ProcessLookupError, FileNotFoundError):
                if pidfd >= 0:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    ended.append(pid)
        reap()
        time.sleep(0.001)
    return ended


def reap() -> None:
    """Children that ended, adopted ones too, are gone from the table."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
