"""Every error that a disk can give, at every change of what the store does, once and from then on.

E1: the deed ends in an error of ours that has a declared exit status and says what the system said, or it
ends well; either way what is left behind is judged as after a crash. A sync that failed is not made again
in the hope of better luck: what it was to make durable may be gone for good.

`make test` shoots at a sample, `make drill` at all: ERRNO_EVERY is how many are passed over.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from rollback.model.errors import HostError, JournalError, RollbackError, StoreError
from tests.keep.deeds import DEEDS, Deed
from tests.killed import CountingTap
from tests.power import Recorder, write

T = TypeVar("T")
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
EVERY = int(os.environ.get("ERRNO_EVERY", "53"))
CODES = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE,
         errno.ENOMEM, errno.ESTALE, errno.ELOOP, errno.EXDEV, errno.EINTR)  # fmt: skip
SHORT = 0  # no error: half of a write is done, and that is what the call says
STATUS = (HostError.exit_status, StoreError.exit_status, JournalError.exit_status)

pytestmark = pytest.mark.timeout(3600)


class Striking(CountingTap):
    """The nth change fails with a code, or does half; with `forever` every later one too."""

    def __init__(self, at: int, code: int, *, forever: bool) -> None:
        super().__init__()
        self.at, self.code, self.forever = at, code, forever
        self.struck: list[str] = []
        self.again: list[str] = []  # syncs that were made again after they had failed

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        super().change(call, where, lambda: None, torn)
        count, what = len(self.points), f"{call} {os.fsdecode(where)}"
        if call in ("fsync", "fdatasync") and what in self.struck and os.fsdecode(where) != ".":
            self.again.append(what)
        if count == self.at or (self.forever and count > self.at):
            if self.code != SHORT:
                self.struck.append(what)
                raise OSError(self.code, os.strerror(self.code))
            if torn is not None:
                self.struck.append(what)
                return torn()  # type: ignore[return-value]
        return do()


@pytest.fixture
def base() -> Iterator[Path]:
    above = Path(tempfile.mkdtemp(dir=FAST, prefix="errno-"))
    (above / "world").mkdir(mode=0o755)
    yield above / "world"
    shutil.rmtree(above)


def shot(deed: Deed, tap: Striking) -> list[str]:
    """What was wrong about the deed under this tap, and about what it left behind."""
    reported: list[str] = []
    wrong: list[str] = []
    try:
        deed.do(tap, reported.append)
    except RollbackError as error:
        if tap.code == SHORT:
            wrong.append(f"a short write is no error: {error}")
        elif os.strerror(tap.code).lower() not in str(error).lower():
            wrong.append(f"the error does not say what the system said: {error}")
        if error.exit_status not in STATUS:
            wrong.append(f"exit status {error.exit_status}: {error}")
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        wrong.append(f"no error of ours: {type(error).__name__}: {error}")
    if not tap.struck:
        wrong.append("nothing was struck")
    wrong += [f"made again: {what}" for what in tap.again]
    try:
        wrong += deed.judge(reported)
    except Exception as error:  # noqa: BLE001 - whatever it is, this is no recovery
        wrong.append(f"{type(error).__name__}: {error}")
    return wrong


def shots(points: list[object], tearable: list[int]) -> list[tuple[int, int, bool]]:
    """Every change with every code, once and for ever; every write done by halves."""
    found = [(at, code, forever) for at in range(1, len(points) + 1) for code in CODES
             for forever in (False, True)]  # fmt: skip
    return found + [(at, SHORT, forever) for at in tearable for forever in (False, True)]


@pytest.mark.parametrize("name", DEEDS)
def test_every_error_is_said_and_leaves_old_or_new(
    base: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    """Nothing is listed that does not restore; the next command converges."""
    deed = DEEDS[name](base)
    begin = Recorder(base).begin
    counting = CountingTap()
    deed.do(counting)
    tearable = [point.number for point in counting.points if point.tearable]
    chosen = shots(list(counting.points), tearable)[::EVERY]
    wrong = []
    for at, code, forever in chosen:
        write(begin, base)
        found = shot(deed, Striking(at, code, forever=forever))
        if found:
            point = counting.points[at - 1]
            said = errno.errorcode.get(code, "SHORT")
            wrong.append((at, point.call, point.where, said, forever, found))
    assert not wrong, wrong[:5]
    record_property("shots", len(chosen))
    print(f"{name}: {len(chosen)} errors at {len(counting.points)} changes")
