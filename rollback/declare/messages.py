"""Messages must be sendable: known moments, fields that something fills, rungs that somebody hears.

Hides: where a message is named, and so what it may say.
Never: fills a field.
"""

from __future__ import annotations

from typing import Any

from rollback.declare import walk
from rollback.declare.text import Document, Path
from rollback.model.errors import Problem
from rollback.model.quantity import duration_s
from rollback.model.registry import nearest
from rollback.model.wording import FIELDS, MOMENT_FIELDS, MOMENTS, WATCHED, named, own


def check(document: Document, data: dict[str, Any]) -> None:
    """A message that could never be sent whole is among the document's problems."""
    for path, message in walk.find(data, "notify.messages.*"):
        if isinstance(message, dict):
            _moments(document, data, path, message)
            _fields(document, data, path, message)
    for path, ladder in walk.find(data, "notify.ladders.*"):
        if isinstance(ladder, dict):
            _ladder(document, path, ladder)
    _circle(document, data)


def _moments(document: Document, data: dict[str, Any], path: Path, message: dict[str, Any]) -> None:
    for place, word in walk.texts((*path, "on"), message.get("on")):
        if word not in MOMENTS:
            _wrong(document, place, f"there is no moment {word!r}", nearest(word, tuple(MOMENTS)))
        elif word in WATCHED and not walk.at(data, ("monitor", "stability")):
            _wrong(document, place, f"{word} never comes: no stability is watched after a run",
                   "declare monitor: {stability: {watch: 4h, limits: [{metric: …, below: …}]}}")  # fmt: skip


def _fields(document: Document, data: dict[str, Any], path: Path, message: dict[str, Any]) -> None:
    known = (*FIELDS, *_own(data))
    texts = [(key, message[key]) for key in ("title", "text") if isinstance(message.get(key), str)]
    wanted = [((*path, key), name) for key, text in texts for name in named(text)]
    wanted += list(walk.texts((*path, "fields"), message.get("fields")))
    for place, name in wanted:
        if name not in known:
            close = nearest(name, known)
            some = ", ".join(sorted(known))
            hint = close if close.startswith("did you mean") else f"known: {some}"
            _wrong(document, place, f"nothing fills {{{name}}}", hint)
        elif name in MOMENT_FIELDS and not _has(data, path, message, name):
            _wrong(document, place, f"nothing fills {{{name}}} here",
                   f"it is there in a message with {MOMENT_FIELDS[name]}")  # fmt: skip


def _own(data: dict[str, Any]) -> tuple[str, ...]:
    records = [
        fields for _, fields in walk.find(data, "records.*.fields") if isinstance(fields, dict)
    ]
    events = [
        fields for _, fields in walk.find(data, "events.*.fields") if isinstance(fields, dict)
    ]
    return own(
        ([str(name) for name in one] for one in records),
        ([str(name) for name in one] for one in events),
    )


def _has(data: dict[str, Any], path: Path, message: dict[str, Any], name: str) -> bool:
    """True when the message is one in which this field has a value."""
    moments = [word for _, word in walk.texts((), message.get("on"))]
    if name == "next_update":
        return message.get("every") is not None
    if name == "which":
        return "overdue" in moments
    called = any(one == path[-1] for _, one in walk.find(data, "notify.ladders.*.message"))
    if name == "phase":
        steps = [step for _, step in walk.steps(data) if step.kind == "notify"
                 and step.parameters.get("message") == path[-1]]  # fmt: skip
        return "phase" in moments or any("phase" in step.parameters for step in steps)
    return called or "silent" in moments


def _ladder(document: Document, path: Path, ladder: dict[str, Any]) -> None:
    rungs = ladder.get("rungs")
    last: float | None = None
    for index, rung in enumerate(rungs if isinstance(rungs, list) else ()):
        if not isinstance(rung, dict):
            continue
        within = _seconds(rung.get("within"))
        if within is not None and last is not None and within < last:
            _wrong(document, (*path, "rungs", index, "within"), "comes before the rung above it",
                   "write the rungs in the order of their times")  # fmt: skip
        last = within


def _seconds(written: Any) -> float | None:
    try:
        return duration_s(written)
    except ValueError:
        return None  # the shape says so


def _circle(document: Document, data: dict[str, Any]) -> None:
    edges: dict[str, list[str]] = {}
    for path, written in walk.find(data, "notify.channels.*"):
        found = walk.item(path, written)
        behind = found.parameters.get("fallback") if found else None
        edges[str(path[-1])] = [behind] if isinstance(behind, str) else []
    way = walk.circle(edges)
    if way:
        _wrong(document, ("notify", "channels", way[0]), "a circle: " + " → ".join(way),
               "remove one of these: fallback")  # fmt: skip


def _wrong(document: Document, path: Path, message: str, hint: str) -> None:
    name = ".".join(str(part) for part in path)
    document.problems.append(Problem(document.where(path), f"{name}: {message}", hint))
