"""`rollback demo` as it is typed: every level by id and by rank, every kind of bad release, its answer.

A kind of bad release that a level is for is shipped by that level's demos; the others each get one
of their own, in which the decision picks the level.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from drills import demo_judge
from drills.conftest import record
from drills.demo import FAULT_OF, RESTORED_BROKEN
from drills.sandboxes.studio import DECLARATION, Studio
from rollback.declare import load

pytestmark = [pytest.mark.drill, pytest.mark.timeout(600)]
PROGRAM = [sys.executable, "-m", "rollback"]
DEMO_S_MAX = 300.0
RANKS = {key: found.rank for key, found in load(DECLARATION).levels.items()}
OTHERS = {"slow": "code", "memory-leak": "code", "refuses-to-start": "code"}


def shown(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the answer of one demo; what it took stands in reports/drills.jsonl."""
    began_s = time.monotonic()
    done = subprocess.run(
        [*PROGRAM, "--json", "demo", "--dir", str(folder), *words], capture_output=True, check=False,
        timeout=DEMO_S_MAX, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    total_s = time.monotonic() - began_s
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    record(
        drill=f"demo {' '.join(words)}", verdict=str(answer.get("state")),
        decided=answer.get("level"), rollback_s=answer.get("mitigated_s"),
        complete_s=answer.get("complete_s"), total_s=round(total_s, 3), status=done.returncode,
        reason=str(answer.get("reason", "")),
    )  # fmt: skip
    return done.returncode, answer


def test_every_kind_of_bad_release_is_shown_below() -> None:
    """Those that a level is for, and the others: together all that the sandbox can ship."""
    assert set(FAULT_OF.values()) | set(OTHERS) == set(Studio.FAULTS)
    assert set(FAULT_OF) == set(RANKS)


@pytest.mark.parametrize("level", RANKS)
def test_a_level_by_its_id_ends_complete(level: str, tmp_path: Path) -> None:
    """Exit 0, and all that the answer says is so."""
    status, body = shown(tmp_path / "demo", "--level", level)
    assert demo_judge.complete(body, level=level, rank=RANKS[level], program=PROGRAM) == []
    assert status == 0
    assert body["component"] == ("knowledge" if level == "component" else "")


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_level_by_its_rank_ends_complete(rank: int, tmp_path: Path) -> None:
    """Ranks 1 to 4: flag, configuration, code, full restore."""
    level = ("flag", "configuration", "code", "full-restore")[rank - 1]
    status, body = shown(tmp_path / "demo", "--level", str(rank))
    assert demo_judge.complete(body, level=level, rank=rank, program=PROGRAM) == []
    assert status == 0


@pytest.mark.parametrize(("fault", "level"), OTHERS.items(), ids=OTHERS)
def test_a_kind_of_bad_release_is_noticed_and_the_decision_picks_the_level(
    fault: str, level: str, tmp_path: Path
) -> None:
    """Nobody names a level: the declared metrics see it, and the triggers say how far to go back."""
    status, body = shown(tmp_path / "demo", "--fault", fault)
    assert demo_judge.complete(body, level=level, rank=RANKS[level], program=PROGRAM) == []
    assert status == 0


def test_a_restored_version_that_is_broken_keeps_the_gate_closed(tmp_path: Path) -> None:
    """Exit 9, NEEDS_OPERATOR, never COMPLETE; the check that answered FAIL is named."""
    status, body = shown(tmp_path / "demo", "--fault", RESTORED_BROKEN)
    assert demo_judge.stopped(body, program=PROGRAM) == []
    assert status == 9
    assert re.search(r"\w+: check [a-z-]+ answered FAIL, wanted pass", body["reason"])


AGENT = {"errors-5xx": "code", "damaged-knowledge": "component", "context-leak": "flag"}


@pytest.mark.parametrize(("fault", "level"), AGENT.items(), ids=AGENT)
def test_the_agent_goes_back_without_anybody_typing_run(
    fault: str, level: str, tmp_path: Path
) -> None:
    """It notices, decides and asks; the approver's signed yes is all that people do; then COMPLETE."""
    folder = tmp_path / "demo"
    status, body = shown(folder, "--agent", "--fault", fault)
    assert demo_judge.complete(body, level=level, rank=RANKS[level], program=PROGRAM) == []
    assert status == 0
    journal = folder / ".rollback" / "journal" / "events.jsonl"
    events = [json.loads(line) for line in journal.read_bytes().splitlines()]
    (planned,) = [event for event in events if event["kind"] == "run.planned"]
    assert planned["data"]["plan"]["requester"] == "rollback monitor"
    (given,) = [event for event in events if event["kind"] == "approval.given"]
    assert given["data"]["signature"].startswith("-----BEGIN SSH SIGNATURE-----")
    assert [event["kind"] for event in events if event["kind"].startswith("agent.")] == [
        "agent.started", "agent.stopped",
    ]  # fmt: skip


def test_what_it_says_to_type_next_works_when_it_is_pasted(tmp_path: Path) -> None:
    """The cause is put right, the studio started, the run resumed: COMPLETE; then it is stopped."""
    done = subprocess.run(
        [*PROGRAM, "demo", "--dir", str(tmp_path / "demo"), "--fault", RESTORED_BROKEN],
        capture_output=True, text=True, check=False, timeout=DEMO_S_MAX, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 9, done.stderr
    said = done.stdout[done.stdout.index("its services are stopped") :].splitlines()
    lines = [line.strip() for line in said if line.startswith("    ")]
    assert [shlex.split(line)[3:4] or ["cp"] for line in lines][1:] == [
        ["run"], ["resume"], ["undo"], ["run"],
    ]  # fmt: skip
    for line in lines:
        if " undo " in line:
            continue  # the other way out
        typed = subprocess.run(
            shlex.split(line), capture_output=True, text=True, check=False, timeout=DEMO_S_MAX,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert typed.returncode == 0, f"{line}\n{typed.stdout}{typed.stderr}"
        if " resume " in line:
            assert "COMPLETE" in typed.stdout
