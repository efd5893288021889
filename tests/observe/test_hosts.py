"""Declared hosts: reached as declared, asked in one trip, and never believed when they are silent."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from rollback.model.component import HostDeclared
from rollback.model.errors import HostUnreachable, UsageError
from rollback.model.finding import Answer, Finding
from rollback.observe import remote
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.observe.world import check, free_port, wait_until

ViewOf = Callable[..., View]
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
needs_sshd = pytest.mark.skipif(
    SSHD is None, reason="sshd is not installed: apt-get install openssh-server"
)


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection to a real sshd on loopback, with a key of its own."""
    folder = tmp_path_factory.mktemp("sshd")
    port = free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name],
                       check=True)  # fmt: skip
    shutil.copy(folder / "user.pub", folder / "authorized")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
    )
    key = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    (folder / "ssh_config").write_text(
        f"Host *\n  UserKnownHostsFile {folder}/known\n  IdentityFile {folder}/user\n"
        "  IdentitiesOnly yes\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "sshd_config"],
                                  stderr=log)  # fmt: skip
    try:
        wait_until(lambda: _answers(port))
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}?ssh_config={folder}/ssh_config"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as found:
            return found.recv(8).startswith(b"SSH-")
    except OSError:
        return False


def asked(view: View, **parameters: Any) -> Finding:
    return ask(check("host", **parameters), view)


def demands(root: Path, port: int) -> dict[str, Any]:
    data = (root / "config/team.csv").read_bytes()
    return {
        "exists": [str(root / "logs"), str(root / "config/team.csv")],
        "absent": [str(root / "nothing here")], "listens": [port],
        "sha256": {str(root / "config/team.csv"): hashlib.sha256(data).hexdigest()},
        "free": {"/": {"above": 1}}, "says": {"echo one; echo two": "one two"},
    }  # fmt: skip


@pytest.fixture
def listening() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_this_machine_is_asked_without_a_word_about_hosts(
    root: Path, view_of: ViewOf, listening: int
) -> None:
    """Everything that is declared holds."""
    finding = asked(view_of(), **demands(root, listening))
    assert finding.answer is Answer.PASS, finding.evidence
    assert finding.evidence == "this machine: 7 demands hold"


