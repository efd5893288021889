"""A program of the caller's on the caller's terminal, in a process group of its own.

The group is the terminal's foreground while it runs, so that an interrupt reaches it and not us.
What asks us to end is passed on to it. It holds a lock as long as it lives: whoever comes after us
can tell that it still runs.

Hides: foreground groups and signals.
Never: leaves the terminal to a group that has ended; uses a shell.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from rollback.host.tap import Tap
from rollback.model.errors import CommandFailed

GRACE_S = 10.0
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def attended(
    argv: Sequence[str], *, cwd: str, environment: Mapping[str, str], lock: str, timeout_s: float,
    tap: Tap,
) -> int:  # fmt: skip
    """The program has run to its end; its exit status, negative for a signal.

    Past `timeout_s` its group is asked to end, and killed when it does not. Raises: CommandFailed
    when it cannot be started, or did not end in time.
    """
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(list(argv), cwd=cwd, env=dict(environment), process_group=0,
                                    close_fds=True, pass_fds=(fd,))  # fmt: skip

        try:
            process = tap.change("spawn", argv[0], spawn)
        except OSError as error:
            raise CommandFailed(
                f"cannot be started: {error.strerror}", argv=tuple(argv), status=127,
                hint="nothing was done by it; correct the command, then type it again",
            ) from error  # fmt: skip
    except BlockingIOError:
        raise CommandFailed("it still runs: a command before it holds its lock", argv=tuple(argv),
                            status=126, hint=f"look with: fuser -v {lock}") from None  # fmt: skip
    finally:
        os.close(fd)
    with _foreground(process.pid), _passing_on(process.pid):
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            raise CommandFailed(f"it did not end within {timeout_s:.0f} s and was ended",
                                argv=tuple(argv), status=124) from None  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            return


@contextmanager
def _foreground(group: int) -> Iterator[None]:
    """The group is the terminal's foreground, where we were it; then we are it again."""
    fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else -1
    ours = os.getpgrp()
    if fd < 0 or os.tcgetpgrp(fd) != ours:
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or we would stop when we take it back
    try:
        with suppress(OSError):  # it ended at once
            os.tcsetpgrp(fd, group)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)  # it may have asked for the terminal too early
        yield
    finally:
        with suppress(OSError):
            os.tcsetpgrp(fd, ours)
        signal.signal(signal.SIGTTOU, before)


@contextmanager
def _passing_on(group: int) -> Iterator[None]:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def said_aside() -> Iterator[None]:
    """What is written to standard output goes to standard error, of those we start too."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
