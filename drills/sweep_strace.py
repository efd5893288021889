"""The points of the sweep against what strace sees of the same run: is any change left out?

The calls between two marks are put into classes; a class is either counted by the tap, call by
call, or it is known why one point stands for several calls, or why none does.

Hides: how strace is called and read.
Never: takes a difference that has no reason for none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.faults.watchdog import Watchdog
from drills.sweep_drive import BEGIN, END, drive_here
from drills.sweep_world import CASES, Case, World, base_folder
from rollback.conformance.dying import CountingTap
from rollback.model.errors import UsageError

CALLS = (
    "write pwrite64 writev fsync fdatasync syncfs rename renameat renameat2 unlink unlinkat rmdir "
    "mkdir mkdirat symlink symlinkat link linkat fchmod fchmodat chmod fchown fchownat utimensat "
    "fallocate ftruncate truncate open openat openat2 creat kill pidfd_send_signal execve "
    "copy_file_range sendfile fsetxattr setxattr"
).split()
TRACE_S_MAX = 120.0
SAME = {  # what a call of the tap is called by the kernel
    "rename": "rename", "renameat": "rename", "renameat2": "renameat2", "unlink": "unlink",
    "mkdir": "mkdir", "mkdirat": "mkdir", "rmdir": "rmdir", "symlinkat": "symlink",
    "linkat": "link", "fchmod": "fchmod", "fchown": "fchown", "fchownat": "lchown",
    "utimensat": "utime", "write": "write", "pwrite64": "write", "fsync": "fsync",
    "fdatasync": "fdatasync", "syncfs": "syncfs", "fallocate": "fallocate",
    "ftruncate": "ftruncate", "pidfd_send_signal": "pidfd_send_signal",
    "openat2": "open", "openat": "open", "open": "open",
}  # fmt: skip
REASONS = {
    "git": "libgit2 writes in C: one point git-object, git-ref, git-head, git-index or git-push for "
    "all the calls that it takes",
    "sqlite": "SQLite writes in C into a copy of ours: one point sqlite-backup",
    "child": "done by a child after one point spawn: the service, or the suite",
    "lock": "an empty lock file comes into being; it says nothing and is never removed",
    "there": "opened with O_CREAT to be appended to, and there already",
    "log": "the log of a service is opened, to be appended to by it",
    "socket": "written to a socket or pipe: it changes no file",
}
_LINE = re.compile(r"^(\d+)\s+(\w+)\((.*)\)\s+=\s+(-?\d+|\?)(.*)$")

_NO_FILE = re.compile(r"<(pipe|socket|/dev/(null|pts|tty)|TCP|UNIX|anon)")


@dataclass(frozen=True)
class Traced:
    """One call as strace tells it."""

    pid: int
    call: str
    arguments: str
    result: str
    below: bool  # done by way of a folder or file that was opened with openat2, as only we do


def available() -> bool:
    """True when strace is installed and may trace."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False,
                          capture_output=True).returncode == 0  # fmt: skip


def compare(case: Case) -> dict[str, Any]:
    """Calls by class as strace and as the tap count them, and whether every difference has a reason."""
    if not available():
        return {"case": case.id, "explained": True, "said": "strace is not here: NOT COMPARED"}
    base = base_folder()
    with Watchdog(folders=[base], lock_name="app.lock"):
        try:
            return _compare(World(base / "traced", case))
        finally:
            shutil.rmtree(base, ignore_errors=True)


def _compare(world: World) -> dict[str, Any]:
    try:
        world.build()
        out, told = world.folder.parent / "trace", world.folder.parent / "told"
        argv = ["strace", "-f", "-y", "-qq", "-s", "512", "-o", str(out), "-e",
                "trace=" + ",".join(CALLS), sys.executable, "-m", "drills.sweep_strace",
                str(world.folder.parent), world.case.id, str(told)]  # fmt: skip
        here = Path(__file__).resolve().parents[1]
        with subprocess.Popen(argv, cwd=here, stderr=subprocess.PIPE) as tracer:
            deadline = time.monotonic() + TRACE_S_MAX
            while tracer.poll() is None and not told.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            world.stop()  # strace stays until the last child has ended, the service too
            _, errors = tracer.communicate(timeout=30)
        if not told.exists():
            raise RuntimeError(f"the traced run failed: {errors.decode()[-2000:]}")
        points = Counter(told.read_text().split())
        traced = list(read(out.read_text(errors="replace")))
        there = _there(world)
    finally:
        world.remove()
    seen: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    main = traced[0].pid if traced else 0
    programs = {one.pid for one in traced if one.call == "execve"}
    for one in traced:
        reason = why_apart(one, main, programs) or _opened_again(one, there)
        if reason:
            apart[reason] += 1
        else:
            seen[SAME.get(one.call, one.call)] += 1
    wrapped = {"git", "sqlite", "child"}
    counted = Counter(
        {k: n for k, n in points.items() if not k.startswith(("git-", "sqlite-", "spawn"))}
    )
    differs = {
        call: [seen[call], counted[call]]
        for call in sorted({*seen, *counted}) if seen[call] != counted[call]
    }  # fmt: skip
    inside = sum(apart[name] for name in wrapped)
    standing = sum(points.values()) - sum(counted.values())
    said = (
        f"strace saw {sum(seen.values()) + sum(apart.values())} calls: {sum(seen.values())} of ours "
        f"(the tap counted {sum(counted.values())}), {inside} inside of {standing} wrapped points, "
        f"{sum(apart.values()) - inside} that change nothing"
    )
    if differs:
        said += f"; UNEXPLAINED {differs}"
    return {
        "case": world.case.id, "explained": not differs, "said": said, "ours": dict(seen),
        "tap": dict(points), "apart": dict(apart),
        "reasons": {name: REASONS[name] for name in apart}, "differs": differs,
    }  # fmt: skip


