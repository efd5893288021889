"""A configuration file as one JSON-like value, whatever its format.

Hides: YAML, JSON, CSV and env files; which of them a name means.
Never: repairs; a file that does not parse has no value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from rollback.declare import text as yaml_text
from rollback.model.finding import Json
from rollback.observe.pointer import parse

Format: TypeAlias = Literal["yaml", "json", "csv", "env"]
_SUFFIXES: Mapping[str, Format] = {
    ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".csv": "csv", ".env": "env",
}  # fmt: skip
_ENV_LINE = re.compile(r"\A\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)\Z", re.DOTALL)


def format_of(path: str) -> Format | None:
    """The format that a file's name says; None when it says none."""
    name = path.rsplit("/", 1)[-1]
    if name == ".env" or name.startswith(".env."):
        return "env"
    dot = name.rfind(".")
    return _SUFFIXES.get(name[dot:].lower()) if dot >= 0 else None


def read(data: bytes, format_: Format) -> Json:
    """The value in `data`. A CSV file is a list of rows by column name.

    Raises: ValueError saying what is wrong and on which line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: {error}") from None
    if format_ == "yaml":
        return _yaml(text)
    if format_ == "json":
        return parse(text)
    return rows(text) if format_ == "csv" else env(text)


def _yaml(text: str) -> Json:
    document = yaml_text.read(text, "line")
    if document.problems:
        first = document.problems[0]
        raise ValueError(f"{first.where.replace(':', ' ')}: {first.message}")
    value: Json = document.data
    return value


def rows(text: str) -> Json:
    """The rows of a CSV text with a header. Raises: ValueError for a row of another length."""
    try:
        table = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from None
    if not table:
        raise ValueError("the file is empty: not even a header")
    header = [name.strip() for name in table[0]]
    if len(set(header)) != len(header):
        raise ValueError("a column stands twice in the header")
    for number, row in enumerate(table[1:], start=2):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, not {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in table[1:]]


def header(text: str) -> list[str]:
    """The column names of a CSV text."""
    first = next(csv.reader(io.StringIO(text, newline="")), [])
    return [name.strip() for name in first]


def env(text: str) -> Json:
    """The variables of an env file, the last one of a name. Raises: ValueError on other lines."""
    found: dict[str, Json] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ENV_LINE.match(line)
        if not match:
            raise ValueError(f"line {number} is no NAME=value")
        found[match[1]] = _unquoted(match[2].strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value
