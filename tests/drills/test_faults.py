"""Faults are in force before a drill believes them, and gone afterwards, even if the drill is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from drills.faults import NotInForce, fault, known
from drills.faults.asking import accepts, answer, until
from drills.faults.corrupt_file import CorruptFile
from drills.faults.freeze_process import FreezeProcess
from drills.faults.full_disk import FullDisk
from drills.faults.hang_check import HangCheck
from drills.faults.journal_unwritable import JournalUnwritable
from drills.faults.kill_process import KillProcess
from drills.faults.refuse_port import RefusePort
from drills.faults.watchdog import Watchdog, end_holders, holders
from rollback.host import Tap, processes
from rollback.model.errors import UsageError

SERVER = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n")
    connection.close()
"""


def start(folder: Path, port: int) -> Path:
    """A server that holds a lock below `run`; the lock."""
    lock = folder / "run" / "it.lock"
    lock.parent.mkdir(exist_ok=True)
    processes.start_service(
        [sys.executable, "-I", "-S", "-c", SERVER, str(port)], cwd=str(folder), environment={},
        lock=str(lock), log=os.devnull, tap=Tap(),
    )  # fmt: skip
    assert until(lambda: accepts(port), within_s=10)
    return lock


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with HangCheckPort() as found:
        return found


class HangCheckPort:
    """A free port, found by taking one."""

    def __enter__(self) -> int:
        taken = HangCheck()
        taken.inject()
        taken.heal()
        return taken.port

    def __exit__(self, *_: object) -> None:
        return


@pytest.fixture
def lock(tmp_path: Path, port: int) -> Iterator[Path]:
    """A running server's lock; nobody holds it afterwards."""
    found = start(tmp_path, port)
    yield found
    end_holders(found)


def test_a_frozen_process_accepts_and_says_nothing_until_it_is_healed(
    lock: Path, port: int
) -> None:
    """An open port is no answer."""
    with fault(FreezeProcess(lock, port)) as proof:
        assert "stopped" in proof
        assert accepts(port)
        assert answer(port, within_s=0.2) == b""
    assert answer(port, within_s=2)


def test_a_killed_process_is_gone_and_nobody_else_is(lock: Path, port: int, tmp_path: Path) -> None:
    """Who only reads the same program lives on; the one that held the lock does not."""
    with subprocess.Popen(["sleep", "60"]) as bystander:
        with fault(KillProcess(lock, port, lambda: start(tmp_path, port))) as proof:
            assert "refuses" in proof
            assert holders(lock) == []
        assert bystander.poll() is None
        bystander.kill()
    assert accepts(port)


def test_a_fault_that_is_not_in_force_raises_before_the_drill_goes_on(
    tmp_path: Path, port: int
) -> None:
    """Nobody to freeze, nobody to kill: the drill would show nothing."""
    free = tmp_path / "free.lock"
    free.touch()
    for broken in (FreezeProcess(free, port), KillProcess(free, port)):
        with pytest.raises(NotInForce), fault(broken):
            pytest.fail("the drill went on")


def test_a_port_is_taken_by_somebody_who_hangs_up(port: int) -> None:
    """And free again afterwards; one that is in use is left alone."""
    with fault(RefusePort(port)):
        assert accepts(port)
        with pytest.raises(UsageError):
            RefusePort(port).inject()
    assert not accepts(port)


def test_a_hanging_port_lets_whoever_asks_wait() -> None:
    """It neither answers nor hangs up."""
    hanging = HangCheck()
    with fault(hanging):
        began_s = time.monotonic()
        assert answer(hanging.port, within_s=0.3) == b""
        assert time.monotonic() - began_s >= 0.29


def test_one_bit_is_wrong_and_then_right_again(tmp_path: Path) -> None:
    """Size and time say nothing about it."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    before = path.stat()
    with fault(CorruptFile(path)):
        assert path.read_bytes() != b"0123456789"
        assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.read_bytes() == b"0123456789"


def test_what_somebody_repaired_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """A rollback has put another version there: it stays."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with fault(CorruptFile(path)):
        path.write_bytes(b"another version")
    assert path.read_bytes() == b"another version"


def test_a_full_disk_is_full_inside_alone_and_leaves_no_mount(tmp_path: Path) -> None:
    """Where it may not be made, the drill stops and says so."""
    (tmp_path / "kept").write_text("kept\n")
    full = FullDisk(tmp_path, 2 * 2**20)
    try:
        with fault(full):
            done = full.run(["cat", str(tmp_path / "kept")])
            assert done.stdout == b"kept\n"
            assert full.run(
                ["dd", "if=/dev/zero", f"of={tmp_path}/more", "bs=64k", "count=1"]
            ).returncode
    except NotInForce:
        assert os.geteuid() != 0, "root may mount"
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept"]


def test_an_unwritable_journal_can_be_read(tmp_path: Path) -> None:
    """Not even root appends to it; where there is no such flag the drill stops and says so."""
    path = tmp_path / "events.jsonl"
    path.write_text("{}\n")
    with suppress(NotInForce), fault(JournalUnwritable(path)):
        with pytest.raises(PermissionError):
            path.open("ab")
        assert path.read_text() == "{}\n"
    path.open("ab").close()


DRILL = """
import sys, time
from pathlib import Path
from drills.faults import fault
from drills.faults.freeze_process import FreezeProcess
with fault(FreezeProcess(Path(sys.argv[1]), int(sys.argv[2]))):
    print("in force", flush=True)
    time.sleep(60)
"""


def test_when_the_drill_is_killed_the_watchdog_heals(lock: Path, port: int) -> None:
    """No cleanup of the drill's own has run, and still the process goes on."""
    here = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", DRILL, str(lock), str(port)], cwd=here, stdout=subprocess.PIPE
    ) as drill:
        assert drill.stdout is not None
        assert drill.stdout.readline() == b"in force\n"
        assert answer(port, within_s=0.2) == b""
        drill.send_signal(signal.SIGKILL)
        drill.wait()
    assert until(lambda: answer(port, within_s=0.5), within_s=10)


def test_the_watchdog_ends_services_and_removes_folders(tmp_path: Path, port: int) -> None:
    """What a drill leaves behind is found by its locks."""
    folder = tmp_path / "drill"
    folder.mkdir()
    with Watchdog(folders=[folder]):
        start(folder, port)
    assert not folder.exists()
    assert until(lambda: not accepts(port), within_s=5)


def test_every_file_of_a_fault_holds_one_fault() -> None:
    """A new fault is one new file."""
    files = {p.stem.replace("_", "-") for p in Path("drills/faults").glob("*.py")}
    assert files - {"--init--", "asking", "watchdog"} == set(known())
