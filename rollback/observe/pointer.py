"""Finding a value inside JSON: by pointer (`/agents/0/name`) or by dotted key (`party.enabled`).

Hides: RFC 6901 escapes, and that a JSON text must not repeat keys or hold NaN.
Never: raises for a value that is not there; it answers MISSING.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator

from rollback.model.finding import Json
from rollback.observe.expect import shown, why_not


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
Found: TypeAlias = "Json | _Missing"


def _checked(pointer: str) -> str:
    if pointer and not pointer.startswith("/"):
        raise ValueError(
            f"{pointer!r} is no JSON pointer; write it with a slash first: {'/' + pointer!r}"
        )
    return pointer


Pointer = Annotated[str, AfterValidator(_checked)]


def find(document: Json, pointer: str) -> Found:
    """What stands at `pointer`; MISSING when nothing does."""
    found = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isascii() and name.isdecimal():
            if int(name) >= len(found):
                return MISSING
            found = found[int(name)]
        else:
            return MISSING
    return found


def dotted(document: Json, key: str) -> Found:
    """What stands at `a.b.0`; MISSING when nothing does. A whole key with dots wins."""
    if isinstance(document, dict) and key in document:
        return document[key]
    return find(document, "/" + "/".join(part.replace("/", "~1") for part in key.split(".")))


def mismatches(document: Json, wanted: Mapping[str, Any]) -> list[str]:
    """One line for each pointer whose value is missing or not the one expected."""
    wrong = []
    for pointer, expected in wanted.items():
        found = find(document, pointer)
        if isinstance(found, _Missing):
            wrong.append(f"{pointer} is missing")
        elif reason := why_not(found, expected):
            wrong.append(f"{pointer}: {reason}")
    return wrong


def parse(text: str | bytes) -> Json:
    """The JSON value written there. Raises: ValueError for NaN, repeated keys, deep nesting."""
    try:
        value: Json = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _no_twins(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} stands twice")
        found[key] = value
    return found
