"""Asking over the network: a deadline that is one, a cap that is one, no detours."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rollback.host import net
from rollback.model.errors import HostUnreachable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something that listens on loopback, and does this with whoever comes."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def loop() -> None:
        listener.settimeout(0.1)
        while not stop.is_set():
            try:
                one, _ = listener.accept()
            except TimeoutError:
                continue
            with one:
                try:
                    serve(one)
                except OSError:
                    continue

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        thread.join()
        listener.close()


def say(answer: bytes) -> Callable[[socket.socket], None]:
    """Answers every request with these bytes."""

    def serve(one: socket.socket) -> None:
        one.recv(65536)
        one.sendall(answer)

    return serve


def drip(first: bytes, every_s: float = 0.05) -> Callable[[socket.socket], None]:
    """One byte after the other, for ten seconds."""

    def serve(one: socket.socket) -> None:
        one.recv(65536)
        one.sendall(first)
        for _ in range(int(10 / every_s)):
            one.sendall(b"x")
            time.sleep(every_s)

    return serve


def test_an_answer_of_any_status_comes_back() -> None:
    """Body, headers in lower case, time."""
    with server(say(b"HTTP/1.1 503 No\r\nX-Why: load\r\nContent-Length: 2\r\n\r\nno")) as port:
        found = net.request(f"http://127.0.0.1:{port}/x?y=1")
    assert (found.status, found.body, found.headers["x-why"]) == (503, b"no", "load")
    assert found.elapsed_s > 0


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Where it points to is nobody's business here."""
    away = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with server(say(away)) as port:
        assert net.request(f"http://127.0.0.1:{port}/").status == 302


@pytest.mark.parametrize(
    "first",
    [b"", b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
     b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n270f\r\n"],
    ids=["status", "headers", "body", "endless", "chunked"],
)  # fmt: skip
def test_a_server_that_drips_is_cut_off_at_the_deadline(first: bytes) -> None:
    """Each byte comes in time; the whole does not."""
    with server(drip(first)) as port:
        began = time.monotonic()
        with pytest.raises(HostUnreachable):
            net.request(f"http://127.0.0.1:{port}/", timeout_s=0.4)
        assert time.monotonic() - began < 2.0


def test_a_server_that_says_nothing_is_cut_off_too() -> None:
    """It accepts, and that is all."""
    with server(lambda one: time.sleep(0.8)) as port, pytest.raises(HostUnreachable):
        net.request(f"http://127.0.0.1:{port}/", timeout_s=0.3)


def test_an_answer_without_end_is_cut_at_its_cap() -> None:
    """Nobody fills our memory."""
    with server(say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)) as port:
        with pytest.raises(HostUnreachable, match="too large"):
            net.request(f"http://127.0.0.1:{port}/", limit_bytes=1000)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"],
)  # fmt: skip
def test_an_answer_that_is_no_http_is_no_answer(answer: bytes) -> None:
    """Empty, garbage, a status of letters, cut short."""
    with server(say(answer)) as port, pytest.raises(HostUnreachable):
        net.request(f"http://127.0.0.1:{port}/", timeout_s=2)


@pytest.mark.parametrize(
    "url",
    ["", "x", "file:///etc/passwd", "ftp://h/", "http://", "http://u:p@127.0.0.1/", "http://[::1",
     "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://127.0.0.1:1/\r\nX: y", "http://h\x00/"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """With the address, never with a traceback."""
    with pytest.raises(HostUnreachable):
        net.request(url, timeout_s=1)


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with server(say(OK)) as port:
        assert net.request(f"http://127.0.0.1:{port}/").body == b"ok"


def test_a_conversation_needs_an_answer() -> None:
    """A port that accepts and stays silent proves nobody."""
    with server(lambda one: one.sendall(b"hello")) as port:
        assert net.talk("127.0.0.1", port, send=b"", timeout_s=2) == b"hello"
    with server(lambda one: time.sleep(0.6)) as port, pytest.raises(HostUnreachable):
        net.talk("127.0.0.1", port, send=b"ping", timeout_s=0.2)


def test_a_port_is_taken_while_somebody_is_bound_to_it() -> None:
    """And free afterwards."""
    with server(say(OK)) as port:
        assert net.listening("127.0.0.1", port)
    assert not net.listening("127.0.0.1", port)


def test_who_listens_on_a_port_is_known_by_a_number_that_is_nobody_elses() -> None:
    """The same as long as the socket is open; another socket on the same port has another."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        found = net.listeners(port)
        assert len(found) == 1
        assert net.listeners(port) == found
        with socket.create_connection(("127.0.0.1", port)):
            assert net.listeners(port) == found, "whoever is connected does not listen"
    assert net.listeners(port) == frozenset()
    with socket.create_server(("127.0.0.1", port)):
        assert net.listeners(port)
        assert net.listeners(port) != found


@pytest.mark.parametrize(
    ("name", "here"),
    [("localhost", True), ("LOCALHOST", True), ("127.0.0.1", True), ("127.8.9.1", True),
     ("[::1]", True), ("0.0.0.0", True), ("10.0.0.1", False), ("example.org", False),
     ("127.example.org", False), ("", False)],
)  # fmt: skip
def test_only_a_name_that_is_this_machine_by_definition_counts_as_this_machine(
    name: str, here: bool
) -> None:
    """No name is looked up."""
    assert net.on_this_machine(name) is here
