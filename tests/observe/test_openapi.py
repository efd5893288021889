"""The check `openapi`, with the real Schemathesis, on a real server that keeps or breaks its promises."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from rollback import declare
from rollback.act.unfounded import unfounded
from rollback.conformance.world import free_ports
from rollback.host import Host
from rollback.model.finding import Answer, Finding
from rollback.observe.check import ask
from rollback.observe.checks.openapi import OpenApi
from rollback.observe.view import View
from tests.observe.world import check

ViewOf = Callable[..., View]
Reply = tuple[int, str, bytes]
AGENT = {"type": "object", "required": ["name", "count"],
         "properties": {"name": {"type": "string"}, "count": {"type": "integer"}}}  # fmt: skip


def _answers(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "it", "content": {"application/json": {"schema": schema}}},
            "404": {"description": "no such one"}}  # fmt: skip


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3", "info": {"title": "Agents", "version": "1"},
    "paths": {
        "/agents": {
            "get": {"parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer"}}],
                    "responses": _answers({"type": "array", "items": AGENT})},
            "post": {"requestBody": {"content": {"application/json": {"schema": AGENT}}},
                     "responses": {"201": {"description": "made", "links": {
                         "gone": {"operationId": "remove", "parameters": {"id": "1"}}}}}},
        },
        "/agents/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"responses": _answers(AGENT)},
            "head": {"responses": _answers(AGENT)},
            "put": {"responses": {"200": {"description": "set"}}},
            "delete": {"operationId": "remove", "responses": {"204": {"description": "gone"}}},
        },
    },
}  # fmt: skip
ONE = {"name": "planner", "count": 3}


def as_json(value: object, status: int = 200) -> Reply:
    return status, "application/json", json.dumps(value).encode()


class Server:
    """Serves agents; `replies` say something else for a path that begins so. What was asked is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.replies: dict[str, Callable[[str], Reply]] = {}
        self.port = 0
        self.hang = threading.Event()

    def reply(self, path: str, query: dict[str, list[str]]) -> Reply:
        for start, give in self.replies.items():
            if path.startswith(start):
                return give(path)
        if path == "/openapi.json":
            return as_json(DOCUMENT)
        if path == "/agents":
            return as_json([ONE])
        return as_json(ONE) if path.startswith("/agents/") else (404, "text/plain", b"")


