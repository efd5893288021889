"""Forty attacks on notifiers: from the network, by names, by what a text holds. None gets anywhere.

Whatever a channel meets is an answer within its cap; no place that nobody declared is connected to; a
text stays a text in every sink.
"""

from __future__ import annotations

import email
import email.policy
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import rollback.kinds  # noqa: F401 - registers the notifiers
from rollback import declare
from rollback.host import Host
from rollback.tell.delivery import Delivery, deliver, outgoing
from rollback.tell.message import queued
from tests.tell.services import mail_server, served
from tests.tell.test_message import STUDIO, channels, event, listening, said

Talk = Callable[[socket.socket], None]
WITHIN = "1s"
CAP_S = 8.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def asked(link: socket.socket) -> None:
    """The request has come."""
    link.recv(65536)


def says(answer: bytes) -> Talk:
    def talk(link: socket.socket) -> None:
        asked(link)
        link.sendall(answer)

    return talk


def redirect(status: int, place: str) -> Talk:
    return says(
        f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def endless(head: bytes, more: bytes, pause_s: float = 0.0) -> Talk:
    def talk(link: socket.socket) -> None:
        asked(link)
        link.sendall(head)
        while True:
            link.sendall(more)
            if pause_s:
                time.sleep(pause_s)

    return talk


def silent(link: socket.socket) -> None:
    while link.recv(65536):
        pass


def gone(link: socket.socket) -> None:
    asked(link)


def gone_at_once(_link: socket.socket) -> None:
    return


NETWORK: dict[str, Talk] = {
    "blackhole": silent,
    "closed at once": gone_at_once,
    "closed after the question": gone,
    "slow drip": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05),
    "slow headers": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.05),
    "huge body": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"x" * 65536),
    "endless chunks": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                              b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: " + b"z" * 60_000 + b"\r\n"),
    "endless status": endless(b"HTTP/1.1 200 ", b"o" * 65536),
    "cut short": says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok"),
    "no HTTP": says(b"\x00\xff\x00 hello\r\n\r\n"),
    "an error": says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
    "no number": says(b"HTTP/1.1 two OK\r\n\r\n"),
    "302 to the metadata of a cloud": redirect(302, "http://169.254.169.254/latest/meta-data"),
    "301 inside": redirect(301, "http://127.0.0.1:{inner}/"),
    "303 inside": redirect(303, "http://127.0.0.1:{inner}/"),
    "307 inside": redirect(307, "http://localhost:{inner}/"),
    "308 inside": redirect(308, "http://[::1]:{inner}/"),
}  # fmt: skip
SPELLINGS = ("2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.1", "0x7f.1",
             "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "①②⑦.⓪.⓪.①")  # fmt: skip
REBOUND = ("127.0.0.1", "169.254.169.254", "0.0.0.0")
OTHERS = ("dead name", "refused port", "plain port as TLS", "certificate of nobody")
TEXTS = {
    "CRLF in a title": ("title", "Shop\r\nBcc: everybody@example.org"),
    "terminal": ("text", "\x1b]0;owned\x07\x1b[31mred\x9b1m"),
    "calls everybody": ("text", "@everyone @here <!channel> <@U123>"),
    "HTML": ("text", "</td><script>alert(1)</script><img src=x onerror=y>"),
    "a line of its own": ("text", 'x"}\n{"id": "r9/forged"'),
}  # fmt: skip
COUNT = 40


@pytest.fixture
def system(tmp_path: Path) -> Any:
    """The studio, declared in a folder of its own."""
    (tmp_path / "rollback.yaml").write_bytes(STUDIO.read_bytes())
    (tmp_path / "studio").mkdir()
    return declare.load(tmp_path / "rollback.yaml")


def test_there_are_forty() -> None:
    """As many as are promised."""
    assert len(NETWORK) + len(SPELLINGS) + len(REBOUND) + len(OTHERS) + len(TEXTS) == COUNT


def sent(one: Any, **more: Any) -> Delivery:
    """What came of a message on the only channel, within the cap."""
    host = Host()
    began_s = host.clock.boot_s()
    (found,) = deliver(one, host, event(one, **more), deadline_s=CAP_S)
    assert host.clock.boot_s() - began_s < 2 * CAP_S
    return found


@contextmanager
def inner() -> Iterator[tuple[int, list[str]]]:
    """A port that nobody declared, and who came."""
    came: list[str] = []

    def talk(link: socket.socket) -> None:
        came.append("somebody")
        link.sendall(OK)

    with served(talk) as port:
        yield port, came


def hook(system: Any, url: str, **more: Any) -> Any:
    return channels(system, hook={"webhook": {"url": url, "within": WITHIN, **more}})


@pytest.mark.parametrize("name", NETWORK)
def test_a_server_that_misbehaves_is_an_answer(system, name: str) -> None:
    """In time, and wherever it points nobody goes."""
    with inner() as (port, came):

        class Rewriting:
            """The link, with the number of the port that nobody declared put into what is said."""

            def __init__(self, link: socket.socket) -> None:
                self.recv = link.recv
                self.sendall = lambda raw: link.sendall(raw.replace(b"{inner}", str(port).encode()))

        with served(lambda link: NETWORK[name](Rewriting(link))) as outer:  # type: ignore[arg-type]
            found = sent(hook(system, f"http://127.0.0.1:{outer}/"))
        assert not found.ok
        assert found.detail
        assert came == []


@pytest.mark.parametrize("name", OTHERS)
def test_nobody_there_or_somebody_else_is_an_answer(system, tmp_path: Path, name: str) -> None:
    """A name without an address, a closed port, no TLS, a certificate that nobody signed."""
    if name == "dead name":
        one = hook(system, "http://nobody.invalid:81/", allow=["nobody.invalid:81"])
        assert not sent(one).ok
    elif name == "refused port":
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        assert not sent(hook(system, f"http://127.0.0.1:{port}/")).ok
    elif name == "plain port as TLS":
        with served(says(OK)) as port:
            assert not sent(hook(system, f"https://127.0.0.1:{port}/")).ok
    else:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out",
             "c.pem", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
        heard: list[bytes] = []

        def talk(link: socket.socket) -> None:
            with context.wrap_socket(link, server_side=True) as safe:
                heard.append(safe.recv(65536))
                safe.sendall(OK)

        with served(talk) as port:
            assert not sent(hook(system, f"https://127.0.0.1:{port}/")).ok
        assert not any(heard)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_roundabout_spelling_of_this_machine_is_another_machine(system, spelling: str) -> None:
    """It is refused where it is declared, and even where somebody allowed it nobody is connected to."""
    with inner() as (port, came):
        url = f"http://{spelling}:{port}/"
        with pytest.raises((ValidationError, ValueError)):
            hook(system, url)
        host = spelling.strip("[]")
        assert not sent(hook(system, url, allow=[f"{host}:{port}"])).ok
        assert came == []


@pytest.mark.parametrize("address", REBOUND)
def test_a_name_that_leads_back_inside_is_not_followed(
    system,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    """Whoever answers for an allowed name by then: this machine, and the link that it is on, stay out."""

    def resolver(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        sys.audit("socket.getaddrinfo", host, port, 0, 0, 0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with inner() as (port, came):
        one = hook(system, f"http://chat.example.org:{port}/", allow=[f"chat.example.org:{port}"])
        monkeypatch.setattr(socket, "getaddrinfo", resolver)
        found = sent(one)
        assert not found.ok
        assert "allowed" in found.detail
        assert came == []


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_a_text_in_every_sink(
    system,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    """What comes from names, commits and reasons is no header, no code, no call, no second message."""
    key, value = TEXTS[name]
    declared = system.notify.messages["users-flag"].model_copy(
        update={"text": "{reason}", "title": "{reason}" if key == "title" else "Shop"}
    )
    data = queued(system, "users-flag", {**said(system), "reason": value}, run="r1", step="3",
                  declared=declared)  # fmt: skip
    with mail_server() as (mail_port, mails), listening() as (port, got):
        monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{mail_port}?smtp=127.0.0.1&from=a@example.org"
                                   "&to=b@example.org&mode=insecure")  # fmt: skip
        one = channels(
            system, file={"file": {"path": "box.jsonl"}}, mail={"apprise": {"url": "env:MAIL"}},
            hook={"webhook": {"url": f"http://127.0.0.1:{port}/"}},
        )  # fmt: skip
        found = deliver(one, Host(), event(one, **data))
        assert [each.ok for each in found] == [True, True, True], found
    ((line),) = (system.declaration.parent / "box.jsonl").read_text().splitlines()
    for text in (json.loads(line)["text"], got[0]["text"], outgoing(event(one, **data)).title):
        assert "\x1b" not in text
        assert "@everyone" not in text
        assert "<!channel>" not in text
    assert "\n" not in got[0]["title"]
    mail = email.message_from_string(mails[0][2], policy=email.policy.default)
    assert mails[0][1] == ["b@example.org"]
    assert mail["Bcc"] is None
    html = mail.get_body(("html",))
    assert html is None or "<script>" not in html.get_content()
    assert line.count('"id":') == 1
