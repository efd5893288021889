"""One port for another, wherever a declared thing names it as a port of this machine.

Hides: how a port is written: in an address, as a word of a program, as a number under `ports`.
Never: takes a number for a port because it has the same digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from rollback.host.net import on_this_machine
from rollback.model.errors import HostError

T = TypeVar("T")
_WORDS = ("argv", "environment")  # fields whose texts are the words of a program
_PORTS = ("ports", "port")
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/:@?#=\[\]]+)"


@dataclass(frozen=True, slots=True)
class Move:
    """`service` took the port `new`, while its first port `old` is somebody else's."""

    service: str
    old: int
    new: int


def names(thing: object, port: int, *, field: str = "") -> bool:
    """True when the thing names the port, of this machine or of any."""
    return moved(thing, Move("", port, 0), field=field, anywhere=True) != thing


def moved(thing: T, move: Move, *, field: str = "", anywhere: bool = False) -> T:
    """The thing with the new port for the old one; `field` is the one that it stands in.

    Raises: HostError where it names the port at an address that may be another machine, unless
    `anywhere`.
    """
    found: T = _Walk(move, anywhere=anywhere).of(thing, field)
    return found


class _Walk:
    """A walk through fields; what a text means depends on the field that it stands in."""

    def __init__(self, move: Move, *, anywhere: bool) -> None:
        self._move = move
        self._anywhere = anywhere
        old = f"{move.old}(?![0-9])"
        self._address = re.compile(rf"(://(?:[^\s/@?#]*@)?)({_HOST}):{old}")
        self._word = re.compile(rf"(\A|=)(?:({_HOST}?):)?{move.old}\Z")

    def of(self, value: Any, field: str, host: str = "localhost") -> Any:
        """The value with the new port in it; the very value where it names no port."""
        if isinstance(value, BaseModel):
            return self._model(value)
        if isinstance(value, dict):
            return {key: self.of(one, field, host) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.of(one, field, host) for one in value)
        if isinstance(value, str):
            return self._text(value, field)
        if field in _PORTS and value == self._move.old and not isinstance(value, bool):
            return self._port(host)
        return value

    def _model(self, model: BaseModel) -> BaseModel:
        host = getattr(model, "host", None)
        changed = {}
        for name in type(model).model_fields:
            was = getattr(model, name)
            now = self.of(was, name, host if isinstance(host, str) else "localhost")
            if now is not was and now != was:
                changed[name] = now
        return model.model_copy(update=changed) if changed else model

    def _text(self, text: str, field: str) -> str:
        if field in _WORDS:
            text = self._word.sub(self._in_word, text)
        return self._address.sub(lambda at: f"{at[1]}{at[2]}:{self._port(at[2])}", text)

    def _in_word(self, at: re.Match[str]) -> str:
        host = "" if at[2] is None else f"{at[2]}:"
        return f"{at[1]}{host}{self._port(at[2] or 'localhost')}"

    def _port(self, host: str) -> int:
        move = self._move
        if self._anywhere or on_this_machine(host):
            return move.new
        raise HostError(
            f"{move.service} took the port {move.new}, since its port {move.old} is somebody else's; "
            f"whether {host}:{move.old} is this machine cannot be told",
            where=move.service, hint=f"write 127.0.0.1:{move.old}, which is followed",
        )  # fmt: skip
