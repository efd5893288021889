"""Programs: run to their end under a deadline, or started as services that hold a lock.

A service is known by its lock file: the launcher takes the flock, writes who it started, and the
child inherits the open description. As long as the child lives the lock is held; when it is free
the service is gone. A process is signalled only through a pidfd whose identity was checked after
it was opened.

Hides: fork, sessions, pidfds, /proc.
Never: finds a process by name, by pattern, or by a pid alone; uses a shell.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import selectors
import signal as signal_
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rollback.host.tap import Tap
from rollback.model.errors import CommandFailed, HostError

OUTPUT_BYTES_MAX = 4 * 2**20
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


def run(
    argv: Sequence[str], *, cwd: str, timeout_s: float, environment: Mapping[str, str] | None = None,
    stdin: bytes = b"", limit_bytes: int = OUTPUT_BYTES_MAX, tap: Tap | None = None,
) -> Completed:  # fmt: skip
    """The program has ended, with all it started in its session; its output and status.

    Past `timeout_s` the whole session is killed and `timed_out` is True. `environment` is complete
    (see `base_environment`). Raises: CommandFailed when it cannot be started.
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
        stdout, stderr, timed_out = _collect(process, stdin, began + timeout_s, limit_bytes)
        _kill_session(process.pid)
        status = process.wait()
    return Completed(tuple(argv), status, stdout, stderr, time.monotonic() - began, timed_out)


def _collect(
    process: subprocess.Popen[bytes], stdin: bytes, deadline: float, limit_bytes: int
) -> tuple[bytes, bytes, bool]:
    assert process.stdout is not None
    assert process.stderr is not None
    kept: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    sizes = dict.fromkeys(kept, 0)
    with selectors.DefaultSelector() as waiting:
        for fd in kept:
            waiting.register(fd, selectors.EVENT_READ)
        if process.stdin is not None:
            try:
                process.stdin.write(stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it did not want its input; its exit status tells the rest
        timed_out = False
        while waiting.get_map():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                timed_out = True
                break
            ready = waiting.select(min(left_s, 0.2))
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    waiting.unregister(key.fd)
                elif sizes[key.fd] < limit_bytes:
                    kept[key.fd].append(chunk)
                    sizes[key.fd] += len(chunk)
            if not ready and process.poll() is not None:
                break  # it has ended; a child of its own keeps the pipe open
    if not timed_out:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            timed_out = True
    out, err = (b"".join(kept[fd])[:limit_bytes] for fd in kept)
    return out, err, timed_out


def _kill_session(leader: int) -> None:
    """Whatever is left of the session that we made ourselves ends."""
    try:
        os.killpg(leader, signal_.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing is left of it


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


def start_service(
    argv: Sequence[str], *, cwd: str, environment: Mapping[str, str], lock: str, log: str, tap: Tap
) -> int:
    """The program runs in a session of its own, holding `lock`; its pid.

    Again: HostError when the lock is held: the service is running.
    """
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    out = -1
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError(
                "the service is running already: its lock is held", where=lock
            ) from None
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(log, flags, 0o644)

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                list(argv), cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True, close_fds=True, pass_fds=(fd,),
            )  # fmt: skip

        try:
            process = tap.change("spawn", argv[0], spawn)
        except OSError as error:
            raise CommandFailed(
                f"cannot be started: {error.strerror}", argv=tuple(argv), status=127
            ) from error
        who = {"pid": process.pid, "started": started(process.pid), "boot": _boot()}
        line = json.dumps(who).encode() + b"\n"
        tap.change("ftruncate", lock, lambda: os.ftruncate(fd, 0))
        tap.change("write", lock, lambda: os.pwrite(fd, line, 0))
        process.returncode = 0  # not ours to wait for: it outlives us
        return process.pid
    finally:
        if out >= 0:
            os.close(out)
        os.close(fd)


def held(lock: str) -> bool:
    """True while some process holds the lock."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    if not held(lock):
        return None
    with open(lock, "rb") as file:
        line = file.readline(4096)
    try:
        who = json.loads(line)
        pid, born, boot = int(who["pid"]), float(who["started"]), str(who["boot"])
        pidfd = os.pidfd_open(pid)
    except (ValueError, KeyError, TypeError, OSError) as error:
        if not held(lock):
            return None
        raise HostError(
            "the lock is held, but by whom cannot be established", where=lock,
            hint=f"look with: fuser -v {lock}",
        ) from error  # fmt: skip
    found = Holder(pid, pidfd)
    if boot == _boot() and started(pid) == born and _has_open(pid, lock):
        return found
    os.close(pidfd)
    if not held(lock):
        return None
    raise HostError(
        f"the lock is held, but process {pid} is not the one that was started", where=lock,
        hint=f"look with: fuser -v {lock}",
    )  # fmt: skip


def started(pid: int) -> float:
    """When the process began, in clock ticks since boot; -1 when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return float(file.read().rsplit(b")", 1)[1].split()[19])
    except (OSError, IndexError):
        return -1.0


def _has_open(pid: int, path: str) -> bool:
    wanted = os.stat(path)
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"{folder}/{name}")
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES):
                continue
            raise
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def attend(arguments: Sequence[str]) -> int:
    """This interpreter has run with these arguments, on our terminal; its exit status.

    An interrupt goes to both of us, as it does to any foreground job; the child answers it.
    """
    process = subprocess.Popen([sys.executable, *arguments])
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
