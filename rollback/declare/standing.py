"""Which components may have a standby: a swap takes the whole folder, with all that is in it.

Hides: the rules.
Never: looks at the machine.
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

_LEAVE = "leave restore out: it is then put back file by file"


def check(document: Document, data: dict[str, Any], found: Places) -> None:
    """A standby of what no swap may take along is a problem, where it is declared."""
    components = data.get("components")
    shapes = {name: one for name, one in components.items() if isinstance(one, dict)} if isinstance(
        components, dict) else {}  # fmt: skip
    for name, one in shapes.items():
        if one.get("restore") == "standby":
            problem = _problem(name, one, shapes, found)
            if problem:
                spot: Spot = ("components", name, "restore")
                message = f"{'.'.join(map(str, spot))}: {problem}"
                document.problems.append(Problem(document.where(spot), message, _LEAVE))


def _problem(name: str, one: dict[str, Any], shapes: dict[str, Any], found: Places) -> str:
    content = one.get("content", "files")
    if content != "files":
        kind = content if isinstance(content, str) else "planned"
        return f"is {kind}: only folders of plain files have a standby"
    folder = _folder(one, found)
    if folder is None:
        return ""
    if folder == found.folder or folder in found.folder.parents:
        return "holds the declaration, which no swap may take away"
    for other, theirs in shapes.items():
        inner = _folder(theirs, found)
        if other != name and inner is not None and folder in inner.parents:
            grows = (
                ", which is only ever added to" if theirs.get("content") == "append-only" else ""
            )
            return f"holds component {other!r}{grows}, and a swap would take it along"
    excluded = [glob for _, glob in walk.texts((), one.get("exclude"))]
    if excluded:
        return f"excludes {excluded[0]!r}, and a swap would take it along"
    if one.get("paths"):
        return "is not all that its folder holds, and a swap would take the rest along"
    return ""


def _folder(one: dict[str, Any], found: Places) -> Path | None:
    path = one.get("path", ".")
    if not isinstance(path, str) or "\0" in path or one.get("content") == "postgres":
        return None
    return Path(os.path.normpath(found.root / path))
