"""One drive of the run in a forked child, and what became of the child.

The parent adopts whatever the child leaves behind, so that nothing it started can be missed.

Hides: fork, adoption, waiting.
Never: lets a child's error pass for an end.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills.faults.watchdog import holders, reap
from drills.sweep_world import RUN, World
from rollback.act import afterwards
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.conformance.dying import CountingTap, Point
from rollback.host import Host
from rollback.host.tap import Tap

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
DRIVE_S_MAX = 120.0
ORPHAN_S_MAX = 5.0
BEGIN, END = "/nonexistent/rollback-sweep-begin", "/nonexistent/rollback-sweep-end"


@dataclass(frozen=True)
class Drive:
    """How the child ended: `killed` by its own tap, or with an `error`, or well."""

    killed: bool
    error: str
    orphans: tuple[str, ...]
    seconds: float


def adopt() -> None:
    """Orphans among our descendants become our children; we end when our own parent does."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) or libc.prctl(
        PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")


def drive(world: World, tap: Tap, *, after: Callable[[], None] | None = None) -> Drive:
    """The run was driven by a child with this tap; `after` runs in the child when it ended well."""
    began_s = time.monotonic()
    told = world.folder.parent / "error"
    told.unlink(missing_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(world, tap, told, after)
    status = _wait(pid)
    error = told.read_text() if told.exists() else ""
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0 and not error:
        error = f"the drive ended with status {status}"
    return Drive(killed, error, _orphans(world), time.monotonic() - began_s)


def count(world: World) -> tuple[list[Point], Drive]:
    """The points of an uninterrupted drive, in order."""
    tap = CountingTap()
    kept = world.folder.parent / "points"

    def tell() -> None:
        points = [[p.number, p.call, p.where, p.tearable] for p in tap.points]
        kept.write_text(json.dumps(points))

    done = drive(world, tap, after=tell)
    if done.error:
        raise RuntimeError(f"{world.case.id} does not even go through undisturbed: {done.error}")
    return [Point(*one) for one in json.loads(kept.read_text())], done


def drive_here(world: World, tap: Tap) -> str:
    """The run as far as it goes, in this process; its state. Marks begin and end for a tracer.

    Of a case with a gate what `rollback run` does after the drive is done too: messages, report.
    """
    system = world.system_once()
    with Site.open(system, Host(tap=tap)) as site:
        _mark(BEGIN)
        run = roll_back(site, RUN)
        if world.case.gated:
            run = afterwards.settle(site, run)
        _mark(END)
    return str(run.state)


def _mark(path: str) -> None:
    """A call that fails and changes nothing, but that a tracer sees."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass


def _child(world: World, tap: Tap, told: Path, after: Callable[[], None] | None) -> None:
    status = 1
    try:
        drive_here(world, tap)
        if after is not None:
            after()
        status = 0
    except BaseException:  # noqa: BLE001 - a forked child must not return into its parent's code
        told.write_text(traceback.format_exc(limit=-6))
    finally:
        os._exit(status)


def _wait(pid: int) -> int:
    deadline = time.monotonic() + DRIVE_S_MAX
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)  # our own child, not yet waited for: the pid is still its
    os.waitpid(pid, 0)
    return 124 << 8


def _orphans(world: World) -> tuple[str, ...]:
    """What the drive left running besides the service; it gets a moment to end by itself."""
    deadline = time.monotonic() + ORPHAN_S_MAX
    while True:
        reap()
        mine = set(_children()) - set(holders(world.lock))
        if not mine:
            return ()
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    found = tuple(f"{pid} {_argv(pid)}" for pid in sorted(mine))
    for pid in mine:
        os.kill(pid, signal.SIGKILL)  # adopted children of ours, not yet waited for
    return found


def _children() -> list[int]:
    return [
        int(word)
        for task in os.listdir("/proc/self/task")
        for word in Path(f"/proc/self/task/{task}/children").read_text().split()
    ]


def _argv(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
    except OSError:
        return "(gone)"
