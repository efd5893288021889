"""Asking over the network: one HTTP request, one TCP conversation, each with a deadline and a cap.

Hides: http.client and sockets.
Never: follows a redirect, uses a proxy, or reads without end.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from rollback.model.errors import HostUnreachable
from rollback.model.quantity import spoken

BODY_BYTES_MAX = 8 * 2**20
_LISTENING = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Units: `elapsed_s` from connecting to the last byte read."""

    status: int
    body: bytes
    elapsed_s: float
    headers: Mapping[str, str] = field(default_factory=dict)


def request(
    url: str, *, method: str = "GET", body: bytes | None = None,
    headers: Mapping[str, str] | None = None, timeout_s: float = 5.0, limit_bytes: int = BODY_BYTES_MAX,
) -> Response:  # fmt: skip
    """The answer to one HTTP request, of any status.

    Raises: HostUnreachable when nobody answers whole within `timeout_s` (in all, not per read).
    """
    import http.client  # it brings ssl; a flag that is flipped asks nobody

    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise HostUnreachable(f"not an http address: {error}", where=url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise HostUnreachable("not an http address", where=url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    began = time.monotonic()
    try:
        connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        try:
            connection.connect()
            with _deadline(connection.sock, began + timeout_s) as late:
                connection.request(method, target, body=body, headers=dict(headers or {}))
                with connection.getresponse() as answer:  # one that was cut short stays open else
                    whole = answer.read(limit_bytes + 1)
                elapsed_s = time.monotonic() - began
            if late.is_set():
                raise HostUnreachable(f"no whole answer within {spoken(timeout_s)}", where=url)
            if len(whole) > limit_bytes:
                raise HostUnreachable(
                    f"the answer is too large: more than {limit_bytes} bytes", where=url
                )
            if answer.length:
                raise HostUnreachable("the answer was cut short", where=url)
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, whole, elapsed_s, fields)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HostUnreachable(_no_answer(error, began, timeout_s), where=url) from error


def _no_answer(error: Exception, began: float, timeout_s: float) -> str:
    """Why there is none; a connection that was cut at its time says nothing of that itself."""
    if isinstance(error, TimeoutError) or time.monotonic() >= began + timeout_s:
        return f"no answer within {spoken(timeout_s)}"
    return f"no answer: {str(error) or type(error).__name__}"


@contextmanager
def _deadline(connected: socket.socket, at: float) -> Iterator[threading.Event]:
    """The connection is cut at that moment, even while its other side drips byte after byte."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, at - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def talk(host: str, port: int, *, send: bytes, timeout_s: float, limit_bytes: int = 4096) -> bytes:
    """The first bytes that the other side says after `send`. Raises: HostUnreachable.

    A frozen process still accepts connections: only an answer proves that somebody is there.
    """
    began = time.monotonic()
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            if send:
                connection.sendall(send)
            return connection.recv(limit_bytes)
    except OSError as error:
        why = _no_answer(error, began, timeout_s)
        raise HostUnreachable(why, where=f"{host}:{port}") from error


def listening(host: str, port: int) -> bool:
    """True when the port is taken (something is bound to it)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
        return False


def listeners(port: int) -> frozenset[str]:
    """The sockets that listen on the port, by the kernel's number of each; the same until it closes.

    Empty when there is none, or the kernel does not say.
    """
    found = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError), open(f"/proc/net/{name}", encoding="ascii") as file:
            for fields in map(str.split, file):
                if len(fields) > 9 and fields[3] == _LISTENING:
                    if int(fields[1].rpartition(":")[2], 16) == port:
                        found.add(fields[9])
    return frozenset(found)


def on_this_machine(host: str) -> bool:
    """True for a name or number that is this machine by definition, wherever it is asked."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
