"""`rollback doctor`: what this machine lacks is named, with what to type; nothing is left behind."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli import program

MORE = """
services:
  web:
    manager: registry
    argv: [PROGRAM, -m, http.server]
    lock: run/web.lock
    ports: [PORT]
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A declared folder with one checkpoint, so that there is a state directory."""
    assert program.rollback(tmp_path, "init").status == 0
    assert program.rollback(tmp_path, "checkpoint", "create").status == 0
    return tmp_path


def findings(ended: program.Ended) -> dict[str, dict[str, Any]]:
    """What was found, by what was looked at."""
    return {one["what"]: one for one in ended.json["findings"]}


def declare_service(folder: Path, *, argv0: str, port: int) -> None:
    """The declaration has one service more."""
    file = folder / "rollback.yaml"
    file.write_text(file.read_text() + MORE.replace("PROGRAM", argv0).replace("PORT", str(port)))


def test_this_machine_is_ready_and_nothing_is_left_behind(system: Path) -> None:
    """Exit 0; the exchange of two names was tried in the state directory and swept up."""
    before = sorted(str(p) for p in system.rglob("*"))
    ended = program.rollback(system, "--json", "doctor")
    found = findings(ended)
    assert (ended.status, ended.json["healthy"]) == (0, True), found
    needed = {"system", "python", "openat2", "pidfd", "clock", "libgit2", "declaration",
              "root", "state", "one file system", "free space", "write root", "write state",
              "write component data", "store"}  # fmt: skip
    assert {what for what, one in found.items() if one["needed"]} == needed
    assert all(found[what]["answer"] == "pass" for what in needed)
    assert str(system / ".rollback") in found["exchange"]["evidence"]
    assert sorted(str(p) for p in system.rglob("*")) == before


def test_without_a_declaration_only_the_machine_is_looked_at(tmp_path: Path) -> None:
    """Still exit 0: there is nothing here that could be wrong."""
    ended = program.rollback(tmp_path, "--json", "doctor")
    assert ended.status == 0
    assert findings(ended)["declaration"]["answer"] == "unknown"
    assert "root" not in findings(ended)


def test_a_state_directory_open_to_others_is_a_failure(system: Path) -> None:
    """Exit 7, and the line to type."""
    os.chmod(system / ".rollback", 0o755)
    ended = program.rollback(system, "doctor")
    assert ended.status == 7
    assert f"chmod 700 {system / '.rollback'}" in ended.out
    assert "not ready: of what is needed, 1 failed" in ended.out


def test_a_broken_declaration_is_a_failure(system: Path) -> None:
    """The first problem is quoted; validate has the rest."""
    (system / "rollback.yaml").write_text("schema: 1\nwrong: key\n")
    ended = program.rollback(system, "--json", "doctor")
    assert ended.status == 7
    assert findings(ended)["declaration"]["answer"] == "fail"
    assert "rollback validate" in findings(ended)["declaration"]["hint"]


def test_a_program_that_is_not_there_is_a_failure(system: Path) -> None:
    """Named with the place in the declaration that wants it."""
    declare_service(system, argv0="/no/such/program", port=1)
    ended = program.rollback(system, "--json", "doctor")
    assert ended.status == 7
    found = findings(ended)["program /no/such/program"]
    assert (found["answer"], "services.web" in found["evidence"]) == ("fail", True)


@pytest.mark.requirement("VR-25")
def test_a_port_held_by_a_stranger_is_a_failure(system: Path) -> None:
    """Taken while the declared service does not run: somebody else has it."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        declare_service(system, argv0="/usr/bin/env", port=port)
        taken = program.rollback(system, "--json", "doctor")
    assert taken.status == 7
    assert findings(taken)[f"port {port}"]["answer"] == "fail"
    free = program.rollback(system, "--json", "doctor")
    assert findings(free)[f"port {port}"]["evidence"] == "free for web"


SERVES = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    one, _ = listening.accept()
    one.sendall(b"well")
    one.close()
