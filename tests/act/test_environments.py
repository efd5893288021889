"""Production and staging of one system: each step sees its own, and nothing of the other."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rollback.kinds
from rollback.act import service
from rollback.act.scene import Scene, Target
from rollback.declare import load
from rollback.host import Host
from rollback.keep.state import StateDir
from rollback.model.errors import PlanError, SpecError
from rollback.model.system import System
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.cli.program import Ended, rollback

SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        shiny = "SHINY=true" in open(".env").read()
        data = json.dumps({"value": shiny, "limit": int(open("limit.txt").read())}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

DECLARATION = """\
schema: 1
system: {id: twins, title: Twins, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}
root: live
environment: {variables: {PORT: {default: "LIVE"}}}
environments:
  staging: {root: trial, variables: {PORT: "TRIAL"}}
components: {limit: {path: limit.txt, content: files}}
services:
  web:
    manager: registry
    argv: ["PYTHON", -I, -u, server.py, "${PORT}"]
    lock: web.lock
    log: web.out
    ports: ["${PORT}"]
    ready: {http: {url: "http://127.0.0.1:${PORT}/", status: 200, within: 2s}}
    stop: {signal: TERM, grace: 500ms}
flags:
  shiny:
    layered: {env_file: {path: .env, key: SHINY}, default: true}
    reader: {http: {url: "http://127.0.0.1:${PORT}/", pointer: /value}}
people:
  owner: op
  roles: {op: {title: Operator}}
  members: [{id: an-operator, roles: [op]}]
guardrails: {staging_first: staging}
levels:
  try-it:
    rank: 1
    title: The flag off in staging alone
    budgets: {mitigated: 1m, complete: 1m}
    data_loss: none
    authority: {roles: [op], alone: true}
    steps:
      - flag: {id: off, environment: staging, flag: shiny, set: false, within: 5s}
      - verify: {id: shown, environment: staging, checks: [dull], within: 5s}
  both:
    rank: 2
    title: Staging, then production
    budgets: {mitigated: 1m, complete: 1m}
    data_loss: none
    authority: {roles: [op], alone: true}
    target: {sources: [{checkpoint: newest}]}
    steps:
      - restore: {id: there, environment: staging, component: limit, within: 5s}
      - verify: {id: proof, environment: staging, checks: [limit-ten], within: 5s}
      - flag: {id: off, environment: production, flag: shiny, set: false, within: 5s}
      - restore: {id: here, environment: production, component: limit, within: 5s}
verification:
  smoke:
    - http: {id: dull, url: "http://127.0.0.1:${PORT}/", status: 200, pointer: {/value: false}, within: 2s}
    - files: {id: limit-ten, contains: {limit.txt: "10"}}
"""


@dataclass
class Twins:
    """Both trees, both ports, and the declaration."""

    folder: Path
    declaration: Path

    @property
    def live(self) -> Path:
        """Production's tree."""
        return self.folder / "live"

    @property
    def trial(self) -> Path:
        """Staging's tree."""
        return self.folder / "trial"

    def call(self, *argv: str) -> Ended:
        """The program has run."""
        return rollback(self.folder, "--json", *argv)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Twins]:
    """Both environments run their service, and say `true` and 10."""
    live, trial = _port(), _port()
    text = DECLARATION.replace("LIVE", str(live)).replace("TRIAL", str(trial))
    file = tmp_path / "rollback.yaml"
    file.write_text(text.replace("PYTHON", sys.executable))
    for name in ("live", "trial"):
        tree = tmp_path / name
        tree.mkdir()
        (tree / "server.py").write_text(SERVER)
        (tree / ".env").write_text("SHINY=true\n")
        (tree / "limit.txt").write_text("10\n")
    made = Twins(tmp_path, file)
    views = [View(load(file), Host(), environment=name) for name in ("production", "staging")]
    for view in views:
        service.start(view, "web", within_s=10.0)
    yield made
    for view in views:
        service.stop(view, "web", within_s=10.0)


def _scene(system: System, tmp_path: Path, environment: str) -> Scene:
    host = Host()
    return Scene(
        system=system, host=host, state=StateDir.open(system, host), level="both", run="r1",
        step="1", target=Target(), stamp={}, environment=environment,
    )  # fmt: skip


def test_a_system_is_resolved_for_the_environment_that_is_asked(twins: Twins) -> None:
    """Root and variables are the environment's own; digest, state and declaration are the same."""
    home, there = load(twins.declaration), load(twins.declaration, environment="staging")
    assert (home.root_path, there.root_path) == (twins.live, twins.trial)
    assert home.services["web"].ports != there.services["web"].ports
    assert (home.digest, home.state_path) == (there.digest, there.state_path)
    assert there.in_environment("production").source == home.source


@pytest.mark.requirement("PM-37")
def test_the_process_environment_turns_staging_into_no_production(twins: Twins) -> None:
    """What the operator's shell holds is production's; staging's own value wins over it."""
    environ = {"PORT": "4711"}
    home = load(twins.declaration, environ=environ)
    assert home.services["web"].ports == (4711,)
    there = load(twins.declaration, environ=environ, environment="staging")
    assert there.services["web"].ports not in ((4711,), home.services["web"].ports)


