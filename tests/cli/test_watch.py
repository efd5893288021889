"""`rollback watch`: it stays while a run waits, and says so when nobody drives it any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.engine import advance
from rollback.keep.lease import Lease, held
from rollback.model.errors import RunLocked
from tests.cli.program import rollback
from tests.systems import Shop, build, environment

WITHIN_S = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with one checkpoint, changed since; another lead has to say yes to level config."""
    made = build(tmp_path / "shop")
    made.edit("authority: {roles: [op], alone: true}\n    target: {sources: [{checkpoint: last-good}]}",
              "authority: {roles: [lead]}\n    target: {sources: [{checkpoint: last-good}]}")  # fmt: skip
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


@contextmanager
def watching(shop: Shop, *more: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`rollback watch`, running, and the file in which its standard error lands."""
    said = shop.folder.parent / "said"
    with said.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "rollback", "watch", *more], cwd=shop.folder, env=environment(),
            stdout=subprocess.PIPE, stderr=err, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield process, said
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_approval_that_comes_later_is_seen_to_its_end(shop: Shop) -> None:
    """WAITING ends nothing: who may say yes is told, then everything that follows from it."""
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 4
    with watching(shop) as (process, said):
        until(lambda: "WAITING" in said.read_text())
        until(lambda: "approve r0001 --as" in said.read_text())
        assert "may say yes to it: bo (lead); fay (lead)" in said.read_text()
        assert process.poll() is None
        assert rollback(shop.folder, "approve", "--as", "bo").status == 0
        out, _ = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0
    assert "r0001  COMPLETE" in out
    assert "AUTHORIZED" in said.read_text()


def test_once_says_how_it_stands_and_ends(shop: Shop) -> None:
    """For scripts: the status of a waiting run, at once."""
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 4
    done = rollback(shop.folder, "watch", "--once")
    assert done.status == 4
    assert "r0001  WAITING" in done.out


def test_an_interrupt_ends_the_watching_and_nothing_else(shop: Shop) -> None:
    """130, one line, and the run waits on."""
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 4
    with watching(shop) as (process, said):
        until(lambda: "WAITING" in said.read_text())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WITHIN_S)
        assert process.returncode == 130
    assert "Traceback" not in said.read_text()
    assert rollback(shop.folder, "watch", "--once").status == 4


def test_a_run_that_nobody_drives_is_said_with_what_to_type(shop: Shop) -> None:
    """Its driver was killed: watch does not wait for it, and status says the same."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "flag"))
        authorize.approve(site, run, person="ada")
        run = advance(site, site.note(site.run(run.id), "lease.taken", epoch=1))
        with Lease(site.state.tree, site.host, purpose="a test"), watching(shop) as (process, said):
            until(lambda: "AUTHORIZED" in said.read_text())
            assert process.poll() is None
    done = rollback(shop.folder, "watch")
    assert done.status == 9
    for out in (done.out, rollback(shop.folder, "status").out):
        assert "nobody drives it any more" in out
        assert "try: go on with it: rollback resume r0001" in out
        assert "try: or give it up: rollback abort r0001" in out
    assert rollback(shop.folder, "resume").status == 0


def test_who_asks_for_the_lease_does_not_take_it_away(tmp_path: Path) -> None:
    """Asked all the time, it is still taken at once; held is held, and free is free."""
    from rollback.host import Host

    host = Host()
    with host.tree(str(tmp_path)) as tree:
        assert not held(tree)
        with Lease(tree, host, purpose="one"):
            assert held(tree)
            with pytest.raises(RunLocked):
                Lease(tree, host, purpose="two").__enter__()
        assert not held(tree)
        asker = os.fork()
        if asker == 0:
            while True:
                held(tree)
        try:
            for _ in range(200):
                with Lease(tree, host, purpose="three"):
                    pass
        finally:
            os.kill(asker, signal.SIGKILL)
            os.waitpid(asker, 0)