@needs_sshd
def test_two_hosts_are_asked_in_one_trip_each(
    root: Path, view_of: ViewOf, listening: int, ssh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ssh the same holds; beside the question who is there, it is one command for everything."""
    view = view_of(hosts={"web": {"connection": ssh}, "here": {"connection": "local://"}})
    trips: list[str] = []
    run = remote.run
    monkeypatch.setattr("rollback.observe.checks.host.run",
                        lambda host, script, name: trips.append(name) or run(host, script, name))  # fmt: skip
    finding = asked(view, **demands(root, listening))
    assert finding.answer is Answer.PASS, finding.evidence
    assert finding.evidence == "web: 7 demands hold; here: 7 demands hold"
    assert sorted(trips) == ["here", "web"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"exists": ["/no/such/file"]}, "/no/such/file is missing"),
        ({"exists": ["/etc/passwd/below"]}, "/etc/passwd/below is missing"),
        ({"absent": ["/etc/passwd"]}, "/etc/passwd is there"),
        ({"sha256": {"/etc/passwd": "0" * 64}}, "/etc/passwd holds something else"),
        ({"sha256": {"/no/such/file": "0" * 64}}, "/no/such/file is missing"),
        ({"free": {"/": {"below": 1}}}, "room at /:"),
        ({"says": {'echo "it\'s"': "its"}}, "says \"it's\", not 'its'"),
        ({"packages": {"no-such-package": ""}}, "package no-such-package is not installed"),
        ({"packages": {"dpkg": "0.0"}}, "not 0.0"),
    ],
)  # fmt: skip
def test_what_does_not_hold_fails_and_is_named(
    view_of: ViewOf, wrong: dict[str, Any], reason: str
) -> None:
    """One line says what, on which host."""
    finding = asked(view_of(), **wrong)
    assert finding.answer is Answer.FAIL, finding.evidence
    assert finding.evidence.startswith("this machine: ")
    assert reason in finding.evidence


def test_a_closed_port_is_noticed(view_of: ViewOf) -> None:
    """Nobody listens there."""
    port = free_port()
    assert f"nobody listens on port {port}" in asked(view_of(), listens=[port]).evidence


def test_a_package_that_is_there_is_found(view_of: ViewOf) -> None:
    """By name alone, or with the beginning of its version."""
    assert asked(view_of(), packages={"dpkg": ""}).answer is Answer.PASS


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
def test_without_a_service_manager_nothing_is_known_of_services(view_of: ViewOf) -> None:
    """testinfra would say that the service does not run; and that it is not enabled."""
    finding = asked(view_of(), services=["nginx"])
    assert finding.answer is Answer.UNKNOWN
    assert "no service manager" in finding.evidence
    with pytest.raises(HostUnreachable, match="no service manager"):
        remote.reached({}, "").service("nginx")


def test_systemd_says_what_runs(
    root: Path, view_of: ViewOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program `systemctl` that speaks as the real one does, where its folder is there."""
    program = tmp_path / "systemctl"
    program.write_text('#!/bin/sh\n[ "$3" = good ] && echo active || { echo failed; exit 3; }\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("rollback.observe.checks.host.SYSTEMD", str(tmp_path))
    assert asked(view_of(), services=["good"]).answer is Answer.PASS
    finding = asked(view_of(), services=["good", "bad"])
    assert finding.answer is Answer.FAIL
    assert "service bad is failed" in finding.evidence


def test_a_host_that_does_not_answer_fails(view_of: ViewOf) -> None:
    """Nobody listens where it should be; no password is asked for."""
    view = view_of(hosts={"gone": {"connection": f"ssh://nobody@127.0.0.1:{free_port()}"},
                          "here": {}})  # fmt: skip
    finding = asked(view, exists=["/"])
    assert finding.answer is Answer.FAIL
    assert finding.evidence.startswith("gone: host gone: ")
    assert "refused" in finding.evidence


@needs_sshd
def test_a_host_that_does_not_know_us_fails(view_of: ViewOf, ssh: str, tmp_path: Path) -> None:
    """Another key: it is refused at once, without a question on the terminal."""
    config = tmp_path / "config"
    known = Path(ssh.partition("ssh_config=")[2]).parent / "known"
    config.write_text(f"Host *\n  UserKnownHostsFile {known}\n  IdentityFile /dev/null\n"
                      "  IdentitiesOnly yes\n")  # fmt: skip
    connection = f"{ssh.partition('?')[0]}?ssh_config={config}"
    finding = asked(view_of(hosts={"web": {"connection": connection}}), exists=["/"])
    assert finding.answer is Answer.FAIL
    assert "denied" in finding.evidence.lower()


def test_a_host_that_is_not_declared_is_named(view_of: ViewOf) -> None:
    """With those that are."""
    with pytest.raises(UsageError, match="host web is not declared"):
        remote.reached({}, "web")


@pytest.mark.parametrize(
    "connection",
    ["web1", "telnet://web1", "ssh://", "ssh://?port=1", "ssh://me:secret@web1", "paramiko://web1",
     "://", "SSH://web1"],
)  # fmt: skip
def test_connections_that_cannot_be_used_are_refused(connection: str) -> None:
    """When the declaration is read, not at three in the morning."""
    with pytest.raises(ValueError, match="connection"):
        HostDeclared(connection=connection)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "nothing is asked"),
        ({"services": ["-x"]}, "no name"),
        ({"services": ["a b"]}, "no name"),
        ({"services": ["$(reboot)"]}, "no name"),
        ({"packages": {"a;b": ""}}, "no name"),
        ({"exists": ["relative"]}, "no absolute path"),
        ({"exists": ["/a\nb"]}, "no absolute path"),
        ({"sha256": {"/a": "short"}}, "SHA-256"),
        ({"listens": [0]}, "greater than"),
    ],
)
def test_bad_parameters_are_refused(wrong: dict[str, Any], said: str) -> None:
    """Nothing that a shell would obey, and nothing that asks nothing."""
    with pytest.raises(PydanticCustomError) as refused:
        check("host", **wrong)
    assert said in str(refused.value.context)


def test_what_a_shell_would_obey_is_only_looked_for(root: Path, view_of: ViewOf) -> None:
    """A path with every character in it is a path."""
    odd = root / 'it\'s $(touch harmed) `touch harmed` "x" ; *'
    odd.mkdir()
    assert asked(view_of(), exists=[str(odd)]).answer is Answer.PASS
    assert not list(Path.cwd().glob("harmed"))
