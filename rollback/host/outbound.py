"""A fence around what calls out: no connection from inside but to the named hosts and ports.

It holds for libraries as well, whatever address they were given and wherever an answer sends them: the
interpreter reports each look-up and each connection before it is made. A name that leads back to this
machine, or to the link that it is on, is refused too, whoever answers for the name by then.

Hides: audit hooks.
Never: looks inside a program that is not Python; ends while somebody is inside.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache

_EVENTS = frozenset(
    {"socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"}
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass
class _Fence:
    allowed: frozenset[tuple[str, int]]
    refused: list[str] = field(default_factory=list)
    asked: set[tuple[str, int]] = field(default_factory=set)

    def look_up(self, host: object, port: object) -> None:
        place = (_text(host), _port(port))
        if place not in self.allowed:
            self._refuse(f"{place[0]}:{place[1]}")
        self.asked.add(place)

    def resolve(self, host: object) -> None:
        ours = _text(socket.gethostname())  # a mail says who sends it
        if _text(host) not in {ours, *(name for name, _ in self.allowed)}:
            self._refuse(_text(host))

    def connect(self, address: object) -> None:
        if not isinstance(address, tuple) or len(address) < 2:
            self._refuse("a socket of this machine")
            return
        host, port = _text(address[0]), _port(address[1])
        found = _ip(host)
        if found is None:
            self.look_up(host, port)
            return
        literal = (host, port) in self.allowed
        named = {name for name, at in self.asked if at == port and _ip(name) is None}
        if found.is_loopback and not _mapped(found) and (literal or "localhost" in named):
            return
        if not (literal or named) or _inner(found):
            self._refuse(f"{host}:{port}")

    def _refuse(self, place: str) -> None:
        self.refused.append(place)
        raise PermissionError(errno.EACCES, f"{place} is not among the allowed places")


_FENCE: ContextVar[_Fence | None] = ContextVar("fence", default=None)


@contextmanager
def only(places: Iterable[str]) -> Iterator[list[str]]:
    """Nothing is called from inside but these `host:port`; what was tried all the same is listed.

    Who tries gets a PermissionError. It holds in this thread.
    """
    _install()
    allowed = frozenset(_place(one) for one in places)
    fence = _Fence(allowed)
    token = _FENCE.set(fence)
    try:
        yield fence.refused
    finally:
        _FENCE.reset(token)


def here(host: str) -> bool:
    """True for a host that is written as this machine, and in no roundabout way."""
    found = _ip(_text(host))
    return _text(host) == "localhost" or (
        found is not None and found.is_loopback and not _mapped(found)
    )


@cache
def _install() -> None:
    sys.addaudithook(_heard)


def _heard(
    event: str, args: tuple[object, ...], *, events: frozenset[str] = _EVENTS,
    current: ContextVar[_Fence | None] = _FENCE,
) -> None:  # fmt: skip
    """`events` and `current` are bound here: at the end of Python the names of a module are gone."""
    fence = current.get() if event in events else None
    if fence is None:
        return
    if event == "socket.getaddrinfo":
        fence.look_up(args[0], args[1])
    elif event == "socket.gethostbyname":
        fence.resolve(args[0])
    else:
        fence.connect(args[1])


def _place(written: str) -> tuple[str, int]:
    host, _, port = written.rpartition(":")
    return _text(host), _port(port)


def _text(host: object) -> str:
    said = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else str(host)
    return said.strip("[]").rstrip(".").lower()


def _port(port: object) -> int:
    said = _text(port)
    if said.isascii() and said.isdecimal():
        return int(said)
    try:
        return socket.getservbyname(said)
    except OSError:
        return 0


def _ip(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _mapped(found: Address) -> bool:
    return isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None


def _inner(found: Address) -> bool:
    """True for this machine and the link it is on: where no name of another machine may lead."""
    inside = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    one = inside or found
    return (
        _mapped(found) or one.is_loopback or one.is_link_local or one.is_unspecified
        or one.is_multicast
    )  # fmt: skip
