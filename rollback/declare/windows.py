"""Windows of time must be able to open: a zone that there is, hours that begin and end.

Hides: where a declaration has windows.
Never: reads a clock.
"""

from __future__ import annotations

from typing import Any

from rollback.declare import walk
from rollback.declare.text import Document, Path
from rollback.model.errors import Problem

PLACES = (
    "guardrails.window", "environments.*.window", "people.roles.*.hours", "people.members.*.hours",
)  # fmt: skip


def check(document: Document, data: dict[str, Any]) -> None:
    """A window in no zone, or of no time, is among the document's problems."""
    for place in PLACES:
        for path, written in walk.find(data, place):
            if isinstance(written, dict):
                _one(document, path, written)


def _one(document: Document, path: Path, written: dict[str, Any]) -> None:
    zone, hours = written.get("zone", "UTC"), written.get("hours")
    if isinstance(zone, str) and not _known(zone):
        _wrong(document, (*path, "zone"), f"there is no time zone {zone!r}",
               "write one like Europe/Berlin, or UTC")  # fmt: skip
    if isinstance(hours, str) and len(set(hours.split("-"))) == 1:
        _wrong(document, (*path, "hours"), f"{hours} begins when it ends",
               "leave hours out for the whole day")  # fmt: skip
    if "days" in written and not written["days"]:
        _wrong(document, (*path, "days"), "a window without a day never opens",
               "leave days out for every day")  # fmt: skip


def _known(zone: str) -> bool:
    from zoneinfo import ZoneInfo  # only where a window is declared

    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # a folder, a path that leaves, no such file
        return False
    return True


def _wrong(document: Document, path: Path, message: str, hint: str) -> None:
    name = ".".join(str(part) for part in path)
    document.problems.append(Problem(document.where(path), f"{name}: {message}", hint))
