"""JSON over HTTP: keep-alive, one write per answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trail

BODY_MAX_BYTES = 64 << 10


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]


class Refused(Exception):
    """The request gets this status and an error text."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


Answer = tuple[int, dict[str, Any]]


class Server(ThreadingHTTPServer):
    """Listens from the moment it exists."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        answer: Callable[[Request], Answer],
        log: Callable[[str, str, int, float], None] | None = None,
    ) -> None:
        self.answer = answer
        self.log = log
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is not an error of ours; everything else is caught earlier."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    server: Server

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        started = time.perf_counter()
        path = self.path
        try:
            request = self._request()
            path = request.path
            status, body = self.server.answer(request)
        except Refused as refused:
            status, body = refused.status, {"error": str(refused)}
        except Exception:  # noqa: BLE001 - whatever it was, the client gets an answer
            trail.complain(f"{self.command} {path}")
            status, body = 500, {"error": "internal error"}
        if self.server.log:  # first the log: whoever has an answer finds it there
            self.server.log(self.command, path, status, (time.perf_counter() - started) * 1000)
        self._send(status, body)

    def _request(self) -> Request:
        body = self._body()
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise Refused(400, "the address cannot be read") from None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        return Request(self.command, parts.path, query, body)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "0")
        if (
            not length.isdecimal()
            or int(length) > BODY_MAX_BYTES
            or "Transfer-Encoding" in self.headers
        ):
            self.close_connection = True
            raise Refused(413, "a body needs a Content-Length of at most 64 KiB")
        text = self.rfile.read(int(length))
        try:
            body = json.loads(text) if text else {}
            json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(body, dict):
            raise Refused(400, "the body is not a JSON object")
        return body

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        connection = "close" if self.close_connection else "keep-alive"
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\nConnection: {connection}\r\n\r\n"
        )
        self.wfile.write(head.encode() + content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.close_connection = True
        self._send(code, {"error": message or HTTPStatus(code).phrase})

    def log_message(self, *_: object) -> None:
        """The access log is written above."""
