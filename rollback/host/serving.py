"""Being asked over the network: short requests on a port of this machine, each with a deadline and a cap.

Hides: http.server and its threads.
Never: listens beyond loopback, or reads without end.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rollback.model.errors import UsageError

BODY_BYTES_MAX = 2**20
TIMEOUT_S = 5.0
LOOPBACK = "127.0.0.1"

Answer = Callable[[str, bytes], tuple[int, bytes]]


@contextmanager
def listening_at(port: int, *, token: str, answer: Answer) -> Iterator[int]:
    """POSTs to this port of 127.0.0.1 that bear the token are answered meanwhile; the port.

    `answer` gets path and body in a thread of its own, and gives status and body; 0 takes any port.
    Raises: UsageError when the port is taken.
    """
    try:
        server = _Server((LOOPBACK, port), _handler(token, answer))
    except OSError as error:
        raise UsageError(
            f"--listen {port}: nobody can listen there: {error.strerror}",
            hint="give another port, or end what listens there",
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
    )
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(TIMEOUT_S)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Whoever hangs up in the middle is not answered; nothing else happens."""


def _handler(token: str, answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S
        protocol_version = "HTTP/1.0"  # one request each

        def do_POST(self) -> None:
            status, body = self._answered()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _answered(self) -> tuple[int, bytes]:
            kind, _, given = self.headers.get("Authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode()):
                return 401, b'{"error": "the token is missing or wrong"}'
            length = self.headers.get("Content-Length", "")
            if not length.isascii() or not length.isdecimal():
                return 411, b'{"error": "a length is needed"}'
            if int(length) > BODY_BYTES_MAX:
                return 413, b'{"error": "the body is too large"}'
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                return 400, b'{"error": "the body was cut short"}'
            return answer(self.path, body)

        def log_message(self, *_: object) -> None:
            return

    return Handler
