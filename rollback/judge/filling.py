"""Filling a declared record: what a word means in a field, who may say it, and what is still blank.

Hides: how each type is written.
Never: guesses: a word that is not of the type of its field fills nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from urllib.parse import urlsplit

from rollback.model.finding import Json
from rollback.model.operations import Record, RecordField
from rollback.model.people import People
from rollback.model.quantity import duration_s

TEXT_CHARS_MAX = 10_000
_TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
_SHOWN = {
    "text": "in words", "number": "a number", "date": "a date or a UTC time", "duration": "like 90m",
    "bool": "yes or no", "list": "items with ; between them", "person": "a declared person",
    "link": "an http(s) address",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filled:
    """What is known of a record in a run: values by field, who said each ("" computed), what is blank."""

    values: Mapping[str, Json] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    blank: tuple[str, ...] = ()


def typed(declared: RecordField, text: str, people: People) -> Json:
    """The value that a person's word is. Raises: ValueError saying what was wanted instead."""
    word = text.strip()
    if not word or not any(letter.isalnum() for letter in word):
        raise ValueError("it is blank")
    longest = declared.longest or TEXT_CHARS_MAX
    if len(word) > longest:
        raise ValueError(f"it has {len(word)} characters, {longest} at most")
    if any(not letter.isprintable() and letter not in "\n\t" for letter in word):
        raise ValueError("it holds what cannot be printed")
    if declared.type == "choice":
        if word not in declared.choices:
            raise ValueError(f"it is one of: {', '.join(declared.choices)}")
        return word
    try:
        return _READERS[declared.type](word, people)
    except ValueError:
        raise ValueError(f"write {wanted(declared)}") from None


def wanted(declared: RecordField) -> str:
    """What is written in the field, in a few words."""
    if declared.type == "choice":
        return " | ".join(declared.choices)
    most = f", {declared.longest} characters at most" if declared.longest else ""
    return f"{_SHOWN[declared.type]}{f' ({declared.unit})' if declared.unit else ''}{most}"


def blank(record: Record, known: Mapping[str, Json]) -> tuple[str, ...]:
    """The required fields that nothing is known of, in order of the declaration."""
    return tuple(
        name for name, one in record.fields.items() if one.required and known.get(name) is None
    )


def may_fill(record: Record, declared: RecordField, roles: tuple[str, ...]) -> bool:
    """True when somebody of these roles fills the field."""
    role = declared.by or record.by
    return role is None or role in roles


def _number(word: str, _people: People) -> Json:
    if not word.isascii() or "_" in word:
        raise ValueError("no number")
    value = float(word)
    if not math.isfinite(value):
        raise ValueError("no number")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _date(word: str, _people: People) -> Json:
    if len(word) == len("2026-11-20"):
        return date.fromisoformat(word).isoformat()
    moment = datetime.fromisoformat(word)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return word


def _list(word: str, _people: People) -> Json:
    items: list[Json] = [item.strip() for item in word.split(";") if item.strip()]
    if not items:
        raise ValueError("no items")
    return items


def _truth(word: str, _people: People) -> Json:
    if word.lower() not in _TRUTHS:
        raise ValueError("neither yes nor no")
    return _TRUTHS[word.lower()]


def _person(word: str, people: People) -> Json:
    if all(one.id != word for one in people.members):
        raise ValueError("nobody of that name")
    return word


def _link(word: str, _people: People) -> Json:
    found = urlsplit(word)
    if found.scheme not in ("http", "https") or not found.hostname or " " in word:
        raise ValueError("no address")
    return word


_READERS: dict[str, Callable[[str, People], Json]] = {
    "text": lambda word, _people: word, "number": _number, "date": _date,
    "duration": lambda word, _people: duration_s(word), "list": _list, "bool": _truth,
    "person": _person, "link": _link,
}  # fmt: skip
