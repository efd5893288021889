"""Whether the places for checkpoints can hold what their kinds ask for.

Hides: the rules.
Never: looks at a place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rollback.declare import walk
from rollback.declare.places import Places
from rollback.declare.text import Document
from rollback.declare.text import Path as Spot
from rollback.model.errors import Problem
from rollback.model.registry import kinds


def check(document: Document, data: dict[str, Any], found: Places) -> None:
    """Too few places, one place twice, and secrets that would leave in clear are problems."""
    _enough(document, data)
    _exported(document, data)
    _apart(document, data, found)
    _in_clear(document, data)


def _wrong(document: Document, path: Spot, message: str, hint: str) -> None:
    name = ".".join(str(part) for part in path)
    document.problems.append(Problem(document.where(path), f"{name}: {message}", hint))


def _enough(document: Document, data: dict[str, Any]) -> None:
    for spot, copies in walk.find(data, "checkpoints.kinds.*.copies"):
        named = walk.at(data, (*spot[:-1], "stores"))
        places = 1 + (len(set(map(str, named))) if isinstance(named, list) else 0)
        if isinstance(copies, int) and copies > places:
            _wrong(document, spot, f"asks for {copies} copies and names {places} of the places",
                   "name others: stores: [ID], as declared under checkpoints.stores")  # fmt: skip


def _exported(document: Document, data: dict[str, Any]) -> None:
    for spot, name in walk.find(data, "checkpoints.kinds.*.export.place"):
        declared = walk.at(data, ("places", name)) if isinstance(name, str) else None
        may = [text for _, text in walk.texts((), walk.at(declared, ("may",)))]
        if isinstance(declared, dict) and "archive" not in may:
            _wrong(document, spot, f"place {name!r} may not be used to archive",
                   f"declare it: places: {{{name}: {{may: [read, archive]}}}}")  # fmt: skip


def _apart(document: Document, data: dict[str, Any], found: Places) -> None:
    seen: dict[Path, str] = {}
    for spot, written in walk.find(data, "checkpoints.stores.*.folder.path"):
        if not isinstance(written, str) or "\0" in written:
            continue
        path = Path(os.path.normpath(found.folder / written))
        if path == found.state or found.state in path.parents or path in found.state.parents:
            _wrong(document, spot, "holds the tool's own state, or lies in it: that is no other place",
                   "write a folder on another disk")  # fmt: skip
        if path in seen:
            _wrong(document, spot, f"is the place of store {seen[path]!r} too",
                   "give every store a place of its own")  # fmt: skip
        seen[path] = str(spot[2])


def _in_clear(document: Document, data: dict[str, Any]) -> None:
    secret = [
        str(spot[1]) for spot, value in walk.find(data, "components.*.sensitive") if value is True
    ]
    for spot, parameters in walk.find(data, "checkpoints.stores.*.*") if secret else ():
        cls = kinds("store").get(str(spot[3]))
        if (
            getattr(cls, "remote", False)
            and isinstance(parameters, dict)
            and not parameters.get("key")
        ):
            _wrong(document, spot, f"would take the sensitive component {secret[0]!r} away in clear",
                   "give it a key: key: file:/etc/rollback/copy.key (openssl rand -hex 32)")  # fmt: skip
