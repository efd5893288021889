"""Every way in which a system is ill without being down: the suite says no, in words that a person knows.

Each illness is real: a server that does it, a file that is so, a program that never ends. The gate's own
way of running a suite asks, in a process of its own; beside each illness the same declaration passes
while the system is well.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host
from rollback.model.finding import Answer
from rollback.model.step import Suite
from rollback.observe.check import ask
from rollback.observe.view import View
from rollback.prove.suite import SuiteResult
from tests.conformance.examples.service_product import PRODUCT
from tests.prove.conftest import Little

VERSION = '{"version": "1.0.0", "ok": true}'
HTTP = '- http: {{id: web, url: "http://127.0.0.1:{}/", {}}}'


class Server(ThreadingHTTPServer):
    """Answers what `answer` says: status, body, and after how many seconds."""

    daemon_threads = True
    answer: Callable[[], tuple[int, str, float]] = staticmethod(lambda: (200, VERSION, 0.0))
    asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        status, body, after_s = self.server.answer()
        time.sleep(after_s)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that is well, until a test makes it ill."""
    with Server(("127.0.0.1", 0), _Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def asked(
    little: Little, check: str, *, suite: Suite = "smoke", **options: object
) -> SuiteResult:  # fmt: skip
    """The suite with this one check has run."""
    little.checks, little.gate = {suite: [check]}, f"suites: [{suite}]"
    return little.run(suite, **options)  # type: ignore[arg-type]


def well(little: Little, check: str, *, suite: Suite = "smoke", **view: Any) -> bool:
    """The same check, asked without a suite around it, passes."""
    little.checks, little.gate = {suite: [check]}, f"suites: [{suite}]"
    (declared,) = getattr(little.load().verification, suite)
    return ask(declared, View(little.load(), Host(), **view)).answer is Answer.PASS


def refused(result: SuiteResult, *words: str) -> None:
    """The suite is closed, and one reason has all of the words, in one line."""
    assert not result.open
    assert any(all(word in one for word in words) for one in result.reasons), result.reasons
    assert all("\n" not in one for one in result.reasons)


@pytest.mark.parametrize(
    ("asks", "ill", "words"),
    [
        ("contains: version", (200, "<h1>Sorry, something went wrong</h1>", 0.0),
         ("does not contain 'version'",)),
        ("pointer: {/ok: true}", (200, "<h1>Sorry</h1>", 0.0), ("JSON",)),
        ("pointer: {/version: 1.0.0}", (200, VERSION.replace("1.0", "2.0"), 0.0),
         ("/version", "2.0.0", "1.0.0")),
        ("within: 1500ms", (200, VERSION, 3.0), ("no answer within 1.5 s",)),
        ("status: 200", (503, VERSION, 0.0), ("status 503, not 200",)),
    ],
    ids=["error page with 200", "error page for JSON", "wrong version", "too slow", "503"],
)  # fmt: skip
def test_an_answer_that_is_not_the_answer(
    little: Little, server: Server, asks: str, ill: tuple[int, str, float], words: tuple[str, ...]
) -> None:
    """A page of excuses, the wrong version behind the right port, a second too late."""
    check = HTTP.format(server.server_port, asks)
    assert well(little, check)
    server.answer = lambda: ill
    refused(asked(little, check), "web", *words)


def test_slow_and_still_in_time_is_in_time(little: Little, server: Server) -> None:
    """A second of the thirty that are allowed."""
    server.answer = lambda: (200, VERSION, 1.0)
    assert well(little, HTTP.format(server.server_port, "within: 30s"))


def test_a_port_that_takes_connections_and_never_answers(little: Little) -> None:
    """Half open: the kernel says yes, the program says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as waiting:
        port = waiting.getsockname()[1]
        silent = f"- port: {{id: silent, ports: [{port}], within: 500ms}}"
        refused(asked(little, silent), "silent", str(port), "no answer within 0.5 s")
        talks = (
            f'- port: {{id: talks, ports: [{port}], send: "PING", expect: "PONG", within: 500ms}}'
        )
        refused(asked(little, talks), "talks", str(port), "no answer within 0.5 s")
        refused(asked(little, HTTP.format(port, "within: 500ms")), "web", "no answer within 0.5 s")


def test_a_frozen_process_behind_an_open_port(little: Little, tmp_path: Path) -> None:
    """Stopped by a signal it holds its port, and is not taken for alive; going on, it is."""
    told = tmp_path / "port"
    child = subprocess.Popen([sys.executable, str(PRODUCT), str(told)])
    try:
        deadline = time.monotonic() + 60
        while not (told.exists() and told.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.01)
        check = HTTP.format(int(told.read_text()), "within: 1s").replace('/",', '/agents",')
        assert well(little, check)
        child.send_signal(signal.SIGSTOP)
        while b"T (stopped)" not in Path(f"/proc/{child.pid}/status").read_bytes():
            assert time.monotonic() < deadline
        refused(asked(little, check), "web", "no answer within 1 s")
        child.send_signal(signal.SIGCONT)
        assert well(little, check)
    finally:
        child.kill()
        child.wait()


def test_a_service_that_flaps_does_not_get_through_a_time_of_settling(
    little: Little, server: Server
) -> None:
    """Well at one look and ill at the next: repeated looks see it, and one is enough to refuse."""
    check = HTTP.format(server.server_port, "within: 2s")
    server.answer = lambda: (500 if server.asked % 2 == 0 else 200, VERSION, 0.0)
    seen = [asked(little, check) for _ in range(4)]
    assert {one.open for one in seen} == {True, False}
    refused(next(one for one in seen if not one.open), "web", "status 500")


def test_errors_that_were_rotated_away_are_still_errors(little: Little) -> None:
    """Whether the old lines lie beside the log or are packed: they are read, or nothing is claimed."""
    check = "- log: {id: quiet, file: data/app.log, lacks: [ERROR], since: mitigation}"
    mitigated = datetime.now(UTC) - timedelta(minutes=5)
    log = little.folder / "app" / "data" / "app.log"
    old = log.with_name("app.log.1")

    def line(text: str, minutes: int) -> str:
        return f"{mitigated + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ} {text}\n"

    log.write_text(line("ERROR before", -3) + line("up", 1) + line("fine", 2))
    assert well(little, check, since=mitigated)
    old.write_text(line("ERROR before", -3) + line("up", 1) + line("ERROR lost it", 2))
    log.write_text(line("fine", 3))
    refused(asked(little, check, since=mitigated), "quiet", "ERROR lost it")
    packed = old.rename(log.with_name("app.log.1.gz"))
    refused(asked(little, check, since=mitigated), "quiet", "app.log.1.gz")
    packed.unlink()
    old.write_text(line("ERROR before", -3))
    os.utime(old, (mitigated.timestamp() - 60,) * 2)  # rotated before it was mitigated
    assert well(little, check, since=mitigated)


def test_a_log_whose_clock_is_wrong_is_not_taken_for_quiet(little: Little) -> None:
    """Errors that carry a time before the mitigation, in a file that was written after it."""
    mitigated = datetime.now(UTC) - timedelta(minutes=5)
    log = little.folder / "app" / "data" / "app.log"
    check = "- log: {id: quiet, file: data/app.log, lacks: [ERROR], since: mitigation}"
    log.write_text(f"{mitigated + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ} fine\n")
    assert well(little, check, since=mitigated)
    skewed = mitigated - timedelta(hours=2)
    log.write_text(f"{skewed:%Y-%m-%dT%H:%M:%SZ} fine\n{skewed:%Y-%m-%dT%H:%M:%SZ} ERROR now\n")
    refused(asked(little, check, since=mitigated), "quiet", "clock")


def program(little: Little, text: str) -> str:
    """A script of the system, as the words of a command."""
    file = little.folder / "app" / "ask.sh"
    file.write_text(text + "\n")
    return f"[/bin/sh, {file}]"


def test_a_disk_that_is_full(little: Little) -> None:
    """A check that has to write says why it could not; it is no pass, and no crash of the suite."""
    probe = little.folder / "app" / "probe"
    writes = program(little, f"cat {little.file} > {probe}")
    check = f"- command: {{id: writes, effects: test-data, argv: {writes}}}"
    little.extra = "environments: {production: {allows: [none, test-data]}}\n"
    assert well(little, check, suite="functional")
    probe.unlink()
    probe.symlink_to("/dev/full")  # the kernel's own full disk
    refused(asked(little, check, suite="functional"), "writes", "No space left")


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def test_it():\n    raise RuntimeError('the pool is empty')\n",
         ("test_it", "RuntimeError: the pool is empty")),
        ("def test_it():\n    return False\n", ("test_it", "return")),
        ("import pytest\ndef test_it():\n    pytest.skip('later')\n", ("test_it", "skip")),
        ("def test_it(nothing_like_it):\n    pass\n", ("test_it", "nothing_like_it")),
        ("def test_it(:\n", ("test_team.py",)),
    ],
    ids=["raises", "returns False", "skips", "no such fixture", "is no Python"],
)  # fmt: skip
def test_a_test_of_the_team_that_proves_nothing(
    little: Little, text: str, words: tuple[str, ...]
) -> None:
    """It raises, asserts nothing, leaves itself out, cannot begin, cannot be read."""
    little.team("verification/smoke/test_team.py", "def test_it():\n    assert True\n")
    assert little.run().open
    little.team("verification/smoke/test_team.py", text)
    refused(little.run(), *words)


def test_a_check_whose_program_hangs_and_leaves_a_child(little: Little, tmp_path: Path) -> None:
    """It is ended at its time, with what it started."""
    pid = tmp_path / "pid"
    hangs = program(little, f"sleep 600 & echo $! > {pid}; wait")
    refused(asked(little, f"- command: {{id: hangs, argv: {hangs}, within: 1s}}"), "hangs", "1 s")
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_a_gibibyte_of_output_is_cut_and_not_kept(little: Little) -> None:
    """What came of it counts, and what is kept of it is small."""
    floods = program(little, "head -c 1073741824 /dev/zero | tr '\\0' x; exit 3")
    result = asked(little, f"- command: {{id: floods, argv: {floods}, within: 60s}}")
    refused(result, "floods", "3")
    assert len(str(result.findings)) < 100_000
    assert all(len(one) < 2000 for one in result.reasons)
