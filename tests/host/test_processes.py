"""Programs end with all they started, in time; services are known by their lock and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from rollback.host.processes import (
    Holder,
    base_environment,
    held,
    holder,
    run,
    start_service,
    started,
)
from rollback.host.tap import Tap
from rollback.model.errors import CommandFailed, HostError

PY = (sys.executable, "-I", "-c")


def alive(pid: int) -> bool:
    """True while the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, within_s: float = 5.0) -> bool:
    """True as soon as it is not."""
    deadline = time.monotonic() + within_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_output_status_and_time_come_back(tmp_path: Path) -> None:
    """Both streams, apart."""
    done = run([*PY, "import sys; print('out'); sys.stderr.write('err'); sys.exit(3)"],
               cwd=str(tmp_path), timeout_s=20)  # fmt: skip
    assert (done.status, done.stdout, done.stderr, done.timed_out) == (3, b"out\n", b"err", False)
    assert done.elapsed_s > 0


def test_a_program_that_takes_no_input_and_never_ends_is_ended_in_time(tmp_path: Path) -> None:
    """Ten megabytes that nobody reads do not hold us: the deadline is the deadline."""
    began = time.monotonic()
    done = run([*PY, "import time; time.sleep(60)"], cwd=str(tmp_path), timeout_s=0.5,
               stdin=b"x" * 10**7)  # fmt: skip
    assert done.timed_out
    assert done.status == -signal.SIGKILL
    assert time.monotonic() - began < 5


def test_input_and_output_larger_than_a_pipe_pass_through_at_once(tmp_path: Path) -> None:
    """Neither side waits for the other."""
    echo = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    data = os.urandom(2 * 10**6)
    assert run([*PY, echo], cwd=str(tmp_path), timeout_s=30, stdin=data).stdout == data
    early = "import sys; sys.stdout.write('enough')"
    assert run([*PY, early], cwd=str(tmp_path), timeout_s=30, stdin=data).stdout == b"enough"


def test_output_is_cut_at_its_cap_and_the_program_still_ends(tmp_path: Path) -> None:
    """A gigabyte of chatter costs no memory."""
    chatter = "import sys\nfor _ in range(300): sys.stdout.write('x' * 65536)"
    done = run([*PY, chatter], cwd=str(tmp_path), timeout_s=30, limit_bytes=1000)
    assert (done.status, len(done.stdout)) == (0, 1000)


_CHILDREN = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], GROUP)
open("pid", "w").write(str(child.pid))
END
"""


@pytest.mark.parametrize("end", ["sys.exit(0)", "time.sleep(60)"], ids=["ends", "hangs"])
@pytest.mark.parametrize(
    "group", ["process_group=None", "process_group=0"], ids=["same", "own-group"]
)
def test_what_a_program_leaves_behind_in_its_session_ends_with_it(
    end: str, group: str, tmp_path: Path
) -> None:
    """In another process group, too; it holds our pipes, and does not hold us."""
    text = _CHILDREN.replace("GROUP", group).replace("END", end)
    began = time.monotonic()
    done = run([sys.executable, "-c", text], cwd=str(tmp_path), timeout_s=2)
    assert done.timed_out == (end != "sys.exit(0)")
    assert time.monotonic() - began < 10
    assert gone(int((tmp_path / "pid").read_text()))


def test_an_interrupt_ends_the_program_too(tmp_path: Path) -> None:
    """Ctrl-C reaches only us: the session of the program would live on."""
    text = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    main = threading.main_thread().ident
    assert main

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    # a shell starts background jobs with interrupts ignored, and we inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run([sys.executable, "-c", text], cwd=str(tmp_path), timeout_s=30)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert time.monotonic() - began < 15
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    """An error of its own, no traceback of the interpreter."""
    with pytest.raises(CommandFailed, match="cannot be started") as caught:
        run(["/no/such/program"], cwd=str(tmp_path), timeout_s=1)
    assert caught.value.where == "/no/such/program"


def test_nothing_of_our_environment_leaks_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is listed, and what is given."""
    monkeypatch.setenv("CANARY_TOKEN", "hunter2")
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    done = run(
        [*PY, show], cwd=str(tmp_path), timeout_s=20, environment=base_environment({"MINE": "1"})
    )
    found = json.loads(done.stdout)
    assert "CANARY_TOKEN" not in found
    assert found["MINE"] == "1"
    assert "PATH" in found


# -- services ------------------------------------------------------------------------------


@contextmanager
def service(
    folder: Path, program: str = "import time; time.sleep(60)"
) -> Iterator[tuple[int, str]]:
    """A service that runs, and its lock."""
    lock = str(folder / "it.lock")
    pid = start_service(
        [sys.executable, "-c", program], cwd=str(folder), environment=base_environment(), lock=lock,
        log=str(folder / "it.log"), tap=Tap(),
    )  # fmt: skip
    try:
        yield pid, lock
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def test_a_service_is_known_by_its_lock_and_signalled_by_its_handle(tmp_path: Path) -> None:
    """It runs, it holds, it ends, it is gone."""
    with service(tmp_path) as (pid, lock):
        assert held(lock)
        found = holder(lock)
        assert isinstance(found, Holder)
        with found:
            assert found.pid == pid
            found.signal(signal.SIGTERM, tap=Tap())
            os.waitpid(pid, 0)
            found.signal(signal.SIGTERM, tap=Tap())  # it ended: nobody else is hit
        assert not held(lock)
        assert holder(lock) is None


def test_a_second_start_is_refused_while_it_runs(tmp_path: Path) -> None:
    """There are never two."""
    with service(tmp_path) as (_, lock), pytest.raises(HostError, match="running already"):
        start_service([sys.executable, "-c", ""], cwd=str(tmp_path), environment={}, lock=lock,
                      log=str(tmp_path / "x"), tap=Tap())  # fmt: skip


def test_those_who_ask_at_once_do_not_take_each_other_for_the_service(tmp_path: Path) -> None:
    """A dead service is dead for everybody, however many look; and it can be started meanwhile."""
    lock = tmp_path / "it.lock"
    lock.write_text("")
    wrong: list[bool] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            wrong.append(held(str(lock)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(wrong) > 100
    assert not any(wrong)


@pytest.mark.parametrize(
    "pid",
    [1, os.getpid(), 2**22 + 5, -1, 10**30, "x", None],
    ids=["init", "ourselves", "too large", "negative", "huge", "a word", "nothing"],
)
def test_a_lock_file_that_names_somebody_else_leads_to_nobody(pid: object, tmp_path: Path) -> None:
    """Pid 1, ourselves, a number too large, no number: refused, never signalled."""
    with service(tmp_path) as (real, lock):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        said = {"pid": pid, "started": started(real), "boot": boot}
        Path(lock).write_text(json.dumps(said) + "\n")
        found = None
        with suppress(HostError):
            found = holder(lock)
        if found is not None:  # the kernel said who holds it
            with found:
                assert found.pid == real


def test_a_lock_nobody_holds_belongs_to_nobody_whatever_it_says(tmp_path: Path) -> None:
    """A stale file with the number of a living process."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        lock = tmp_path / "it.lock"
        lock.write_text(
            json.dumps({"pid": sleeper.pid, "started": started(sleeper.pid), "boot": "x"})
        )
        assert not held(str(lock))
        assert holder(str(lock)) is None
        assert not held(str(tmp_path / "absent.lock"))
    finally:
        sleeper.kill()
        sleeper.wait()
