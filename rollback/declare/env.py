"""Environment files: `NAME=value`, `export NAME="value"  # why`, one variable to a line.

Hides: quotes and comments.
Never: expands a variable, accepts a name twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from rollback.model.errors import UsageError

T = TypeVar("T")
_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,-]*\Z")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ESCAPE = re.compile(r'[\\"$`]')


@dataclass(frozen=True)
class _Found:
    line: int
    line_end: int
    start: int
    end: int
    quote: str
    value: str


def get(text: str, name: str, missing: T) -> str | T:
    """The value of a variable, or `missing`. Raises: UsageError when it is assigned twice."""
    found = _find(text, name)
    return missing if found is None else found.value


def assignments(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Every variable with its value, and the lines that are wrong with the reason."""
    found: dict[str, str] = {}
    wrong: list[tuple[int, str]] = []
    at = 0
    while at < len(text):
        number = text.count("\n", 0, at) + 1
        newline = text.find("\n", at)
        end = len(text) if newline < 0 else newline + 1
        match = _LINE.match(text, at, end)
        if match:
            try:
                one, end = _value(text, at, match.end(), end)
            except UsageError as error:
                return found, [*wrong, (number, error.message)]
            if match[1] in found:
                wrong.append((number, f"{match[1]} is assigned twice"))
            found.setdefault(match[1], one.value)
        elif text[at:end].strip() and not text[at:end].lstrip().startswith("#"):
            wrong.append((number, "not an assignment; write NAME=value"))
        at = end
    return found, wrong


def splice(text: str, name: str, value: str | None) -> str:
    """`text` with the variable set, or without its line (None). Raises: UsageError."""
    if not _NAME.match(name):
        raise UsageError(f"{name!r} is not a variable's name", hint="write it like PARTY_MODE")
    if value is not None and re.search(r"[\x00-\x1f\x7f]", value):
        raise UsageError("the value holds a control character", hint="write one plain line")
    found = _find(text, name)
    if value is None:
        return text if found is None else text[: found.line] + text[found.line_end :]
    if found is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        lead = "" if not text or text.endswith("\n") else newline
        return f"{text}{lead}{name}={_quoted(value, '')}{newline}"
    return text[: found.start] + _quoted(value, found.quote) + text[found.end :]


def _quoted(value: str, quote: str) -> str:
    if quote == "'" and "'" not in value:
        return f"'{value}'"
    if quote == "" and _BARE.match(value):
        return value
    if quote != '"' and "'" not in value:
        return f"'{value}'"
    return '"' + _ESCAPE.sub(lambda m: "\\" + m[0], value) + '"'


def _find(text: str, name: str) -> _Found | None:
    found: _Found | None = None
    at = 0
    while at < len(text):
        newline = text.find("\n", at)
        end = len(text) if newline < 0 else newline + 1
        match = _LINE.match(text, at, end)
        if match:
            one, end = _value(text, at, match.end(), end)
            if match[1] == name:
                if found is not None:
                    raise UsageError(f"{name} is assigned twice", hint="remove one of the two")
                found = one
        at = end
    return found


def _value(text: str, line: int, start: int, end: int) -> tuple[_Found, int]:
    """The value that begins at `start`; a quoted one may reach over several lines."""
    quote = text[start : start + 1]
    if quote in ("'", '"') and quote:
        at = start + 1
        while at < len(text) and text[at] != quote:
            at += 2 if quote == '"' and text[at] == "\\" else 1
        if at >= len(text):
            raise UsageError("a quote is not closed in the environment file", hint="close it")
        newline = text.find("\n", at)
        end = len(text) if newline < 0 else newline + 1
        inner = text[start + 1 : at]
        value = re.sub(r'\\([\\"$`])', r"\1", inner) if quote == '"' else inner
        return _Found(line, end, start, at + 1, quote, value), end
    raw = text[start:end].rstrip("\r\n")
    comment = re.search(r"(^|[ \t])#", raw)
    bare = (raw[: comment.start()] if comment else raw).rstrip(" \t")
    return _Found(line, end, start, start + len(bare), "", bare), end