def read(text: str) -> Iterator[Traced]:
    """The calls that succeeded between the marks, of the process that set them and its children."""
    inside = False
    waiting: dict[int, str] = {}
    openers: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw
        unfinished = re.match(r"^(\d+)\s+(.*) <unfinished \.\.\.>$", raw)
        resumed = re.match(r"^(\d+)\s+<\.\.\. \w+ resumed>(.*)$", raw)
        if unfinished:
            waiting[int(unfinished[1])] = unfinished[0].removesuffix(" <unfinished ...>")
            continue
        if resumed:
            line = waiting.pop(int(resumed[1]), "") + resumed[2]
        if BEGIN in line:
            inside = True
        elif END in line:
            return
        if (found := _LINE.match(line)) and not found[4].startswith("-"):
            call = found[2]
            if call.startswith("open"):
                openers[f"{found[1]} {found[4]}"] = call
            first = re.match(r"(\d+)<", found[3])
            nameless = call == "linkat" and '"/proc/self/fd/' in found[3]
            below = (
                call == "openat2"
                or nameless
                or bool(
                    first
                    and (
                        call.endswith(("at", "at2"))
                        or openers.get(f"{found[1]} {first[1]}") == "openat2"
                    )
                )
            )
            if call == "unlinkat":
                call = "rmdir" if "AT_REMOVEDIR" in found[3] else "unlink"
            if inside and _changes(call, found[3]):
                yield Traced(int(found[1]), call, found[3], found[5], below)
    raise UsageError("the trace has no end")


def _changes(call: str, arguments: str) -> bool:
    if call.startswith("open"):
        return "O_CREAT" in arguments
    return call != "kill"


def why_apart(one: Traced, main: int, programs: Collection[int]) -> str:
    """The name of the reason why a call is no point of its own; empty when it is one.

    `programs` are the processes that became another program; who is neither is a thread of ours,
    such as the one that delivers a message.
    """
    text = one.arguments
    first = text.split(",", 1)[0]
    if one.pid != main and (one.pid in programs or not one.below):
        return "child"
    if one.call in ("write", "writev", "sendfile") and re.search(
        r"<(pipe|socket|/dev/(null|pts|tty)|TCP|UNIX|anon)", first
    ):
        return "socket"
    if one.call.startswith("open"):
        if re.search(
            r'"(lease|append\.lock|store\.lock|lock|[\w/.-]*/run/app\.lock|(notify/)?[\w-]*\.lock)"',
            text,
        ):
            if ".git" not in text:
                return "lock"
        if "logs/app.out" in text:
            return "log"
    if not one.below and ("sqlite-copy.db" in text or one.call == "fdatasync"):
        return "sqlite"  # of what is not ours, only SQLite syncs data alone, folders too
    if not one.below and (".git/" in text or ".git>" in text):
        return "git"
    if one.call == "execve":
        return "child"
    return ""


def _there(world: World) -> set[str]:
    """The files that were there when the run began."""
    return {
        str(world.folder / path.relative_to(world.template))
        for path in world.template.rglob("*") if not path.is_dir()
    }  # fmt: skip


def _opened_again(one: Traced, there: set[str]) -> str:
    """`there` for an opening that made no file; what makes one is remembered."""
    if not one.call.startswith("open"):
        return ""
    path = one.result.strip("<>")
    if path in there:
        return "there"
    there.add(path)
    return ""


def traced_main(argv: list[str]) -> int:
    """The run was driven, under a tracer, with a tap that counts."""
    base, case, told = Path(argv[0]), argv[1], Path(argv[2])
    world = World(base, next(one for one in CASES if one.id == case))
    tap = CountingTap()
    drive_here(world, tap)
    aside = told.with_suffix(".aside")
    aside.write_text("\n".join(point.call for point in tap.points))
    aside.rename(told)
    return 0


if __name__ == "__main__":
    sys.exit(traced_main(sys.argv[1:]))
