"""A veto and a request to stop, told to the journal: the agent carries out what is declared for them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback import declare
from rollback.act import service
from rollback.act.site import Site
from rollback.act.told import tell_event
from rollback.host import processes
from rollback.keep.entry import path_json
from rollback.model.lifecycle import Run, State
from rollback.observe.view import View
from rollback.watch.agent import Agent
from tests.observe.world import free_port
from tests.requirements.test_halting import Team
from tests.systems import walk

SYSTEMS = Path(__file__).parents[2] / "systems"
DECLARED = declare.load(SYSTEMS / "mother_box.yaml", environ={})
UNITS = """
import json, signal, sys, threading, time
from http.server import BaseHTTPRequestHandler, HTTPServer

paused, working = threading.Event(), threading.Event()


class Desk(BaseHTTPRequestHandler):
    def do_POST(self):
        paused.set()
        body = json.dumps({"working": int(working.is_set())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def ended(*_):
    open("state/end.json", "w").write(json.dumps({"units": units}))
    sys.exit(0)


desk = HTTPServer(("127.0.0.1", PORT), Desk)
threading.Thread(target=desk.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, ended)
units = 0
while True:
    if paused.is_set():
        time.sleep(0.01)
        continue
    working.set()
    open("state/progress", "a").write("begun\\n")
    time.sleep(0.1)
    open("state/progress", "a").write("done\\n")
    units += 1
    working.clear()
"""


class Agents(Team):
    """The team under the rules and procedures of the larger system, word for word."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        super().__init__(folder)
        source = DECLARED.source
        names = {"veto": "stop-and-preserve", "stop": "graceful-stop"}
        rules = [one for one in source["triggers"] if one["id"] in names]
        assert len(rules) == 2
        more: dict[str, Any] = {
            "events": {name: source["events"][name] for name in ("veto", "stop_requested")},
            "triggers": rules, "autonomy": source["autonomy"],
        }  # fmt: skip
        file = folder / "rollback.yaml"
        text = file.read_text() + "".join(f"{k}: {json.dumps(v)}\n" for k, v in more.items())
        procedures = "".join(
            f"  {name}: {json.dumps(source['procedures'][name])}\n" for name in names.values()
        )
        text = text.replace("procedures:\n", f"procedures:\n{procedures}")
        if port:
            (self.tree / "work.py").write_text(UNITS.replace("PORT", str(port)))
            text = text.replace("drain: {files: {absent: [open-work]}}",
                f'drain: {{http: {{url: "http://127.0.0.1:{port}/pause", method: POST, '
                "pointer: {/working: 0}, within: 20s}}")  # fmt: skip
            text = text.replace("grace: 200ms", "grace: 10s")
        file.write_text(text)
        self.system = declare.load(file)

    def told(self, kind: str) -> tuple[Run, list[str]]:
        """What the agent did at its next tick, and the events of that run."""
        with Site.open(self.system, self.host) as site:
            tell_event(site, kind, {}, by="ada")
            looked = Agent(site).tick()
            assert not looked.failed
            (run,) = site.runs().values()
            return run, [e.kind for e in site.journal.events() if e.run == run.id]


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    """The team; its worker is ended afterwards."""
    made = Agents(tmp_path, port=free_port())
    yield made
    if processes.held(str(made.tree / "run" / "team.lock")):
        service.stop(View(made.system, made.host), "team", within_s=10)


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Agents]:
    """The team with a worker that never stops by itself."""
    made = Agents(tmp_path)
    yield made
    if processes.held(str(made.tree / "run" / "team.lock")):
        service.stop(View(made.system, made.host), "team", within_s=10)


@pytest.mark.requirement("MB-02")
def test_a_veto_stops_all_work_and_keeps_the_state_and_takes_nothing_back(deaf: Agents) -> None:
    """By itself; the checkpoint is the state as it was stopped, and no file is another one."""
    with Site.open(deaf.system, deaf.host) as site:
        site.checkpoints.create("good")
    deaf.start()
    (deaf.tree / "issues" / "one.md").write_text("work since the checkpoint\n")
    run, _ = deaf.told("veto")
    assert (run.plan["level"], run.state, run.trigger) == (
        "stop-and-preserve", State.MITIGATED, "veto")  # fmt: skip
    assert not processes.held(str(deaf.tree / "run" / "team.lock"))
    assert (deaf.tree / "issues" / "one.md").read_text() == "work since the checkpoint\n"
    stopped = walk(deaf.tree)
    with Site.open(deaf.system, deaf.host) as site:
        kept = str(run.steps["2"].evidence["checkpoint"])
        assert set(site.checkpoints.get(kept).parts) == {"state", "issues", "logs"}
        for component, folder in (("state", "state"), ("issues", "issues")):
            for entry in site.checkpoints.entries(kept, component):
                name = f"{folder}/{path_json(entry.path)}"
                if entry.sha256:
                    assert stopped[name].endswith(entry.sha256)
    kinds = {step["kind"] for step in run.plan["steps"]}  # type: ignore[union-attr, index, call-overload]
    assert kinds == {"service", "checkpoint", "notify"}


@pytest.mark.requirement("MB-05")
def test_a_request_to_stop_lets_the_unit_at_hand_end_and_saves(agents: Agents) -> None:
    """Exit status 0, no unit cut in two, the state in a checkpoint, and the journal says how it ended."""
    agents.start()
    lock = agents.tree / "run" / "team.lock"
    pid = json.loads(lock.read_text())["pid"]
    run, _ = agents.told("stop_requested")
    assert (run.plan["level"], run.state) == ("graceful-stop", State.MITIGATED)
    _, status = os.waitpid(pid, 0)  # it was started by this process
    assert os.waitstatus_to_exitcode(status) == 0
    words = agents.progress.read_text().split()
    assert words == ["begun", "done"] * (len(words) // 2)
    end = json.loads((agents.tree / "state" / "end.json").read_text())
    assert end == {"units": len(words) // 2}
    assert "team ended on SIGTERM" in str(run.steps["3"].evidence)
    with Site.open(agents.system, agents.host) as site:
        kept = str(run.steps["2"].evidence["checkpoint"])
        held = {path_json(entry.path) for entry in site.checkpoints.entries(kept, "state")}
    assert "progress" in held