@pytest.mark.requirement("PM-37")
def test_no_variable_of_one_step_reaches_the_next(twins: Twins, tmp_path: Path) -> None:
    """A scene holds the system of its environment, also after one of another was made from it."""
    home = load(twins.declaration)
    scene = _scene(home, tmp_path, "production")
    trial = scene.at(step="2", bound={}, environment="staging")
    back = trial.at(step="3", bound={}, environment="production")
    assert trial.system.root_path == twins.trial
    assert trial.view().root == twins.trial
    assert back.system is home
    assert str(home.services["web"].ports[0]) not in json.dumps(trial.system.source["services"])


def test_an_environment_that_is_not_declared_is_refused(twins: Twins) -> None:
    """At loading, and by every command that takes one."""
    with pytest.raises(PlanError, match="no environment stagin") as caught:
        load(twins.declaration, environment="stagin")
    assert "staging" in caught.value.hint
    for argv in (("verify", "--environment", "nope"), ("plan", "both", "--environment", "nope")):
        assert twins.call(*argv).json["error"]["kind"] == "PlanError"


def test_a_check_asks_the_environment(twins: Twins) -> None:
    """The same check, two answers."""
    (twins.trial / ".env").write_text("SHINY=false\n")
    system = load(twins.declaration)
    answers = {}
    for name in ("production", "staging"):
        view = View(system, Host(), environment=name)
        answers[name] = str(ask(next(c for _, c in view.system.checks()), view).answer)
    assert answers == {"production": "fail", "staging": "pass"}


@pytest.mark.requirement("PM-49", "QL-16")
def test_verify_asks_the_named_environment(twins: Twins) -> None:
    """The suite's own process looks at that environment, too."""
    (twins.trial / ".env").write_text("SHINY=false\n")
    assert twins.call("verify", "smoke", "--environment", "staging").status == 0
    assert twins.call("verify", "smoke").status == 7


def test_a_step_in_staging_changes_staging_alone(twins: Twins) -> None:
    """File and process of production stay as they were."""
    ended = twins.call("run", "try-it", "--yes")
    assert ended.json["state"] in ("MITIGATED", "COMPLETE"), ended.out
    assert (twins.trial / ".env").read_text() == "SHINY=false\n"
    assert (twins.live / ".env").read_text() == "SHINY=true\n"


@pytest.mark.requirement("PM-91")
def test_a_proof_that_fails_in_staging_stops_before_production(twins: Twins) -> None:
    """And staging is as it was, from a checkpoint of its own."""
    for tree in (twins.live, twins.trial):
        (tree / "limit.txt").write_text("99\n")
    assert twins.call("checkpoint", "create", "wrong").status == 0
    (twins.live / "limit.txt").write_text("7\n")
    (twins.trial / "limit.txt").write_text("8\n")
    ended = twins.call("run", "both", "--yes")
    assert ended.status != 0
    assert ended.json["state"] == "UNDONE", ended.out
    assert (twins.live / "limit.txt").read_text() == "7\n"
    assert (twins.trial / "limit.txt").read_text() == "8\n"
    assert (twins.live / ".env").read_text() == "SHINY=true\n"


@pytest.mark.requirement("PM-91")
def test_a_proof_that_holds_in_staging_lets_production_follow(twins: Twins) -> None:
    """Both trees are restored, each flag where the step says."""
    assert twins.call("checkpoint", "create", "right").status == 0
    for tree in (twins.live, twins.trial):
        (tree / "limit.txt").write_text("99\n")
    ended = twins.call("run", "both", "--yes")
    assert ended.json["state"] in ("MITIGATED", "COMPLETE"), ended.out
    for tree in (twins.live, twins.trial):
        assert (tree / "limit.txt").read_text() == "10\n"
    assert (twins.live / ".env").read_text() == "SHINY=false\n"
    assert (twins.trial / ".env").read_text() == "SHINY=true\n"


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("verify: {id: proof, environment: staging",
                                   "verify: {id: proof, environment: production"),
         "before anything was proved on staging"),
        (lambda text: text.replace("checks: [limit-ten], within: 5s}",
                                   "checks: [limit-ten], within: 5s, on_fail: continue}"),
         "before anything was proved on staging"),
        (lambda text: text.replace("{root: trial, ", "{"), "has no root of its own"),
        (lambda text: text.replace("environment: staging, flag: shiny",
                                   "environment: stagnig, flag: shiny"), "stagnig"),
        (lambda text: text.replace('variables: {PORT: "', 'variables: {PORT: "x'),
         "in environment staging"),
        (lambda text: text.replace(
            "environment: staging, component: limit, within: 5s",
            "environment: staging, component: limit, within: 5s, on_fail: {then: "
            "[{flag: {environment: production, flag: shiny, set: false}}]}"),
         "an alternative works in the environment of its step"),
    ],
)  # fmt: skip
def test_what_mixes_the_two_up_is_refused(twins: Twins, change: Change, said: str) -> None:
    """With line and hint, by `validate`."""
    before = twins.declaration.read_text()
    twins.declaration.write_text(change(before))
    assert twins.declaration.read_text() != before
    with pytest.raises(SpecError) as caught:
        load(twins.declaration)
    assert said in "\n".join(one.message for one in caught.value.problems)
