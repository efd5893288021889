"""The lease: one holder at a time, whatever kills whom, and each with a higher epoch."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.host.tap import Tap
from rollback.keep.lease import Lease
from rollback.model.errors import JournalError, RunLocked
from tests.systems import environment

ROUNDS = int(os.environ.get("LEASE_ROUNDS", "25"))  # of each contender; 200 in `make drill`
KILLS, STOPS = ROUNDS // 2, ROUNDS // 4
_CONTENDER = """
import os, sys, time
from pathlib import Path
from rollback.host import Host
from rollback.keep.lease import Lease
from rollback.model.errors import RunLocked
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
host = Host()
done = 0
with host.tree(str(folder)) as tree:
    while done < rounds:
        try:
            with Lease(tree, host, purpose="count") as lease:
                file = folder / "counter"
                value = int(file.read_text() or "0") if file.exists() else 0
                time.sleep(0.001)
                lease.check()
                (folder / "next").write_text(str(value + 1))
                (folder / "next").replace(file)
                with open(folder / "log", "a") as log:
                    log.write(f"{lease.epoch} {value + 1}\\n")
            done += 1
        except RunLocked:
            time.sleep(0.001)
print("done")
"""


@pytest.mark.slow
def test_eight_contenders_and_a_killer(tmp_path: Path) -> None:
    """The counter has no lost update, epochs only rise, and a dead holder's lease is free at once."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _CONTENDER, str(tmp_path), str(ROUNDS)], env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    running = [start() for _ in range(8)]
    dice = random.Random(7)
    kills, stops, deadline = 0, 0, time.monotonic() + 60 + ROUNDS
    while any(one.poll() is None for one in running):
        assert time.monotonic() < deadline, "contenders stand still"
        time.sleep(0.02)
        alive = [one for one in running if one.poll() is None]
        if not alive or kills + stops >= KILLS + STOPS or not (tmp_path / "log").exists():
            continue
        victim = dice.choice(alive)
        if dice.randrange(KILLS + STOPS - kills - stops) < STOPS - stops:
            victim.send_signal(signal.SIGSTOP)
            time.sleep(0.005)
            victim.send_signal(signal.SIGCONT)
            stops += 1
        else:
            victim.kill()
            kills += 1
            running.append(start())
    errors = [one.communicate()[1] for one in running]
    assert (kills, stops) == (KILLS, STOPS)
    assert not [said for said in errors if said]
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    epochs = [int(epoch) for epoch, _ in lines]
    assert epochs == sorted(set(epochs)), "an epoch came twice, or fell"
    assert len(epochs) >= 8 * ROUNDS
    values = [int(value) for _, value in lines]
    assert all(later > earlier for earlier, later in pairwise(values))
    assert int((tmp_path / "counter").read_text() or "0") - len(values) <= kills


def test_a_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    """Its number, what for, since when."""
    host = Host()
    with (
        host.tree(str(tmp_path)) as tree,
        Lease(tree, host, purpose="run r0001"),
        pytest.raises(RunLocked, match=rf"process {os.getpid()} \(run r0001, since 20") as caught,
        Lease(tree, host, purpose="other"),
    ):
        pass
    assert caught.value.exit_status == 5
    assert "rollback watch" in caught.value.hint


def test_a_zombie_fails_its_next_check(tmp_path: Path) -> None:
    """The state directory was put aside and made anew: the old holder may not go on."""
    host = Host()
    state = tmp_path / "state"
    state.mkdir()
    with host.tree(str(state)) as tree, Lease(tree, host, purpose="old") as old:
        old.check()
        (state / "lease").rename(tmp_path / "aside")
        with pytest.raises(RunLocked, match="lost"):
            old.check()
        with Lease(tree, host, purpose="new") as new:
            new.check()
            with pytest.raises(RunLocked, match="lost"):
                old.check()


def test_a_zombie_whose_whole_folder_was_replaced_cannot_take_the_new_one_for_its_own(
    tmp_path: Path,
) -> None:
    """Its descriptor still points into the old folder; what it writes there reaches nobody."""
    host = Host()
    state = tmp_path / "state"
    state.mkdir()
    with host.tree(str(state)) as tree, Lease(tree, host, purpose="old"):
        shutil.move(state, tmp_path / "gone")
        state.mkdir()
        with host.tree(str(state)) as fresh, Lease(fresh, host, purpose="new") as new:
            assert new.epoch == 1
            new.check()


class _Torn(Tap):
    def change(self, call, where, do, torn=None):  # type: ignore[no-untyped-def]
        if call == "write":
            assert torn
            torn()
            raise KeyboardInterrupt
        return do()


def test_a_holder_killed_while_it_writes_never_lowers_the_epoch(tmp_path: Path) -> None:
    """The two slots take turns: at most the new one is spoilt, and epochs only rise."""
    host = Host()
    last = 0
    with host.tree(str(tmp_path)) as tree:
        for turn in range(1, 12):
            with Lease(tree, host, purpose="whole" * turn) as lease:
                assert lease.epoch > last
                last = lease.epoch
            with pytest.raises(KeyboardInterrupt):
                Lease(tree, Host(tap=_Torn()), purpose="torn").__enter__()


@pytest.mark.parametrize(
    "spoilt", [b"", b"x" * 2000, b"[1]\n", json.dumps({"epoch": "9"}).encode()]
)
def test_whatever_stands_in_the_file_the_lease_can_be_taken(spoilt: bytes, tmp_path: Path) -> None:
    """It holds no truth but the epoch."""
    (tmp_path / "lease").write_bytes(spoilt)
    host = Host()
    with host.tree(str(tmp_path)) as tree:
        with Lease(tree, host, purpose="one") as lease:
            lease.check()
        with Lease(tree, host, purpose="p" * 5000) as longer:
            assert longer.epoch == lease.epoch + 1


def test_a_lease_that_cannot_be_opened_is_an_error_of_the_state(tmp_path: Path) -> None:
    """A folder, a FIFO or a link in its place: refused, in one line, at once."""
    host = Host()
    for spoil in (
        lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/null"),
    ):  # fmt: skip
        folder = tmp_path / f"s{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        spoil(folder / "lease")
        with (
            host.tree(str(folder)) as tree,
            pytest.raises(JournalError, match="lease"),
            Lease(tree, host, purpose="x"),
        ):
            pass
