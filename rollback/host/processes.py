"""Programs: run to their end under a deadline, or started as services that hold a lock.

A service is known by its lock file: the launcher takes the flock, writes who it started, and the
child inherits the open description. As long as the child lives the lock is held; when it is free
the service is gone. A process is signalled only through a pidfd whose identity was checked after
it was opened.

Hides: fork, sessions, pidfds, /proc.
Never: finds a process by name, by pattern, or by a pid alone; uses a shell.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal as signal_
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from rollback.host.tap import Tap
from rollback.model.errors import CommandFailed, HostError

OUTPUT_BYTES_MAX = 4 * 2**20
_DRAIN_S = 0.2  # what a program wrote before it ended is there by then
_ASKING_S = 0.02
_WATCH_S = 0.25
_TRIES = 20
_BASE_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended. `status` is negative for a signal; output is cut at the cap."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    elapsed_s: float
    timed_out: bool = False


def base_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment: a few variables of ours, and `extra`. Nothing else leaks in."""
    inherited = {name: os.environ[name] for name in _BASE_ENVIRONMENT if name in os.environ}
    inherited.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**inherited, **(extra or {})}


def inherited(names: Sequence[str]) -> dict[str, str]:
    """Those of these variables that are set where we run."""
    return {name: os.environ[name] for name in names if name in os.environ}


def run(
    argv: Sequence[str], *, cwd: str, timeout_s: float, environment: Mapping[str, str] | None = None,
    stdin: bytes = b"", limit_bytes: int = OUTPUT_BYTES_MAX, tap: Tap | None = None,
    watch: Callable[[int], None] | None = None,
) -> Completed:  # fmt: skip
    """The program has ended, with all it started in its session; its output and status.

    Past `timeout_s` the whole session is killed and `timed_out` is True. `environment` is complete
    (see `base_environment`). `watch` is called with its number, now and then while it runs. Raises:
    CommandFailed when it cannot be started.
    """
    began = time.monotonic()
    tap = tap or Tap()
    try:
        process = tap.change("spawn", argv[0], lambda: subprocess.Popen(
            list(argv), cwd=cwd, env=dict(environment if environment is not None else base_environment()),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, close_fds=True))  # fmt: skip
    except OSError as error:
        raise CommandFailed(
            f"cannot be started: {error.strerror}", argv=tuple(argv), status=127
        ) from error
    with process:
        whole = False
        try:
            stdout, stderr, timed_out, whole = _collect(
                process, stdin, began + timeout_s, limit_bytes, watch
            )
        finally:  # an interrupt included: it never reaches a session of its own
            _kill_session(process.pid, thorough=not whole)
        status = process.wait()
    return Completed(tuple(argv), status, stdout, stderr, time.monotonic() - began, timed_out)


def _collect(
    process: subprocess.Popen[bytes],
    stdin: bytes,
    deadline: float,
    limit_bytes: int,
    watch: Callable[[int], None] | None,
) -> tuple[bytes, bytes, bool, bool]:
    """What it wrote, whether its time ran out, and whether nobody holds its pipes any more.

    The program is not reaped here, so that its number stays its own until its session is ended.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    sizes = dict.fromkeys(kept, 0)
    left = memoryview(stdin)
    pipes, ended, timed_out = 2, False, False
    pidfd = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as waiting:
        waiting.register(pidfd, selectors.EVENT_READ)
        for fd in kept:
            waiting.register(fd, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            waiting.register(process.stdin, selectors.EVENT_WRITE)
        while pipes or not ended:
            now = time.monotonic()
            if now >= deadline:
                timed_out = not ended
                break
            if watch is not None and not ended:
                watch(process.pid)
            left_s = deadline - now
            for key, _ in waiting.select(left_s if watch is None else min(left_s, _WATCH_S)):
                if key.fd == pidfd:
                    ended = True
                    deadline = min(deadline, now + _DRAIN_S)  # a child of its own may keep a pipe
                    waiting.unregister(pidfd)
                elif process.stdin is not None and key.fileobj is process.stdin:
                    left = _feed(waiting, process.stdin, left)
                elif chunk := os.read(key.fd, 65536):
                    if sizes[key.fd] < limit_bytes:
                        kept[key.fd].append(chunk)
                        sizes[key.fd] += len(chunk)
                else:
                    pipes -= 1
                    waiting.unregister(key.fd)
    os.close(pidfd)
    out, err = (b"".join(chunks)[:limit_bytes] for chunks in kept.values())
    return out, err, timed_out, not pipes


def _feed(waiting: selectors.BaseSelector, pipe: IO[bytes], left: memoryview) -> memoryview:
    """As much of its input as the program takes now; the pipe is closed after the last byte."""
    try:
        left = left[os.write(pipe.fileno(), left[:65536]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:
        left = left[:0]  # it did not want its input; its exit status tells the rest
    if not left:
        waiting.unregister(pipe)
        pipe.close()
    return left


def position(pid: int, path: str) -> int:
    """Up to which byte the process has read or written the file; 0 where that cannot be told."""
    with suppress(OSError, ValueError):
        wanted = os.stat(path)
        for name in os.listdir(f"/proc/{pid}/fd"):
            found = os.stat(f"/proc/{pid}/fd/{name}")
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
                    return int(file.readline().removeprefix("pos:"))
    return 0


def _kill_session(leader: int, *, thorough: bool) -> None:
    """Whatever is left of the session that we made ourselves ends.

    `thorough` looks for other groups of the session, too. The leader is not reaped yet, so no
    other group or session can have its number.
    """
    with suppress(ProcessLookupError, PermissionError):  # nothing is left of it
        os.killpg(leader, signal_.SIGKILL)
    for name in os.listdir("/proc") if thorough else ():
        if not name.isdigit() or session(int(name)) != leader:
            continue
        with suppress(OSError):  # it ended by itself, or runs as somebody else
            pidfd = os.pidfd_open(int(name))
            try:
                if session(int(name)) == leader:
                    signal_.pidfd_send_signal(pidfd, signal_.SIGKILL)
            finally:
                os.close(pidfd)


def session(pid: int) -> int:
    """The leader of the session that the process belongs to; -1 when there is none."""
    fields = _stat(pid)
    return int(fields[3]) if fields else -1


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name; none when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return []


# -- services ------------------------------------------------------------------------------


class Holder:
    """The live process behind a lock file: a pidfd whose identity was checked. Close it."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._pidfd)

    def signal(self, number: int, *, tap: Tap) -> None:
        """The process got the signal, or had ended before."""
        try:
            tap.change("pidfd_send_signal", str(self.pid), lambda: signal_.pidfd_send_signal(
                self._pidfd, number))  # fmt: skip
        except ProcessLookupError:
            pass  # it ended by itself


