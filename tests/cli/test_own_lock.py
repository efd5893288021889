"""A service that locks the file which was handed down to it, locked, waits for itself: that is said."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.killed import freeze
from tests.systems import Shop, build

PROGRAM = """
import fcntl, http.server, os, sys
lock = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with a service whose program locks a file before it listens: the declared one."""
    made = build(tmp_path / "shop")
    (made.tree / "serve.py").write_text(PROGRAM)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = f'[{sys.executable}, -I, serve.py, "{port}", run/web.lock]'
    made.edit("people:\n", f"""services:
  web:
    manager: registry
    argv: {argv}
    lock: run/web.lock
    ready: {{http: {{url: "http://127.0.0.1:{port}/", within: 2s}}}}
    components: [config]
people:
""")  # fmt: skip
    return made


def test_it_is_said_at_once_with_what_to_do(shop: Shop) -> None:
    """Neither a minute of waiting nor a refused connection; another file of its own works."""
    try:
        done = rollback(shop.folder, "run", "start", "--as", "ada", "--yes")
        assert done.status == 6
        assert "web waits for its lock run/web.lock, which it has already: rollback takes it" in (
            done.out
        )
        assert "refused" not in done.out
    finally:
        rollback(shop.folder, "run", "stop", "--as", "ada", "--yes")
    shop.edit("run/web.lock]", "run/own.lock]")
    try:
        assert rollback(shop.folder, "run", "start", "--as", "ada", "--yes").status == 0
    finally:
        assert rollback(shop.folder, "run", "stop", "--as", "ada", "--yes").status == 0


def test_a_run_that_meets_a_frozen_service_says_what_sets_it_going(shop: Shop) -> None:
    """With its process, at the end of the run, as `status` and `verify` say it."""
    shop.edit("run/web.lock]", "run/own.lock]")
    words = ("--as", "ada", "--yes")
    assert rollback(shop.folder, "run", "start", *words).status == 0
    pid = json.loads((shop.tree / "run/web.lock").read_text())["pid"]
    try:
        freeze(pid)
        done = rollback(shop.folder, "run", "start", *words)
        assert done.status == 6
        assert f"web is frozen: its process {pid} was stopped by a signal" in done.out
        assert f"  try first: kill -CONT {pid}\n" in done.out
    finally:
        assert rollback(shop.folder, "run", "stop", *words).status == 0


def test_the_first_declaration_says_whose_the_lock_is(tmp_path: Path) -> None:
    """Where a service is declared for the first time."""
    assert rollback(tmp_path, "init").status == 0
    text = " ".join((tmp_path / "rollback.yaml").read_text().replace("#", "").split())
    assert "the program, which must not lock that file itself" in text
