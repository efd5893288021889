"""`rollback demo`: the quick one of its levels, what is typed wrong, and what an interrupt leaves.

Every level, rank and kind of bad release is shown by `drills/test_demo.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drills import demo, demo_judge
from drills.faults.watchdog import holders
from drills.sandboxes.studio import DECLARATION, Studio
from rollback.declare import load
from tests.cli.program import rollback

PROGRAM = [sys.executable, "-m", "rollback"]


@pytest.mark.timeout(300)
def test_the_quickest_level_ends_complete_and_says_it_in_one_document(tmp_path: Path) -> None:
    """By rank, from the program's own command; all that it says is looked up from outside."""
    done = rollback(tmp_path, "demo", "--level", "1", "--dir", "made here", "--json")
    assert (done.status, done.err) == (0, "")
    body = done.json
    assert body["system"] == str(tmp_path / "made here" / "rollback.yaml")
    assert demo_judge.complete(body, level="flag", rank=1, program=PROGRAM) == []


@pytest.mark.parametrize(
    ("status", "words", "said", "hint"),
    [
        (3, ["--level", "nothing"], "no level nothing", "levels: component, flag"),
        (3, ["--level", "9"], "no level 9", "levels: component, flag"),
        (3, ["--level", "²"], "no level ²", "levels: component, flag"),
        (3, ["--level", "-1"], "no level -1", "levels: component, flag"),
        (3, ["--level", ""], "no level ", "levels: component, flag"),
        (3, ["--level", "9" * 5000], "no level 999", "levels: component, flag"),
        (2, ["--fault", "nothing"], "no fault nothing", "faults: errors-5xx, slow, memory-leak"),
        (2, ["--fault", ""], "no fault ", "faults: errors-5xx"),
        (2, ["--agent", "--level", "code"], "the agent decides how far", "leave out --level"),
        (2, ["--dir", ""], "names no folder", "name a new one"),
        (2, ["--dir", "full"], "is not empty", "name a new one"),
        (2, ["--dir", "full/file"], "File exists", "name a new folder"),
        (2, ["--dir", "full/file/below"], "Not a directory", "name a new folder"),
        (2, ["--dir", "/proc/nothing"], "No such file", "name a new folder"),
        (2, ["--nothing"], "No such option", "rollback demo --help"),
        (2, ["one", "more"], "unexpected extra argument", "rollback demo --help"),
    ],
)
def test_what_is_typed_wrong_is_refused_before_anything_is_built(
    status: int, words: list[str], said: str, hint: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """One line and what to type next, or one JSON document; no folder was made, no process."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.chdir(tmp_path)
    for as_json in ([], ["--json"]):
        assert demo.main([*words, *as_json]) == status
        told = capsys.readouterr()
        if as_json:
            error = json.loads(told.out)["error"]
            assert error["exit_status"] == status
            assert said in f"{error['where']}: {error['message']}"
            assert hint in error["hint"]
        else:
            first, second = told.err.splitlines()
            assert said in first
            assert hint in second
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "full", "full/file",
    ]  # fmt: skip


def test_the_program_passes_on_what_was_typed(tmp_path: Path) -> None:
    """The command of the program ends as the demo does, also for a value that begins with a dash."""
    done = rollback(tmp_path, "demo", "--level", "-1")
    assert done.status == 3
    assert "no level -1" in done.err
    assert list(tmp_path.iterdir()) == []


def test_each_kind_of_bad_release_is_one_that_a_declared_trigger_is_for() -> None:
    """Every fault of the sandbox may be asked for; every one that a level is for exists."""
    assert set(demo.FAULT_OF.values()) <= set(Studio.FAULTS)
    assert set(demo.FAULT_OF) == set(load(DECLARATION).levels)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_demo_that_is_ended_leaves_no_service_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Once its router runs: Ctrl-C ends with 130 and one line; after kill -9 the watchdog clears up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "drills.demo", "--dir", str(tmp_path / "d")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=Path(demo.__file__).parents[1], start_new_session=True,
    )  # fmt: skip
    lock = tmp_path / "d" / "studio" / "run" / "router.lock"
    _until(lambda: lock.exists() and bool(holders(lock)))
    os.kill(process.pid, number)
    _out, err = process.communicate(timeout=60)
    said = err.decode()
    assert "Traceback" not in said
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert "rollback: interrupted" in said
        again = said.splitlines().index("  to start it again:")
        assert said.splitlines()[again + 1].endswith(f"{tmp_path}/d/rollback.yaml run start --yes")
    _until(lambda: not [one for one in lock.parent.glob("*.lock") if holders(one)])


def _until(holds: object, within_s: float = 40.0) -> None:
    assert callable(holds)
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
