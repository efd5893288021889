"""The examples of docs/examples on the real programs: sealed while well, broken, brought back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.program import rollback
from tests.keep.postgres_lab import PASSWORD, Lab, running
from tests.killed import freeze
from tests.observe.world import free_port

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def test_each_example_is_short() -> None:
    """A page of a terminal or so: who can read YAML can declare a system."""
    assert NAMES == ["nginx", "postgresql", "redis"]
    for name in NAMES:
        assert len((EXAMPLES / name / "rollback.yaml").read_text().splitlines()) < 60


@pytest.mark.parametrize("name", NAMES)
def test_each_example_is_valid(name: str) -> None:
    """As it lies there."""
    said = rollback(EXAMPLES / name, "--state", "/nonexistent/state", "validate", "--json")
    assert said.status == 0, said.out + said.err
    assert said.json["unenforced"] == []


def copied(name: str, folder: Path, **texts: str) -> Path:
    """The example in a folder of its own, with those texts of its files replaced."""
    made = folder / name
    shutil.copytree(EXAMPLES / name, made)
    for path in made.rglob("*"):
        if path.is_file():
            text = path.read_text()
            for old, new in texts.items():
                text = text.replace(old.removeprefix("_"), new)
            path.write_text(text)
    return made


def verified(place: Path, *suites: str) -> dict[str, Any]:
    said = rollback(place, "verify", *suites, "--json")
    assert said.status in (0, 7), said.out + said.err
    found: dict[str, Any] = said.json
    assert found["verified"] is (said.status == 0)
    return found


def reasons(found: dict[str, Any]) -> str:
    return json.dumps(found["suites"])


@pytest.fixture
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The example runs, started by the tool itself, on a port of its own."""
    name, port, program = request.param
    if not Path(program).exists():
        pytest.skip(f"{program} is not installed")
    place = copied(name, tmp_path, **{f"_{port}": str(free_port())})
    if name == "nginx" and os.geteuid() == 0:  # its workers may not enter the test's own folder
        conf = place / "etc/nginx.conf"
        conf.write_text("user root;\n" + conf.read_text())
    try:
        said = rollback(place, "run", "start", "--yes")
        assert said.status == 0, said.out + said.err
        if name == "redis":
            spoken(port_of(place), "SET greeting hello")
        said = rollback(place, "checkpoint", "create", "good", "--seal")
        assert said.status == 0, said.out + said.err
        yield place
    finally:
        rollback(place, "run", "stop", "--yes")


NGINX = pytest.mark.parametrize("started", [("nginx", 8080, "/usr/sbin/nginx")], indirect=True)
REDIS = pytest.mark.parametrize(
    "started", [("redis", 6390, "/usr/bin/redis-server")], indirect=True
)


@NGINX
def test_pages_of_nginx_go_bad_and_come_back(started: Path) -> None:
    """The suites notice it, a rollback puts the pages back, and the gate opens."""
    assert verified(started)["verified"]
    (started / "html/products.json").write_text('[{"id": "lamp", "price": "free"}]')
    (started / "html/index.html").write_text("<h1>under construction</h1>")
    bad = verified(started)
    assert not bad["verified"]
    assert "front-page" in reasons(bad)
    assert "products" in reasons(bad)
    said = rollback(started, "run", "pages", "--yes", "--json")
    assert (said.status, said.json["state"]) == (0, "COMPLETE"), said.out + said.err
    assert verified(started)["verified"]


@pytest.mark.long
@NGINX
def test_a_frozen_nginx_is_noticed(started: Path) -> None:
    """Its port is open, its process is there; it answers nobody."""
    pid = int((started / "run/nginx.pid").read_text())
    stopped = [pid, *(worker.pid for worker in psutil.Process(pid).children())]
    assert len(stopped) > 1
    try:
        for one in stopped:
            freeze(one)
        found = verified(started, "smoke")
        assert not found["verified"]
        assert "does nothing" in reasons(found)  # the lock is held
        assert "version" in reasons(found)  # the port is open
        for words in (("status",), ("run", "pages", "--yes"), ("verify", "smoke")):
            told = rollback(started, *words)
            assert f"web (process {pid})" in told.out, words
            assert f"kill -CONT {pid}" in told.out
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)
    assert verified(started, "smoke")["verified"]


def spoken(port: int, *lines: str) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as redis:
        for line in lines:
            redis.sendall(line.encode() + b"\r\n")
        redis.shutdown(socket.SHUT_WR)
        said = b""
        while part := redis.recv(4096):
            said += part
    return said.decode()


def port_of(redis: Path) -> int:
    return int((redis / "etc/redis.conf").read_text().split("port ")[1].split()[0])


@pytest.mark.long
@REDIS
def test_redis_comes_back_with_what_it_remembered(started: Path) -> None:
    """Without its limit, and without its sessions: both are noticed, and both come back."""
    port = port_of(started)
    assert verified(started)["verified"]
    spoken(port, "FLUSHALL", "CONFIG SET maxmemory 0")
    assert "bounded" in reasons(verified(started))
    assert "loaded" in reasons(verified(started, "integration"))
    said = rollback(started, "run", "everything", "--yes", "--json")
    assert (said.status, said.json["state"]) == (0, "COMPLETE"), said.out + said.err
    assert "hello" in spoken(port, "GET greeting")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A real PostgreSQL."""
    with running() as found:
        yield found


@pytest.mark.long
def test_orders_in_postgresql_come_back(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad migration and lost lines are noticed by query, and taken back."""
    lab.server("postgres").do("create database orders;")
    orders = lab.server("orders")
    orders.do(
        "create table orders (id int primary key, total numeric);"
        "create table lines (order_id int references orders, price numeric, pieces int);"
        "create table migrations (version int);"
        "insert into migrations values (6), (7); insert into orders values (1, 25), (2, 40);"
        "insert into lines values (1, 12.5, 2), (2, 40, 1);"
    )
    place = copied("postgresql", tmp_path, _5432=str(lab.port),
                   **{"clients: terminate": f'clients: terminate, programs: "{lab.programs}"'})  # fmt: skip
    monkeypatch.setenv("ORDERS_USER", "postgres")
    monkeypatch.setenv("ORDERS_PASSWORD", PASSWORD)
    said = rollback(place, "checkpoint", "create", "good", "--seal")
    assert said.status == 0, said.out + said.err
    assert verified(place)["verified"]
    orders.do("insert into migrations values (8); delete from lines where order_id = 2;")
    bad = verified(place)
    assert not bad["verified"]
    assert "whole-orders" in reasons(bad)
    said = rollback(place, "run", "database", "--yes", "--json")
    assert (said.status, said.json["state"]) == (0, "COMPLETE"), said.out + said.err
    assert orders.ask("select max(version) as v from migrations") == [{"v": 7}]


def test_a_check_cannot_write_to_the_database(lab: Lab) -> None:
    """The server itself refuses it."""
    server = lab.server("postgres")
    with pytest.raises(Exception, match="read-only"):
        server.look("select lo_create(0)", timeout_s=5)