"""


@pytest.mark.requirement("VR-25")
@pytest.mark.long
def test_a_service_on_its_fallback_port_is_found_there(system: Path) -> None:
    """The first port is told to be somebody else's, and a suite's child asks on the other one.

    `run stop` ends it, and then the suite is red: the stranger takes the connection and says nothing.
    """
    (system / "serves.py").write_text(SERVES)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            other = free.getsockname()[1]
        declare_service(system, argv0=sys.executable, port=port)
        file = system / "rollback.yaml"
        text = file.read_text().replace("-m, http.server", f'-I, serves.py, "{port}"')
        asked = f"ports: [{port}], expect: well, within: 1s"
        smoke = f"  smoke:\n    - port: {{id: answers, {asked}}}\n"
        more = f"    fallback_ports: [{other}]\n    ready: {{port: {{{asked}}}}}\n"
        file.write_text(text.replace("  smoke:\n", smoke) + more)
        assert program.rollback(system, "trust", "--yes").status == 0
        started = program.rollback(system, "run", "start", "--yes")
        try:
            assert started.status == 0, started.err
            found = findings(program.rollback(system, "--json", "doctor"))[f"port {port}"]
            green = program.rollback(system, "verify", "smoke")
        finally:
            stopped = program.rollback(system, "run", "stop", "--yes")
        assert (found["answer"], str(other) in found["evidence"]) == ("pass", True), found
        assert stopped.status == 0, stopped.err
        assert green.status == 0, green.out
        assert program.rollback(system, "verify", "smoke").status == 7
        found = findings(program.rollback(system, "--json", "doctor"))[f"port {port}"]
        assert found["answer"] == "fail"


def test_a_clock_that_runs_behind_is_a_failure(system: Path) -> None:
    """Files from its own future prove it."""
    journal = system / ".rollback" / "journal" / "events.jsonl"
    future_s = journal.stat().st_mtime + 86_400
    os.utime(journal, (future_s, future_s))
    ended = program.rollback(system, "--json", "doctor")
    assert ended.status == 7
    assert "in its future" in findings(ended)["clock"]["evidence"]


def test_missing_programs_that_are_not_needed_do_not_fail(system: Path) -> None:
    """Without PATH there is no git, ssh-keygen or node: told, and still exit 0."""
    ended = program.rollback(system, "--json", "doctor", PATH="/nonexistent")
    found = findings(ended)
    assert {found[name]["answer"] for name in ("git", "ssh-keygen", "node")} == {"advice"}
    assert ended.status == 0
    said = program.rollback(system, "doctor", PATH="/nonexistent")
    assert said.status == 0
    assert "FAIL" not in said.out, "nothing that is needed failed"
    assert "apt-get install git" in said.out


def test_bytecode_that_is_there_is_not_called_missing_for_a_variable_of_the_shell(
    system: Path,
) -> None:
    """PYTHONDONTWRITEBYTECODE slows no start while there is bytecode."""
    program.rollback(system, "status")
    found = findings(program.rollback(system, "--json", "doctor", PYTHONDONTWRITEBYTECODE="1"))
    assert (found["bytecode"]["answer"], found["bytecode"]["evidence"]) == ("pass", "present")


def test_a_further_place_that_is_not_there_is_a_failure(system: Path) -> None:
    """A disk that is not mounted, a key that nobody set: each with what to type, and exit 7."""
    file = system / "rollback.yaml"
    file.write_text(file.read_text().replace("\ncheckpoints:\n", """
checkpoints:
  stores:
    near: {folder: {path: near-by}}
    disk: {folder: {path: mnt/disk/copies}}
    locked: {folder: {path: locked, key: "env:COPY_KEY"}}
    bucket: {s3: {bucket: some-bucket, access_key: "env:S3_ACCESS", secret_key: "env:S3_SECRET"}}
"""))  # fmt: skip
    assert program.rollback(system, "validate").status == 0
    ended = program.rollback(system, "--json", "doctor", S3_ACCESS="x")
    found = findings(ended)
    assert (ended.status, ended.json["healthy"]) == (7, False)
    answers = {
        name: found[f"copies {name}"]["answer"] for name in ("near", "disk", "locked", "bucket")
    }
    assert answers == {"near": "pass", "disk": "fail", "locked": "fail", "bucket": "fail"}
    assert "mkdir -p" in found["copies disk"]["hint"]
    assert "export COPY_KEY=" in found["copies locked"]["hint"]
    assert "export S3_SECRET=" in found["copies bucket"]["hint"]
    (system / "mnt" / "disk").mkdir(parents=True)
    given = {"S3_ACCESS": "x", "S3_SECRET": "y", "COPY_KEY": "ab" * 32}
    well = program.rollback(system, "--json", "doctor", **given)
    assert well.status == 0, findings(well)
    assert "not asked" in findings(well)["copies bucket"]["evidence"]
    assert not (system / "near-by").exists()
