"""Ctrl-C at any time: 130 and at most two lines, whatever was being imported, waited for or run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build, environment

# At the import of that module this process is interrupted, as somebody at a terminal may do it.
_SITE = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("INTERRUPT_AT"):
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
"""
WITHIN_S = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop whose level config has a step that takes long."""
    made = build(tmp_path / "shop")
    made.edit("steps: [{restore: {component: config}}]",
              "steps: [{restore: {component: config}}, "
              "{command: {argv: [sleep, '600'], effects: none, within: 20m, on_fail: person}}]")  # fmt: skip
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "module", ["rollback.cli.group", "pydantic", "rollback.cli.desk", "drills.load"]
)
def test_an_interrupt_while_something_is_imported_ends_without_a_traceback(
    module: str, tmp_path: Path
) -> None:
    """Nothing was begun, so there is nothing to say; the demo's child ends as its parent does."""
    (tmp_path / "sitecustomize.py").write_text(_SITE)
    done = subprocess.run(
        [sys.executable, "-m", "rollback", "demo", "--dir", str(tmp_path / "demo")], cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path), INTERRUPT_AT=module), capture_output=True, text=True,
        timeout=WITHIN_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in (130, -signal.SIGINT)  # which a shell calls 130
    assert (done.stdout, done.stderr) == ("", "")
    assert not (tmp_path / "demo").exists()


def test_an_interrupted_run_stands_where_it_stood_and_what_it_started_has_ended(shop: Shop) -> None:
    """One line and what to type; the program of its step is gone, and status says how to go on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rollback", "run", "config", "--as", "ada", "--yes"], cwd=shop.folder,
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def sleeps() -> list[str]:
        return [pid for pid in os.listdir("/proc") if pid.isdigit() and _argv(pid) == "sleep 600"
                and _in(pid, shop.folder)]  # fmt: skip

    until(lambda: bool(sleeps()))
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-2:] == [
        "rollback: interrupted: nothing more was done",
        "  try: rollback status shows where it stands; rollback resume goes on",
    ]
    assert "Traceback" not in err
    until(lambda: not sleeps())
    said = rollback(shop.folder, "status").out
    assert "nobody drives it any more" in said
    assert "rollback resume r0001" in said
    assert rollback(shop.folder, "abort", "--as", "ada").status == 0
    assert json.loads(rollback(shop.folder, "--json", "report").out)["state"] == "UNDONE"


def _argv(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _in(pid: str, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve().is_relative_to(folder)
    except OSError:
        return False