@contextmanager
def running() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def serve(self) -> None:
            parts = urlsplit(self.path)
            server.asked.append((self.command, self.path, dict(self.headers)))
            status, kind, body = server.reply(parts.path, parse_qs(parts.query))
            if status < 0:
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: zehn\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
                )
                self.close_connection = True
                return
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
            if status in (301, 302, 307):
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = serve  # noqa: N815

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Whoever hangs up in the middle is not answered."""

    http = Quiet(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.port = http.server_port
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.hang.set()
        http.shutdown()
        http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as made:
        yield made


@pytest.fixture
def told(view_of: ViewOf, root: Path, server: Server) -> Callable[..., Finding]:
    """What the check says, of the document in a file, with a few examples."""
    (root / "api.json").write_text(json.dumps(DOCUMENT))

    def tell(**more: Any) -> Finding:
        port = more.pop("port", server.port)
        view = view_of(
            services={"agents": {"argv": ["unused"], "lock": "run/a.lock", "ports": [port]}}
        )
        given = {"schema": "api.json", "url": f"http://127.0.0.1:{port}", "examples": 5, **more}
        return ask(check("openapi", **given), view)

    return tell


def methods(server: Server) -> set[str]:
    return {method for method, _, _ in server.asked}


@pytest.mark.parametrize("schema", ["api.json", "api.yaml", "/openapi.json"])
def test_a_service_that_keeps_its_promise_is_green(
    told: Callable[..., Finding], server: Server, root: Path, schema: str
) -> None:
    """Every GET and HEAD was asked, whatever the document is: JSON or YAML in a file, or served."""
    (root / "api.yaml").write_text(json.dumps(DOCUMENT, indent=1))
    finding = told(schema=schema)
    assert finding.answer is Answer.PASS, finding.evidence
    assert finding.evidence.startswith(f"3 of 3 GET and HEAD operations of {schema} keep it, in ")
    assert finding.evidence.endswith("(seed 0)")
    assert finding.details["operations"] == finding.details["asked"] == 3
    assert {urlsplit(path).path.split("/")[1] for _, path, _ in server.asked} <= {
        "agents",
        "openapi.json",
    }


WRONG_TYPE = {"name": "planner", "count": "three"}
FAULTS: dict[str, tuple[Reply, str]] = {
    "wrong-type": (as_json(WRONG_TYPE), "is not of type"),
    "field-missing": (as_json({"name": "x"}), '"count" is a required property'),
    "undeclared-status": (as_json(ONE, 418), "Undocumented status code: Received: 418"),
    "other-content-type": (
        (200, "text/html", b"<p>"),
        "Undocumented Content-Type: Received: text/html",
    ),
    "no-content-type": ((200, "", b"{}"), "Content-Type"),
    "server-error": (as_json({}, 500), "Server error"),
    "no-json": ((200, "application/json", b"{nearly"), "JSON"),
    "half-an-answer": ((-1, "", b""), "no answer"),
    "redirect": ((302, "", b"http://127.0.0.1:1/"), "Received: 302"),
}


def test_a_broken_promise_is_red_with_its_operation_and_how_to_see_it_again(
    told: Callable[..., Finding], server: Server, root: Path
) -> None:
    """Of each fault: the operation, what was broken, and a request that a person can send; no other."""
    paths = {f"/{fault}": {"get": {"responses": _answers(AGENT)}} for fault in FAULTS}
    (root / "api.json").write_text(
        json.dumps({**DOCUMENT, "paths": {**paths, **DOCUMENT["paths"]}})
    )
    for fault, (reply, _) in FAULTS.items():
        server.replies[f"/{fault}"] = lambda _, reply=reply: reply  # type: ignore[misc]
    finding = told(examples=3)
    assert finding.answer is Answer.FAIL, finding.evidence
    broken = {str(one["operation"]): one for one in finding.details["broken"]}  # type: ignore[union-attr, index, call-overload]
    for fault, (_, says) in FAULTS.items():
        one = broken.pop(f"GET /{fault}")
        assert says in one["what"], one
        assert one["again"] == f"curl http://127.0.0.1:{server.port}/{fault}"
    assert broken == {}
    assert "GET /wrong-type: " in finding.evidence
    assert f"curl http://127.0.0.1:{server.port}/wrong-type" in finding.evidence
    assert "\n" not in finding.evidence
    assert methods(server) == {"GET", "HEAD"}


def test_nothing_is_ever_sent_but_get_and_head(
    told: Callable[..., Finding], server: Server
) -> None:
    """A POST, a PUT and a DELETE that are declared, and links to them, are never called: well or not."""
    told(examples=30)
    server.replies["/agents"] = lambda _: as_json({}, 500)
    told(examples=30)
    assert methods(server) == {"GET", "HEAD"}
    assert len(server.asked) > 60


def test_the_same_seed_asks_the_same(told: Callable[..., Finding], server: Server) -> None:
    """Request by request; another seed asks other things."""
    rounds = []
    for seed in (7, 7, 8):
        server.asked.clear()
        assert told(seed=seed, examples=10).details["seed"] == seed
        rounds.append([(method, path) for method, path, _ in server.asked])
    assert rounds[0] == rounds[1] != rounds[2]


def test_requests_are_bounded(told: Callable[..., Finding], server: Server) -> None:
    """No operation gets more than its examples."""
    told(examples=4)
    for start in ("/agents?", "/agents/"):
        assert (
            sum(f"{path}?".startswith(start) for method, path, _ in server.asked if method == "GET")
            <= 4
        )


def test_silence_is_never_green(told: Callable[..., Finding], server: Server) -> None:
    """Nobody on the port is red at once; an operation that hangs is red after `each`, within `within`."""
    (port,) = free_ports(1)
    finding = told(port=port)
    assert finding.answer is Answer.FAIL
    assert "no answer" in finding.evidence
    server.replies["/agents/"] = lambda _: (server.hang.wait(30), as_json(ONE))[1]  # type: ignore[func-returns-value]
    finding = told(each="300ms")
    assert finding.answer is Answer.FAIL
    assert "GET /agents/{id}: " in finding.evidence


def test_what_was_not_asked_in_time_is_unknown(
    told: Callable[..., Finding], server: Server
) -> None:
    """A service that is slow, and within each request right, ends the time of all."""
    server.replies["/agents"] = lambda path: (
        server.hang.wait(0.2),
        as_json([ONE] if path == "/agents" else ONE),
    )[1]  # type: ignore[func-returns-value]
    finding = told(within="1s", examples=50)
    assert finding.answer is Answer.UNKNOWN, finding.evidence
    assert "of 3 GET and HEAD operations of api.json were asked within 1 s" in finding.evidence


BAD_DOCUMENTS: dict[str, tuple[str, str]] = {
    "no JSON": ("{nearly", "api.json cannot be read: "),
    "no document": ('{"paths": {}}', "api.json cannot be read: this is no OpenAPI document"),
    "no version": ('{"openapi": "9.9.9", "info": {}, "paths": {}}', "the document: cannot be read"),
    "nothing to ask": (json.dumps({**DOCUMENT, "paths": {"/agents": {"post": {"responses": {}}}}}),
                       "api.json declares no GET operation: nothing was asked"),
    "no paths": (json.dumps({**DOCUMENT, "paths": {}}), "api.json declares no GET operation"),
    "another document": (json.dumps({**DOCUMENT, "paths": {"/a": {"$ref": "http://127.0.0.1:1/other.json"}}}),
                         "refers to http://127.0.0.1:1/other.json, another document: not followed"),
    "a file of the machine": (json.dumps({**DOCUMENT, "paths": {"/a": {"$ref": "/etc/passwd"}}}),
                              "refers to /etc/passwd, another document: not followed"),
    "nowhere": (json.dumps({**DOCUMENT, "paths": {"/a": {"get": {
        "parameters": [{"$ref": "#/components/parameters/none"}], "responses": _answers(AGENT)}}}}),
        "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_DOCUMENTS)
def test_a_document_that_cannot_be_asked_is_red(
    told: Callable[..., Finding], root: Path, server: Server, what: str
) -> None:
    """With the reason; an empty document is no promise that is kept."""
    text, says = BAD_DOCUMENTS[what]
    (root / "api.json").write_text(text)
    finding = told()
    assert finding.answer is Answer.FAIL, finding.evidence
    assert says in finding.evidence
    assert server.asked == []


def test_a_document_that_is_not_there_is_red(
    told: Callable[..., Finding], root: Path, server: Server
) -> None:
    """In a file, and served."""
    (root / "api.json").unlink()
    assert told().answer is Answer.FAIL
    server.replies["/openapi.json"] = lambda _: (404, "text/plain", b"no")
    finding = told(schema="/openapi.json")
    assert (finding.answer, finding.evidence) == (
        Answer.FAIL, "/openapi.json cannot be read: answered 404")  # fmt: skip


def test_only_a_declared_service_is_called(view_of: ViewOf, root: Path, server: Server) -> None:
    """Another port of this machine is called only where it is allowed; another machine is refused before."""
    (root / "api.json").write_text(json.dumps(DOCUMENT))
    given = {"schema": "api.json", "url": f"http://127.0.0.1:{server.port}", "examples": 2}
    finding = ask(check("openapi", **given), view_of())
    assert finding.answer is Answer.UNKNOWN
    assert f'write allow: ["127.0.0.1:{server.port}"]' in finding.evidence
    assert server.asked == []
    place = f"127.0.0.1:{server.port}"
    assert ask(check("openapi", **given, allow=[place]), view_of()).answer is Answer.PASS
    with pytest.raises(ValidationError, match="is another machine; write allow"):
        OpenApi.model_validate({"schema": "api.json", "url": "http://elsewhere.example/"})


def test_a_secret_in_a_header_is_sent_and_never_told(
    told: Callable[..., Finding], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the service says it back; how to see it again leaves it out."""
    monkeypatch.setenv("API_TOKEN", "Bearer geheim-4711")
    server.replies["/agents/"] = lambda _: as_json(
        {"name": "Bearer geheim-4711", "count": "Bearer geheim-4711"}
    )
    finding = told(headers={"Authorization": "env:API_TOKEN"})
    assert finding.answer is Answer.FAIL
    assert {headers.get("Authorization") for _, _, headers in server.asked} == {
        "Bearer geheim-4711"
    }
    said = finding.evidence + json.dumps(dict(finding.details))
    assert "geheim-4711" not in said
    assert "Authorization: …" in said


