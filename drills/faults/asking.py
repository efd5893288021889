"""Questions to a port, for proving that a fault is in force; and waiting for an answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

REQUEST = b"GET /health HTTP/1.0\r\n\r\n"


def accepts(port: int) -> bool:
    """True when a connection is accepted."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def answer(port: int, *, within_s: float) -> bytes:
    """The first bytes of the answer to a plain request; empty when none came in time."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
            connection.settimeout(within_s)
            connection.sendall(REQUEST)
            return connection.recv(64)
    except OSError:
        return b""


def until(ask: Callable[[], object], *, within_s: float) -> bool:
    """True as soon as `ask` is; False when it was not in time."""
    deadline = time.monotonic() + within_s
    while not ask():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
