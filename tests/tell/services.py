"""Servers that messages go to, on the loopback only: one speaks SMTP, one HTTP in any way a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def mail_server() -> Iterator[tuple[int, list[tuple[str, list[str], str]]]]:
    """A server that takes every mail; (sender, recipients, text) of each."""
    got: list[tuple[str, list[str], str]] = []

    def talk(link: socket.socket) -> None:
        lines = link.makefile("rb")
        sender, recipients = "", list[str]()

        def say(text: str) -> None:
            link.sendall(text.encode() + b"\r\n")

        say("220 loopback")
        for raw in lines:
            line = raw.decode().rstrip("\r\n")
            word = line[:4].upper()
            if word in ("EHLO", "HELO"):
                say("250 loopback")
            elif word == "MAIL":
                sender = line.partition("<")[2].partition(">")[0]
                say("250 ok")
            elif word == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
                say("250 ok")
            elif word == "DATA":
                say("354 go on")
                text = list[str]()
                while (part := lines.readline().decode().rstrip("\r\n")) != ".":
                    text.append(part)
                got.append((sender, recipients, "\n".join(text)))
                recipients = []
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    with served(talk) as port:
        yield port, got


@contextmanager
def served(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port of the loopback where each connection is talked to so, in a thread of its own."""
    links: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def one(link: socket.socket) -> None:
            with suppress(OSError), link:
                talk(link)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    link, _ = server.accept()
                    links.append(link)
                    threading.Thread(target=one, args=(link,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            for link in links:
                with suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
