"""The agent as a program: what it reads, what it survives, and what it says at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback import declare
from rollback.host.clock import iso
from rollback.model.lifecycle import State
from rollback.watch.agent import Agent
from tests.cli.program import rollback
from tests.systems import environment
from tests.watch.places import Place, place, runs, told

SYSTEMS = Path(__file__).parents[2] / "systems"
CALLS = """notify:
  channels: {box: {file: {path: box.jsonl}}}
  audiences: {ops: [box]}
  messages:
    well: {audience: ops, on: [complete], text: "run {run} at {level} is {state}"}
    failed: {audience: ops, on: [needs-operator, undone], text: "Rollback execution failed: {reason}"}
monitor:"""
ACTS = {"monitor:": CALLS}


def sent(here: Place) -> list[str]:
    """What people were told."""
    box = here.shop.folder / "box.jsonl"
    return (
        [json.loads(line)["text"] for line in box.read_text().splitlines()] if box.exists() else []
    )


@contextmanager
def program(here: Place) -> Iterator[subprocess.Popen[str]]:
    """The agent, as somebody starts it; one line of JSON for each tick."""
    argv = [sys.executable, "-m", "rollback", "--json", "monitor"]
    agent = subprocess.Popen(argv, cwd=here.shop.folder, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL, env=environment())  # fmt: skip
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait(30)
        assert agent.stdout is not None
        agent.stdout.close()


def tick(agent: subprocess.Popen[str]) -> dict[str, Any]:
    """What the next tick came to."""
    assert agent.stdout is not None
    found: dict[str, Any] = json.loads(agent.stdout.readline())
    return found


@pytest.mark.requirement("QL-60")
@pytest.mark.parametrize("missing", ["system", "people", "levels", "unit", "rank", "interval"])
def test_a_key_that_is_missing_is_said_before_anything_begins(tmp_path: Path, missing: str) -> None:
    """By name, with file and line and what to write; status 2, and no agent was there."""
    here = place(tmp_path)
    file = here.shop.folder / "rollback.yaml"
    text = file.read_text()
    cut = {"unit": ("{unit: fraction, source: {log: {file: errors", "{source: {log: {file: errors"),
           "rank": ("    rank: 2\n", ""), "interval": ("{interval: 60s,", "{interval: ,")}  # fmt: skip
    before, after = cut.get(missing, (f"\n{missing}:", f"\nx-{missing}:"))
    assert before in text
    file.write_text(text.replace(before, after, 1))
    ended = rollback(here.shop.folder, "monitor", "--once")
    assert ended.status == 2
    assert missing in ended.err
    assert "rollback.yaml" in ended.err
    file.write_text(text)
    with here.shop.site() as site:
        assert told(site, "decision.taken") == []


@pytest.mark.requirement("QL-60")
def test_the_declared_interval_is_the_agents(tmp_path: Path) -> None:
    """Of the larger system a minute; another number is another time, the same program."""
    assert declare.load(SYSTEMS / "quantum_lattice.yaml", environ={}).monitor.interval == 60.0
    for written, seconds in (("60s", 60.0), ("200ms", 0.2), ("5m", 300.0)):
        here = place(tmp_path / written, edits={"interval: 60s": f"interval: {written}"})
        with here.shop.site() as site:
            assert Agent(site).wait_s() == seconds
    here = place(tmp_path / "runs", edits={"interval: 60s": "interval: 100ms"})
    with program(here) as agent:
        assert [tick(agent)["respond"] for _ in range(3)] == ["hold"] * 3


@pytest.mark.requirement("QL-61")
def test_the_loop_survives_an_error_and_ends_cleanly_on_an_interrupt(tmp_path: Path) -> None:
    """A metric that raises, then a journal that cannot be read: reported, and looked at again."""
    raises = f'{{command: {{argv: ["{sys.executable}", -c, "raise SystemError"], number: stdout}}}}'
    log = "{log: {file: slow.jsonl, last: {field: value}}}"
    here = place(tmp_path, edits={"interval: 60s": "interval: 100ms", log: raises})
    with program(here) as agent:
        for _ in range(2):
            assert tick(agent)["unknown"] == ["slow"]
        whole = here.shop.journal.read_bytes()
        here.shop.journal.write_bytes(whole.replace(b"decision.taken", b"decision.token"))
        while not (failed := tick(agent)["failed"]):
            pass
        assert "damaged" in failed["decision"]
        here.shop.journal.write_bytes(whole)
        while tick(agent)["failed"]:
            pass
        agent.send_signal(signal.SIGINT)
        assert agent.wait(60) == 0
    with here.shop.site() as site:
        assert told(site, "agent.stopped")[0].data["because"] == "SIGINT"
    assert rollback(here.shop.folder, "monitor", "--once").status != 5, "its lock is held"


@pytest.mark.requirement("QL-62")
@pytest.mark.parametrize("goes", ["well", "a step fails", "the gate stays closed"])
def test_ill_is_evaluated_carried_out_and_told(tmp_path: Path, goes: str) -> None:
    """A success message at the end; or somebody is called, with why it failed."""
    here = place(tmp_path, edits=ACTS)
    if goes == "a step fails":
        here.shop.edit("steps: [{restore: {component: config}}]",
                       "steps: [{restore: {component: config}}, {command: {argv: [/bin/false], "
                       "undo: {argv: [/bin/true]}}}]")  # fmt: skip
    if goes == "the gate stays closed":
        here.shop.edit("keys: [limit]", "keys: [nowhere]")
    here.read(errors=0.5)
    with here.agent() as agent:
        looked = here.tick(agent)
        (run,) = runs(agent.site)
        taken = told(agent.site, "decision.taken")[-1]
    assert looked.decision is not None
    assert (taken.data["trigger"], looked.decision.level) == ("errors-high", "config")
    if goes == "well":
        assert run.state is State.COMPLETE
        assert sent(here) == [f"run {run.id} at config is complete"]
        return
    assert run.state is (State.UNDONE if goes == "a step fails" else State.NEEDS_OPERATOR)
    (said,) = sent(here)
    assert said.startswith("Rollback execution failed: ")
    assert run.reason in said


@pytest.mark.requirement("VR-06")
@pytest.mark.parametrize(("event", "severity"), [("typo", "trivial"), ("feature_broken", "minor")])
def test_what_is_trivial_or_minor_is_written_down_and_the_work_goes_on(
    tmp_path: Path, event: str, severity: str
) -> None:
    """By the declared system as it is: a task in the backlog, no level, and nothing was stopped."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "figures.py").write_text("print(0)\n")
    (tmp_path / "queue" / "pending").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "vrooli.env").write_text(f"PYTHON={sys.executable}\n")
    text = (SYSTEMS / "vrooli.yaml").read_text()
    (tmp_path / "rollback.yaml").write_text(text)
    works = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=tmp_path)
    try:
        assert rollback(tmp_path, "event", event).status == 0
        before = sorted(str(p) for p in tmp_path.rglob("*") if ".rollback" not in str(p))
        ended = rollback(
            tmp_path, "--json", "monitor", "--once", USER=os.environ.get("USER", "root")
        )
        found = json.loads(ended.out)
        assert (found["respond"], found["what"], found["trigger"]) == (
            "procedure", "note-and-continue", severity)  # fmt: skip
        assert works.poll() is None
    finally:
        works.kill()
        works.wait(30)
    lines = (tmp_path / ".rollback" / "journal" / "events.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines if line.strip(b"\0")]
    (opened,) = [one for one in events if one["kind"] == "task.opened"]
    assert opened["data"]["title"] == "Look at it when there is time"
    assert [one["data"]["respond"] for one in events if one["kind"] == "decision.taken"] == [
        "procedure"
    ]
    (planned,) = [one["data"]["plan"] for one in events if one["kind"] == "run.planned"]
    assert planned["procedure"]
    assert {step["kind"] for step in planned["steps"]} == {"task"}
    assert sorted(str(p) for p in tmp_path.rglob("*") if ".rollback" not in str(p)) == before


FIVE = ("availability", "error_rate", "response_time", "recent_deployment", "database_issues")


@pytest.mark.requirement("QL-17")
@pytest.mark.parametrize("deployed", [False, True])
def test_the_five_figures_of_the_evaluation_stand_in_the_entry(
    tmp_path: Path, deployed: bool
) -> None:
    """By the declared system as it is: shares of the last five minutes, a mean, and who deployed when."""
    (tmp_path / "rollback").mkdir()
    (tmp_path / "rollback" / "figures.py").write_text(
        "import sys; print({'availability': 0.75, 'database-down': 0}.get(sys.argv[1], 1))\n"
    )
    (tmp_path / "logs").mkdir()
    now = datetime.now(UTC)
    rows = [
        (now - timedelta(seconds=10 * n), 500 if n % 4 == 0 else 200, 100 + n % 2)
        for n in range(60)
    ]
    lines = [{"at": iso(at), "status": status, "ms": ms} for at, status, ms in reversed(rows)]
    (tmp_path / "logs" / "access.jsonl").write_text(
        "".join(f"{json.dumps(one)}\n" for one in lines)
    )
    (tmp_path / "lattice.env").write_text(f"PYTHON={sys.executable}\n")
    (tmp_path / "rollback.yaml").write_text((SYSTEMS / "quantum_lattice.yaml").read_text())
    event = ("deployment", "commit=abc") if deployed else ("incident", "what=slow")
    assert rollback(tmp_path, "event", *event).status == 0
    assert rollback(tmp_path, "decide").status == 0
    entries = (tmp_path / ".rollback" / "journal" / "events.jsonl").read_bytes().splitlines()
    taken = [json.loads(one) for one in entries if b'"decision.taken"' in one]
    samples = {one["metric"]: one for one in taken[-1]["data"]["samples"]}
    young = [(status, ms) for at, status, ms in rows if (now - at).total_seconds() < 290]
    assert {name: samples[name]["value"] for name in FIVE} == {
        "availability": 0.75, "recent_deployment": float(deployed), "database_issues": 0.0,
        "error_rate": pytest.approx(sum(status > 399 for status, _ in young) / len(young), abs=0.08),
        "response_time": pytest.approx(sum(ms for _, ms in young) / len(young), abs=0.5),
    }  # fmt: skip
    assert samples["error_rate"]["window_s"] == 300.0
