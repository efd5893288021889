"""Flags of the running system: where each is written, and what the product itself says of it.

A kind of flag knows its files: which key of which file holds the value, and what follows from the
files. What is true is asked through the product's own reader; a file that says `false` proves
nothing about a process that does not read it.

Hides: the spellings of truth (`false`, `False`, `FALSE`, no quotes).
Never: changes a flag; that is the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

from rollback.act.service import running
from rollback.declare.edit import REMOVE, Format, get, splice
from rollback.model.component import FileKey, Flag
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Json
from rollback.model.registry import kinds, nearest
from rollback.model.system import System
from rollback.observe.reading import read_value
from rollback.observe.view import View

Value = bool | int | str
Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one layer of a flag is written. `value` is what belongs there; None: nothing."""

    layer: str
    path: str
    format: Format
    key: str
    value: Value | None

    def change(self, data: bytes) -> bytes:
        """The file with the value in its place."""
        return splice(data, self.format, self.key, REMOVE if self.value is None else self.value)

    def written(self, data: bytes) -> Json:
        """What stands there now; None when nothing does."""
        found = get(data, self.format, self.key)
        return cast("Json", found) if isinstance(found, (bool, int, str, float)) else None


class FlagKind(Protocol):
    """How one kind of flag is written."""

    def slot(self, flag: Flag, layer: str | None, value: Value | None, read: Read) -> Slot:
        """Where to write `value` (None: unset). Raises: PlanError for a layer it has not."""

    def slots(self, flag: Flag) -> tuple[Slot, ...]:
        """Every place that the value may come from, the strongest first; their values None."""

    def effective(self, flag: Flag, read: Read) -> Json:
        """The value that follows from the files."""


def declared(system: System, name: str) -> tuple[Flag, FlagKind]:
    """The flag and its kind. Raises: PlanError when there is none of this name."""
    flag = system.flags.get(name)
    if flag is None:
        raise PlanError(f"there is no flag {name}", hint=nearest(name, tuple(system.flags)))
    kind = "layered" if flag.layered is not None else "flagd"
    return flag, cast("FlagKind", kinds("flag")[kind]())


def same(one: Json, other: Json) -> bool:
    """True when both spell the same value: `false`, False and "False" do."""
    return _normal(one) == _normal(other)


def asks(flag: Flag) -> str:
    """Who is asked for the value, for people."""
    if flag.reader is None:
        return "no reader is declared: the files are read"
    if flag.reader.http is not None:
        return f"asked at {flag.reader.http.url}"
    assert flag.reader.command is not None
    return f"asked with {flag.reader.command.argv[0]}"


def ask(flag: Flag, view: View) -> Json:
    """The value that the product reports. Raises: HostUnreachable when it does not answer."""
    assert flag.reader is not None
    return read_value(flag.reader, view)


def asleep(flag: Flag, view: View) -> str | None:
    """The declared service that would answer, when it is stopped; None when none is known to be."""
    if flag.reader is None or flag.reader.http is None:
        return None
    port = urlsplit(flag.reader.http.url).port
    for name, service in view.system.services.items():
        if port in service.ports:
            try:
                return None if running(view, name) else name
            except HostError:
                return None
    return None


def _normal(value: Json) -> str:
    text = str(value).strip().lower()
    return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text, text)


def file_slot(layer: str, place: FileKey, format: Format, value: Value | None) -> Slot:  # noqa: A002 - the word of the grammar
    """The slot of one declared key."""
    return Slot(layer, place.path, format, place.key, value)
