"""What a check says of nothing: an empty file or folder, no row, NULL, no case, an empty answer, a lost key.

No kind passes on it, unless the declaration says in so many words that there may be nothing.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollback.model.finding import Answer
from rollback.model.registry import kinds
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.observe.world import check

ViewOf = Callable[..., View]
PRINTS = [sys.executable, "-I", "-c"]
PROMISE = {
    "openapi": "3.0.3", "info": {"title": "Things", "version": "1"},
    "paths": {"/refused": {"get": {"responses": {
        "200": {"description": "it"}, "404": {"description": "no such one"}}}}},
}  # fmt: skip


class _Nothing(BaseHTTPRequestHandler):
    """`/refused` answers 404, `/null` JSON without anything in it, all else 200 and no byte."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"version": null, "all": []}' if self.path.startswith("/null") else b""
        self.send_response(404 if self.path.startswith("/refused") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server that has nothing to say."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def bare(root: Path) -> Path:
    """A folder of files and folders in which nothing is."""
    folder = root / "bare"
    (folder / "queue").mkdir(parents=True)
    (folder / "text").mkdir()
    for name in ("empty.yaml", "empty.json", "empty.csv", "empty.env", "empty.txt", "other.txt", "empty.db",
                 "empty.jsonl", "empty.xml"):  # fmt: skip
        (folder / name).write_bytes(b"")
    (folder / "header.csv").write_text("name,count\n")
    (folder / "null.yaml").write_text("version:\nparts: []\npath: ''\n")
    (folder / "none.json").write_text("{}")
    (folder / "other.jsonl").write_text('{"what": "else"}\n')
    (folder / "cases.xml").write_text('<testsuite name="s" tests="0" failures="0" errors="0"/>')
    (folder / "lost.xml").write_text(
        '<testsuite name="s" tests="1" failures="1"><testcase name="a"/></testsuite>'
    )
    (folder / "skipped.xml").write_text(
        '<testsuite name="s" tests="1" skipped="1"><testcase name="a"/></testsuite>'
    )
    (folder / "cases.tap").write_text("1..0\n")
    (folder / "api.json").write_text(json.dumps(PROMISE))
    with closing(sqlite3.connect(folder / "rows.db")) as db, db:
        db.execute("create table things (name text)")
    with closing(sqlite3.connect(folder / "null.db")) as db, db:
        db.execute("create table things (name text)")
        db.execute("insert into things values (null)")
    return folder


@dataclass(frozen=True)
class Case:
    """A check that finds nothing; `said` is what the declaration may say, so that it is enough."""

    kind: str
    given: dict[str, Any]
    said: dict[str, Any] | None = None
    sections: dict[str, Any] = field(default_factory=dict)


def _sql(query: str, base: str = "bare/rows.db") -> dict[str, Any]:
    return {"sql": {"database": base, "query": query}}


NONE, NULL = "select name from things where 0", "select name from things"
SERVED = {"services": {"web": {"argv": ["true"], "lock": "run/web.lock", "ports": [1]}}}
CASES: dict[str, Case] = {
    "agree: no row": Case("agree", {"values": {"a": _sql(NONE), "b": _sql(NONE)}}),
    "agree: null": Case(
        "agree",
        {"values": {"a": _sql(NULL, "bare/null.db"), "b": _sql(NULL, "bare/null.db")}},
        {"equals": None},
    ),
    "agree: a lost key": Case("agree", {"values": {
        "a": {"config": {"file": "bare/none.json", "keys": ["x"]}},
        "b": {"config": {"file": "bare/none.json", "keys": ["x"]}}}}),
    "agree: null over http": Case("agree", {"values": {
        "a": {"http": {"url": "HTTP/null", "pointer": "/version"}},
        "b": {"http": {"url": "HTTP/null", "pointer": "/version"}}}}, {"equals": None}),
    "agree: empty lists": Case("agree", {"values": {
        "a": {"http": {"url": "HTTP/null", "pointer": "/all"}},
        "b": {"http": {"url": "HTTP/null", "pointer": "/all"}}}}, {"equals": []}),
    "command: silent": Case("command", {"argv": [*PRINTS, ""], "absent": "ERROR"}),
    "command: no number": Case("command", {"argv": [*PRINTS, ""], "number": "stdout", "below": 5}),
    "command: no such line": Case("command", {"argv": [*PRINTS, ""], "contains": "well"}),
    **{f"config: empty {kind}": Case("config", {"file": f"bare/empty.{kind}"})
       for kind in ("yaml", "json", "csv", "env")},
    "config: empty map": Case("config", {"file": "bare/none.json"}),
    "config: no row": Case("config", {"file": "bare/header.csv"}, {"columns": ["name"]}),
    "config: null": Case("config", {"file": "bare/null.yaml", "keys": ["version"]},
                         {"values": {"version": None}}),
    "config: a lost key": Case("config", {"file": "bare/null.yaml", "keys": ["release"]}),
    "config: a lost value": Case("config", {"file": "bare/null.yaml", "values": {"release": 1}}),
    "config: no path": Case("config", {"file": "bare/null.yaml", "paths": ["parts"]}),
    "config: an empty path": Case("config", {"file": "bare/null.yaml", "paths": ["path"]}),
    "consistent: refused": Case("consistent", {"url": "HTTP/refused", "inputs": {"n": {"integer": [1, 5]}},
                                               "pointer": ["/version"], "examples": 3}),
    "consistent: null": Case("consistent", {"url": "HTTP/null", "inputs": {"n": {"integer": [1, 5]}},
                                            "pointer": ["/version"], "examples": 3}),
    "consistent: empty": Case("consistent", {"url": "HTTP/", "inputs": {"n": {"integer": [1, 5]}},
                                             "pointer": ["/version"], "examples": 3}),
    "files: contains of a folder": Case("files", {"contains": {"bare/text": "version 2"}}),
    "files: lacks of a folder": Case("files", {"lacks": {"bare/text": "secret"}}),
    "files: lacks of folders": Case("files", {"lacks": {"bar*": "secret"}}),
    "files: lacks in an empty folder": Case("files", {"lacks": {"bare/text/*": "secret"}}),
    "files: lacks in an empty file": Case("files", {"lacks": {"bare/empty.txt": "secret"}}),
    "files: contains in an empty file": Case("files", {"contains": {"bare/empty.txt": "x"}}),
    "files: equal and empty": Case(
        "files", {"equal": {"bare/empty.txt": "bare/other.txt"}},
        {"equal": {"bare/empty.txt": f"sha256:{hashlib.sha256().hexdigest()}"}},
    ),
    "files: count in no folder": Case("files", {"count": {"nowhere/*": {"below": 50}}},
                                      {"count": {"nowhere/*": 0}}),
    "files: none that exists": Case("files", {"exists": ["bare/text/*"]}),
    "flag: null": Case("flag", {"flag": "party", "is": False}, {"is": None}, {
        "flags": {"party": {"layered": {"default": True}, "reader": {
            "http": {"url": "HTTP/null", "pointer": "/version"}}}}}),
    "host: no file": Case("host", {"exists": ["ROOT/bare/none"]}),
    "host: says nothing": Case("host", {"says": {"true": "well"}}),
    "http: an empty answer": Case("http", {"url": "HTTP/"}, {"status": 200}),
    "http: absent in an empty answer": Case("http", {"url": "HTTP/", "status": 200, "absent": "Error"}),
    "http: contains in an empty answer": Case("http", {"url": "HTTP/", "contains": "well"}),
    "http: a value of an empty answer": Case("http", {"url": "HTTP/", "pointer": {"/version": "1"}}),
    "http: null": Case("http", {"url": "HTTP/null", "pointer": "/version"}, {"pointer": {"/version": None}}),
    "http: a lost key": Case("http", {"url": "HTTP/null", "pointer": "/release"}),
    "load: all refused": Case("load", {"url": "HTTP/refused", "rate": 20, "duration": "2s", "users": 2,
                                       "min_samples": 20, "p95": {"below": 60_000}}),
    "log: no file": Case("log", {"file": "bare/none.log", "lacks": ["ERROR"]}),
    "log: no pair": Case("log", {"file": "bare/empty.jsonl", "pairs": {
        "field": "event", "start": "began", "end": "ended", "key": "id"}}),
    "log: a lost field of pairs": Case("log", {"file": "bare/other.jsonl", "pairs": {
        "field": "event", "start": "began", "end": "ended", "key": "id"}}),
    "log: no record": Case(
        "log", {"file": "bare/empty.jsonl", "records": {"where": {"level": "error"}, "count": {"below": 5}}},
        {"records": {"where": {"level": "error"}, "count": {"below": 5, "at_least": 0}}}),
    "log: a lost field of records": Case(
        "log", {"file": "bare/other.jsonl", "records": {"where": {"level": "error"}, "count": {"below": 5}}},
        {"records": {"where": {"level": "error"}, "count": 0}}),
    "log: nothing held": Case("log", {"file": "bare/empty.jsonl", "append_only": "trail"}),
    "memory: nobody": Case("memory", {"service": "web", "url": "HTTP/", "slope": {"below": "2 KiB"}},
                           None, SERVED),
    "metric: no reading": Case("metric", {"name": "mean", "below": 5}, None, {"metrics": {"mean": {
        "unit": "count", "source": {"log": {"file": "bare/empty.jsonl", "mean": {"field": "n"}}}}}}),
    "metric: no row": Case("metric", {"name": "rows", "below": 5}, None, {"metrics": {"rows": {
        "unit": "count", "source": {"sql": {"database": "bare/rows.db", "query": NONE}}}}}),
    "openapi: each refused": Case("openapi", {"schema": "bare/api.json", "url": "HTTP", "examples": 2},
                                  None, {"services": {"web": {
                                      "argv": ["true"], "lock": "run/web.lock", "ports": ["PORT"]}}}),
    "port: closed at once": Case("port", {"ports": ["CLOSED"]}),
    "process: nobody": Case("process", {"services": ["web"]}, {"alive": False}, SERVED),
    "queue: no folder": Case("queue", {"directory": "bare/none", "depth": {"below": 50}}),
    "results: no case": Case("results", {"file": "bare/cases.xml"}, {"passed": 0}),
    "results: no line": Case("results", {"file": "bare/cases.tap"}, {"passed": 0}),
    "results: empty": Case("results", {"file": "bare/empty.xml", "passed": 0}),
    "results: a failure that is not listed": Case("results", {"file": "bare/lost.xml"}),
    "results: a skipped one that is not listed": Case("results", {"file": "bare/skipped.xml"}),
    "results: gone from nothing": Case("results", {"file": "bare/cases.xml", "gone": ["party*"]}),
    "sql: no row": Case("sql", {"database": "bare/rows.db", "query": NONE}),
    "sql: no row below": Case("sql", {"database": "bare/rows.db", "query": NONE, "below": 5}),
    "sql: null": Case("sql", {"database": "bare/null.db", "query": NULL}, {"equals": None}),
    "sql: null below": Case("sql", {"database": "bare/null.db", "query": NULL, "below": 5}),
    "sql: an empty file is whole": Case("sql", {"database": "bare/empty.db", "integrity": True}),
    "workflow: absent in an empty answer": Case("workflow", {"steps": [
        {"get": "HTTP/", "absent": "Error"}]}),
    "workflow: tokens in an empty answer": Case("workflow", {"token": True, "steps": [
        {"get": "HTTP/", "tokens": "only-own"}]}),
    "workflow: null until": Case("workflow", {"within": "2s", "steps": [
        {"get": "HTTP/null", "until": {"/version": "1"}, "within": "300ms"}]}),
    "workflow: null saved": Case("workflow", {"steps": [{"get": "HTTP/null", "save": {"v": "/version"}}]}),
}  # fmt: skip


def _filled(given: Any, root: Path, port: int) -> Any:
    if isinstance(given, dict):
        return {name: _filled(one, root, port) for name, one in given.items()}
    if isinstance(given, list):
        return [_filled(one, root, port) for one in given]
    if given in ("PORT", "CLOSED"):
        return port if given == "PORT" else 1
    if isinstance(given, str):
        return given.replace("HTTP", f"http://127.0.0.1:{port}").replace("ROOT", str(root))
    return given


@pytest.mark.requirement("MB-71")
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_no_pass(name: str, view_of: ViewOf, root: Path, bare: Path, port: int) -> None:
    """FAIL or UNKNOWN, and a reason; with the declaration saying so, it is a pass."""
    case = CASES[name]
    view = view_of(**_filled(case.sections, root, port))
    given = _filled(case.given, root, port)
    finding = ask(check(case.kind, **given), view)
    assert finding.answer is not Answer.PASS, finding.evidence
    assert "went wrong" not in finding.evidence, finding.evidence
    if case.said is not None:
        said = {key: one for key, one in given.items() if key != "keys"} | case.said
        allowed = ask(check(case.kind, **_filled(said, root, port)), view)
        assert allowed.answer is Answer.PASS, allowed.evidence


def test_every_kind_of_check_is_asked_about_nothing() -> None:
    """A kind that comes later has to say what it says of nothing."""
    assert {case.kind for case in CASES.values()} == set(kinds("check"))


def test_a_queue_that_vanishes_has_not_drained(view: View, bare: Path) -> None:
    """What waited in it did not leave: it is gone with the folder."""
    folder = bare / "queue"
    (folder / "one").write_text("work")

    def vanish() -> None:
        (folder / "one").unlink()
        folder.rmdir()

    timer = threading.Timer(0.3, vanish)
    timer.start()
    try:
        finding = ask(check("queue", directory="bare/queue", drains_within="10s"), view)
    finally:
        timer.join()
    assert finding.answer is Answer.FAIL
    assert "is gone" in finding.evidence


def test_an_empty_file_among_others_is_no_reason(view: View, root: Path) -> None:
    """A pattern that names many may name empty ones, and folders."""
    assert ask(check("files", lacks={"**/*": "no such text"}), view).answer is Answer.PASS
