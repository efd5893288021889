"""One line of the journal: what happened, in which order, chained to what came before.

Hides: the canonical bytes that are hashed.
Never: reads a clock; `at` is given.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from rollback.model.finding import Json

FORMAT = 1
GENESIS = "0" * 64


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8", "surrogatepass")


def digest(value: Any, *, domain: str) -> str:
    """SHA-256 over the canonical bytes, with a domain tag so that ids of two kinds never meet."""
    return hashlib.sha256(domain.encode() + b"\0" + canonical(value)).hexdigest()


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` with its `data`, about run `run` ("" when about none).

    Units: `at` UTC ISO 8601 with microseconds; `boot_s` seconds of CLOCK_BOOTTIME in boot `boot`.
    Shape: `seq` counts from 1 without gaps; `previous` is the `hash` of the event before.
    """

    seq: int
    at: str
    boot: str
    boot_s: float
    kind: str
    run: str = ""
    data: dict[str, Json] = field(default_factory=dict)
    previous: str = GENESIS
    hash: str = ""

    def body(self) -> dict[str, Any]:
        """Everything that the hash covers."""
        return {
            "format": FORMAT, "seq": self.seq, "at": self.at, "boot": self.boot,
            "boot_s": self.boot_s, "kind": self.kind, "run": self.run, "data": self.data,
            "previous": self.previous,
        }  # fmt: skip

    def sealed(self) -> Event:
        """This event with its hash."""
        return Event(
            **{**self._fields(), "hash": hashlib.sha256(canonical(self.body())).hexdigest()}
        )

    def line(self) -> bytes:
        """The journal line, newline included."""
        return canonical({**self.body(), "hash": self.hash}) + b"\n"

    def _fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


_TYPES: dict[str, tuple[type, ...]] = {
    "seq": (int,), "at": (str,), "boot": (str,), "boot_s": (float, int), "kind": (str,),
    "run": (str,), "data": (dict,), "previous": (str,),
}  # fmt: skip


def parse(line: bytes) -> Event:
    """The event on a journal line. Raises: ValueError when it is not one, or its hash is wrong."""
    return read_body(decode(line))


def read_body(written: Any) -> Event:
    """The event in a decoded line. Raises: ValueError as `parse`."""
    value = dict(written) if isinstance(written, dict) else written
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise ValueError("not an event of format 1")
    stated = value.pop("hash", "")
    try:
        event = Event(**value).sealed()
    except TypeError as error:
        raise ValueError(f"not an event: {error}") from None
    if event.hash != stated:
        raise ValueError("the line does not match its hash")
    wrong = [name for name, kinds in _TYPES.items() if type(getattr(event, name)) not in kinds]
    if wrong:
        raise ValueError(f"not an event: {wrong[0]} is of another type")
    return event


def decode(line: bytes) -> Any:
    """The JSON value in a line, however wrong it is as an event. Raises: ValueError."""
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply to be an event") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
