"""The entry points of docs/gates: the command in each file, on a system that is well and one that is not."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_api import DECLARATION

GATES = Path(__file__).parents[1] / "docs" / "gates"
TEXT = dict[str, Any]


def _yaml(name: str) -> TEXT:
    found: TEXT = yaml.safe_load((GATES / name).read_text())
    return found


def argo() -> list[str]:
    job = _yaml("argo-rollouts.yaml")["spec"]["metrics"][0]["provider"]["job"]["spec"]
    assert job["backoffLimit"] == 0
    (container,) = job["template"]["spec"]["containers"]
    return list(container["command"])


def flagger() -> list[str]:
    return _flagger("pre-rollout")


def flagger_while_it_moves() -> list[str]:
    return _flagger("rollout")


def _flagger(kind: str) -> list[str]:
    """The command of one of the hooks: before traffic moves, or at every step of it."""
    hooks = {hook["type"]: hook for hook in _yaml("flagger.yaml")["spec"]["analysis"]["webhooks"]}
    assert list(hooks) == ["pre-rollout", "rollout"]
    assert hooks[kind]["metadata"]["type"] == "bash"
    return ["bash", "-c", hooks[kind]["metadata"]["cmd"]]


def helm() -> list[str]:
    pod = _yaml("helm-test.yaml")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    return list(pod["spec"]["containers"][0]["command"])


def greenboot() -> list[str]:
    script = GATES / "greenboot-required.sh"
    assert os.access(script, os.X_OK)
    return ["sh", "-c", script.read_text()]


def unit(name: str) -> list[str]:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign] # as systemd reads it
    found.read_string((GATES / name).read_text())
    following = found["Unit"].get("OnFailure")
    assert following is None or (GATES / following).exists()
    return shlex.split(found["Service"]["ExecStart"])


def systemd() -> list[str]:
    return unit("rollback-verify.service")


def github() -> list[str]:
    steps = _yaml("github-action.yml")["jobs"]["verified"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("name") == "Verify"]
    return ["bash", "-e", "-c", command]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system whose page is well while it says one."""
    folder = tmp_path_factory.mktemp("gated")
    (folder / "html").mkdir()
    (folder / "rollback.yaml").write_text(DECLARATION)
    return folder


def run(place: Path, command: list[str]) -> int:
    """The command's own status; only its places are ours."""
    found = [
        re.sub(r"/var/lib/rollback|/tmp/rollback", str(place / "state"), word)
        .replace("/etc/rollback/rollback.yaml", str(place / "rollback.yaml"))
        for word in command
    ]  # fmt: skip
    assert found != command
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(found, cwd=place, env={**os.environ, "PATH": path}, check=False,
                          capture_output=True, timeout=60).returncode  # fmt: skip


@pytest.mark.parametrize(
    "gate", [argo, flagger, flagger_while_it_moves, helm, greenboot, systemd, github]
)
def test_each_gate_opens_on_proof_alone(place: Path, gate: Callable[[], list[str]]) -> None:
    """Status 0 when the suites prove it, 7 when they do not, 2 when nobody can tell what to prove."""
    page = place / "html/a.json"
    page.write_text('{"a": 1}')
    assert run(place, gate()) == 0
    page.write_text('{"a": 2}')
    assert run(place, gate()) == 7
    declared = place / "rollback.yaml"
    declared.rename(place / "away")
    try:
        assert run(place, gate()) == 2
    finally:
        (place / "away").rename(declared)


def test_what_follows_a_failure_is_a_tick_of_the_agent(place: Path) -> None:
    """The second unit decides; without rules there is nothing to begin."""
    assert run(place, unit("rollback-decide.service")) == 0


def test_every_file_of_the_folder_is_told_about() -> None:
    """None is forgotten in the table, and the container file copies what is there."""
    readme = (GATES / "README.md").read_text()
    for path in GATES.iterdir():
        assert path.name == "README.md" or f"({path.name})" in readme
    root = GATES.parents[1]
    for line in (GATES / "Containerfile").read_text().splitlines():
        if line.startswith("COPY "):
            assert all((root / word).exists() for word in line.split()[1:-1])
