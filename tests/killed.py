"""Killed, or out of disk, at any change to the world: one way for every test.

The taps that count and kill are those of the kill sweep. The killed one is a forked child.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from collections.abc import Callable
from typing import TypeVar

import psutil

from rollback.conformance.dying import KILLED, CountingTap, DyingTap, Point, in_child, shots
from rollback.host import Clock, Tap

__all__ = ["KILLED", "KILL_EVERY", "KILL_SOME", "CountingTap", "DyingAt", "DyingTap", "Failing", "Lacking",
           "Point", "freeze", "in_child", "shots", "without_renameat2"]  # fmt: skip
T = TypeVar("T")
# of the longest tests every so many points are killed at; `make drill` asks for each
KILL_EVERY = int(os.environ.get("KILL_EVERY", "24"))
KILL_SOME = max(1, KILL_EVERY // 3)  # of long ones
_RENAMEAT2 = {"x86_64": 316, "aarch64": 276, "riscv64": 276}
_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _RETURN, _ALLOW, _FAIL = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000


def freeze(pid: int) -> None:
    """The process is stopped, and is seen to be: a signal takes effect a moment after it was sent."""
    os.kill(pid, signal.SIGSTOP)
    stopped = Clock().poll(
        lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, within_s=30, every_s=0.005
    )
    assert stopped, f"process {pid} goes on"


class Lacking(Tap):
    """A kernel or a file system that does not know some calls: they fail with `code`.

    The others pass through `inner`, which counts or kills.
    """

    def __init__(self, *calls: str, code: int = errno.ENOSYS, inner: Tap | None = None) -> None:
        self.codes = dict.fromkeys(calls, code)
        self.inner = inner or Tap()

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        if call in self.codes:
            raise OSError(self.codes[call], os.strerror(self.codes[call]))
        return self.inner.change(call, where, do, torn)


def without_renameat2() -> None:
    """The kernel refuses renameat2 to this process from here on, as an old one does."""
    number = _RENAMEAT2[platform.machine()]
    code = b"".join(struct.pack("=HBBI", *line) for line in (
        (_LOAD, 0, 0, 0), (_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_RETURN, 0, 0, _ALLOW)))  # fmt: skip
    held = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(_SECCOMP, _FILTER, ctypes.create_string_buffer(program), 0, 0) == 0


class DyingAt(Tap):
    """The process is gone right after the first change of one kind."""

    def __init__(self, call: str) -> None:
        self.call = call

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        number, mode = (1, "after") if call == self.call else (0, "before")
        return DyingTap(number, mode).change(call, where, do, torn)


class Failing(CountingTap):
    """The nth change, and with `forever` every later one, fails as if the disk were full."""

    def __init__(self, at: int, forever: bool, code: int = errno.ENOSPC) -> None:
        super().__init__()
        self.at, self.forever, self.code = at, forever, code

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        super().change(call, where, lambda: None, torn)
        count = len(self.points)
        if count == self.at or (self.forever and count > self.at):
            if torn is not None:
                torn()
            raise OSError(self.code, os.strerror(self.code))
        return do()