def apart(argv: Sequence[str], tap: Tap, **how: Any) -> subprocess.Popen[bytes]:
    """The program runs in a session of its own, without input, and outlives us; `how` is for Popen.

    Raises: CommandFailed when it cannot be started.
    """
    try:
        process = tap.change("spawn", argv[0], lambda: subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, start_new_session=True, close_fds=True, **how))  # fmt: skip
    except OSError as error:
        raise CommandFailed(
            f"cannot be started: {error.strerror}", argv=tuple(argv), status=127
        ) from error
    process.returncode = 0  # not ours to wait for
    return process


def start_service(
    argv: Sequence[str], *, cwd: str, environment: Mapping[str, str], lock: str, log: str, tap: Tap
) -> int:
    """The program runs in a session of its own, holding `lock`; its pid.

    Again: HostError when the lock is held: the service is running.
    """
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    out = -1
    try:
        if not _taken(fd):
            raise HostError("the service is running already: its lock is held", where=lock)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(log, flags, 0o644)

        process = apart(
            argv, tap, cwd=cwd, env=dict(environment), stdout=out, stderr=out, pass_fds=(fd,)
        )
        who = {"pid": process.pid, "started": started(process.pid), "boot": _boot()}
        line = json.dumps(who).encode() + b"\n"
        tap.change("ftruncate", lock, lambda: os.ftruncate(fd, 0))
        tap.change("write", lock, lambda: os.pwrite(fd, line, 0))
        return process.pid
    finally:
        if out >= 0:
            os.close(out)
        os.close(fd)


def _taken(fd: int) -> bool:
    """The lock is ours; somebody who only asks holds it for an instant, so it is tried twice."""
    for last in (False, True):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not last:
                time.sleep(_ASKING_S)
        else:
            return True
    return False


def held(lock: str) -> bool:
    """True while some process holds the lock."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # shared, so that two who ask at once do not take each other for the service
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def holder(lock: str) -> Holder | None:
    """The live process that holds the lock; None when nobody does.

    Raises: HostError when the lock is held but the identity of the holder cannot be established.
    """
    for last in (False,) * _TRIES + (True,):
        if not held(lock):
            return None
        found = _recognised(lock)
        if found or last:
            break
        time.sleep(_ASKING_S)  # between its fork and its first instruction nobody can be told apart
    if found is None:
        raise HostError(
            "the lock is held, but by whom cannot be established", where=lock,
            hint=f"look with: fuser -v {lock}",
        )  # fmt: skip
    return found


def _recognised(lock: str) -> Holder | None:
    """The holder, if who was written down, or the only one that the kernel names, has the lock.

    Killed between starting a service and writing down whom, a launcher leaves no record, or an old
    one; then the kernel still says who carries the lock.
    """
    for find in (_recorded, _leader):
        pid = find(lock)
        if pid is None:
            continue
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        # Looked at after opening: what the number means now, the descriptor means for good.
        if _carries(pid, lock):
            return Holder(pid, pidfd)
        os.close(pidfd)
    return None


def _recorded(lock: str) -> int | None:
    """The process that the launcher wrote down, if it still lives."""
    try:
        with open(lock, "rb") as file:
            who = json.loads(file.readline(4096))
        pid, born, boot = int(who["pid"]), float(who["started"]), str(who["boot"])
    except (ValueError, KeyError, TypeError, OSError, OverflowError):
        return None
    return pid if boot == _boot() and started(pid) == born else None


def _leader(lock: str) -> int | None:
    """The one session leader that carries the lock: services are started in sessions of their own.

    None when there is not exactly one.
    """
    leaders = [pid for pid in carriers(lock) if session(pid) == pid]
    return leaders[0] if len(leaders) == 1 else None


def carriers(lock: str) -> list[int]:
    """The processes that hold the lock now, without those that are not ours to look into."""
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if _carries(pid, lock)]


def _carries(pid: int, lock: str) -> bool:
    """True when the process has the lock file open and the kernel says that its lock is on it."""
    folder = f"/proc/{pid}"
    try:
        wanted = os.stat(lock)
        for name in os.listdir(f"{folder}/fd"):
            found = os.stat(f"{folder}/fd/{name}")
            if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino):
                continue
            with open(f"{folder}/fdinfo/{name}", encoding="ascii") as file:
                if any(line.startswith("lock:") and "FLOCK" in line for line in file):
                    return True
    except OSError:
        return False  # it ended while we looked, or is not ours to look into
    return False


def started(pid: int) -> float:
    """When the process began, in clock ticks since boot; -1 when there is none."""
    fields = _stat(pid)
    return float(fields[19]) if len(fields) > 19 else -1.0


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
