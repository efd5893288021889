"""Mounts that nobody else sees: made by a child of its own, gone with it however it ends."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from tests.killed import in_child

NEW_NAMESPACE, NEW_USER = 0x00020000, 0x10000000
BIND, REMOUNT, RECURSIVE, PRIVATE = 0x1000, 0x20, 0x4000, 0x40000
_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def privately(do: Callable[[], object]) -> int:
    """The exit status of a forked child that does it where its mounts are its own, as `in_child`."""

    def alone() -> None:
        _unshared()
        do()

    return in_child(alone)


def _unshared() -> None:
    """Whoever may not mount may do so as the root of a namespace of users."""
    uid, gid = os.geteuid(), os.getegid()
    _call(_libc.unshare(NEW_NAMESPACE | (NEW_USER if uid else 0)))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mount(b"none", b"/", RECURSIVE | PRIVATE)


def mount(source: bytes, target: bytes, flags: int, kind: bytes | None = None) -> None:
    """What is mounted is seen by this process and its children alone. Raises: OSError."""
    _call(_libc.mount(source, target, kind, ctypes.c_ulong(flags), None))


def unmounted(target: bytes) -> bool:
    """One mount less stands there; False where none stood."""
    return bool(_libc.umount2(target, _DETACH) == 0)


def _call(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