def test_without_the_extra_it_is_unknown_and_validate_says_what_to_install(
    told: Callable[..., Finding], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line; the declaration stays valid, since nobody is kept from going back by it."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "schemathesis" else found(name, *more),
    )
    finding = told()
    assert (finding.answer, finding.evidence) == (
        Answer.UNKNOWN, "the extra openapi is not installed: pip install 'CHECKOUT[openapi]'")  # fmt: skip
    from rollback.conformance.world import REST, written

    (tmp_path / "rollback.yaml").write_text(
        written(
            {
                **REST,
                "root": ".",
                "verification": {
                    "integration": [
                        {
                            "openapi": {
                                "id": "api",
                                "schema": "/openapi.json",
                                "url": "http://127.0.0.1:1",
                            }
                        }
                    ]
                },
            }
        )
    )
    system = declare.load(tmp_path / "rollback.yaml")
    (warned,) = [one for one in unfounded(system, Host()) if one.at[0] == "verification"]
    assert warned.at == ("verification", "integration", 0, "openapi")
    assert warned.message == "this check needs an extra that is not installed"
    assert warned.hint == "install it: pip install 'CHECKOUT[openapi]'"


def test_nothing_of_it_is_imported_until_it_is_asked() -> None:
    """Neither the kind nor all kinds together bring Schemathesis, hypothesis or requests along."""
    program = (
        "import sys, rollback.kinds\nrollback.kinds.load_all()\n"
        "import rollback.observe.checks.openapi as one\n"
        "one.OpenApi.model_validate({'schema': 'a.json', 'url': 'http://127.0.0.1:1'}).lacking\n"
        "print([n for n in ('schemathesis', 'hypothesis', 'requests', 'jsonschema_rs') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
