"""A disk that is really full, at every size between nothing free and enough; and the other limits.

E3: in a mount of its own, a tmpfs is made as large as what is on it, and a page more each time; then so
with its inodes; then a process may write only so large a file, or open only so many. Each time the deed is
done and ends well, or in an error of ours with a declared status; then room is made, and what it left
behind is judged as after a crash. `make test` takes a part of these steps, `make drill` each: DISK_EVERY.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback.host import Tap
from rollback.model.errors import HostError, JournalError, Refused, RollbackError, StoreError
from tests.keep.deeds import DEEDS, Deed
from tests.killed import in_child
from tests.power import Recorder, World, write
from tests.private import privately

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
EVERY = int(os.environ.get("DISK_EVERY", "16"))
PAGE = 4096
LARGE = "64m"
STATUS = {one.exit_status for one in (Refused, HostError, StoreError, JournalError)}
DESCRIPTORS = 40  # beyond what is open anyway
SIZES = (0, 1, 16, 64, 100, 200, 400, 800, 1600, 3200)  # bytes of the largest file

pytestmark = pytest.mark.timeout(3600)


def mounted(place: Path, do: Callable[[Path], object]) -> int:
    """How a child ended that did it in an empty tmpfs that nobody else sees."""

    def alone() -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={LARGE},mode=755", "none", place], check=True
        )
        (place / "world").mkdir()
        do(place)

    return privately(alone)


def limited(place: Path, **limits: object) -> None:
    """The file system has these limits from now on."""
    told = ",".join(f"{name}={value}" for name, value in limits.items())
    subprocess.run(["mount", "-o", f"remount,{told}", place], check=True)


class Trial:
    """One deed, done again and again under limits. `failed` counts those that did not end well."""

    def __init__(self, place: Path, name: str) -> None:
        self.base = place / "world"
        self.deed: Deed = DEEDS[name](self.base)
        self.begin: World = Recorder(self.base).begin
        self.deed.do(Tap())  # whatever is loaded on first use is loaded
        self.failed = 0

    def again(self) -> None:
        """Everything is as it was before the deed."""
        write(self.begin, self.base)

    def do(self) -> tuple[bool, list[str]]:
        """True when it ended well, and what was reported. Raises: whatever is no error of ours."""
        reported: list[str] = []
        try:
            self.deed.do(Tap(), reported.append)
        except RollbackError as error:
            assert error.exit_status in STATUS, error  # noqa: PT017 - it may also end well
            self.failed += 1
            return False, reported
        return True, reported

    def judge(self, reported: list[str], about: object) -> None:
        """It is as after a crash at most. Raises: AssertionError."""
        found = self.deed.judge(reported)
        assert not found, (about, found)


def swept(
    trial: Trial, steps: Iterator[object], limit: Callable[[object], None], lift: Callable[[], None]
) -> None:
    """At each step the deed was done under the limit, from the beginning, up to the first that is enough."""
    tried, well = 0, False
    for step in steps:
        trial.again()
        limit(step)
        well, reported = trial.do()
        lift()
        trial.judge(reported, step)
        tried += 1
        if well and EVERY == 1:
            break
    assert trial.failed, "the limit was never felt"
    assert well, f"no step of {tried} was enough"


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.parametrize("what", ["size", "nr_inodes"])
def test_a_full_disk_leaves_old_or_new_and_says_so(tmp_path: Path, name: str, what: str) -> None:
    """Page by page, inode by inode; with room again the next command converges."""

    def sweep(place: Path) -> None:
        trial = Trial(place, name)

        def limit(step: object) -> None:
            found = os.statvfs(place)
            assert isinstance(step, int)
            if what == "size":
                used = (found.f_blocks - found.f_bfree) * found.f_frsize
                limited(place, size=used + step * PAGE)
            else:
                limited(place, nr_inodes=found.f_files - found.f_ffree + step)

        def lift() -> None:
            limited(place, **({"size": LARGE} if what == "size" else {"nr_inodes": 10_000}))

        limited(place, nr_inodes=10_000)
        swept(trial, iter([*range(0, 48, EVERY), 400]), limit, lift)

    assert mounted(tmp_path, sweep) == 0


@contextmanager
def at_most(what: int, soft: int) -> Iterator[None]:
    """This process may have no more of it."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def no_gaps() -> int:
    """Every descriptor below the one that is given back is open."""
    highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    while (fd := os.open("/dev/null", os.O_RDONLY)) < highest:
        pass
    return fd + 1


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.parametrize("what", ["file size", "descriptors"])
def test_too_small_a_limit_of_a_process_is_said(name: str, what: str) -> None:
    """The largest file, and how many may be open: no traceback, nothing half."""
    above = Path(tempfile.mkdtemp(dir=FAST, prefix="limits-"))

    def sweep() -> None:
        (above / "world").mkdir()
        trial = Trial(above, name)
        few = range(0, DESCRIPTORS, max(1, EVERY // 3))
        steps = [*SIZES, 10**6] if what == "file size" else [*few, 200]
        opened = no_gaps()
        well = False
        for step in steps:
            trial.again()
            kind, soft = ((resource.RLIMIT_FSIZE, step) if what == "file size"
                          else (resource.RLIMIT_NOFILE, opened + step))  # fmt: skip
            with at_most(kind, soft):
                well, reported = trial.do()
            trial.judge(reported, step)
        assert trial.failed, "the limit was never felt"
        assert well

    try:
        assert in_child(sweep) == 0
    finally:
        shutil.rmtree(above)
