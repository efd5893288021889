"""The shape that a JSON answer must have: the part of JSON Schema that a check needs.

Known: type, required, properties, items, enum, const, minimum, maximum, pattern. Anything else is
refused when the declaration is read, for a keyword that is not looked at proves nothing.

Hides: the walk.
Never: fetches a schema from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from rollback.model.finding import Json, same
from rollback.model.registry import nearest
from rollback.observe.expect import is_number, plain, regular, shown

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_KEYWORDS = ("const", "enum", "items", "maximum", "minimum", "pattern", "properties", "required",
             "type")  # fmt: skip
_SILENT = ("title", "description")
_DEPTH_MAX = 32
_REASONS_MAX = 10


def _read_shape(written: Any) -> Any:
    value = plain(written)
    _refuse(value, "schema", 0)
    return value


def _refuse(schema: Json, place: str, depth: int) -> None:
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        raise ValueError(f"{place}: a map of keywords is wanted here")
    for keyword in schema:
        if keyword not in _KEYWORDS + _SILENT:
            raise ValueError(
                f"{place}: the keyword {keyword!r} is not looked at; {nearest(keyword, _KEYWORDS)}"
            )
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            raise ValueError(f"{place}.type: {kind!r} is no type; {nearest(str(kind), _TYPES)}")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError(f"{place}.required: a list of names is wanted here")
    if not isinstance(schema.get("enum", []), list):
        raise ValueError(f"{place}.enum: a list is wanted here")
    for keyword in ("minimum", "maximum"):
        if keyword in schema and not is_number(schema[keyword]):
            raise ValueError(f"{place}.{keyword}: a number is wanted here")
    if "pattern" in schema:
        if not isinstance(schema["pattern"], str):
            raise ValueError(f"{place}.pattern: a text is wanted here")
        regular(schema["pattern"])
    _refuse_below(schema, place, depth)


def _refuse_below(schema: dict[str, Json], place: str, depth: int) -> None:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise ValueError(f"{place}.properties: a map of names is wanted here")
    for name, below in properties.items():
        _refuse(below, f"{place}.{name}", depth + 1)
    if "items" in schema:
        _refuse(schema["items"], f"{place}.items", depth + 1)


Shape = Annotated[Any, BeforeValidator(_read_shape), WithJsonSchema({"type": "object"})]
"""A field that holds such a schema."""


def violations(value: Json, schema: Mapping[str, Any], place: str = "") -> list[str]:
    """One line for each way in which `value` is not of that shape, at most ten."""
    at = place or "/"
    wrong: list[str] = []
    kinds = schema.get("type")
    if kinds is not None:
        allowed = kinds if isinstance(kinds, list) else [kinds]
        if not any(_is(value, kind) for kind in allowed):
            return [f"{at}: {shown(value, limit=60)} is not of type {' or '.join(allowed)}"]
    if "const" in schema and not same(value, schema["const"]):
        wrong.append(f"{at}: {shown(value, limit=60)} is not {shown(schema['const'])}")
    if "enum" in schema and not any(same(value, one) for one in schema["enum"]):
        wrong.append(f"{at}: {shown(value, limit=60)} is none of {shown(schema['enum'])}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            wrong.append(f"{at}: {shown(value)} is below {shown(schema['minimum'])}")
        if "maximum" in schema and value > schema["maximum"]:
            wrong.append(f"{at}: {shown(value)} is above {shown(schema['maximum'])}")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        wrong.append(f"{at}: {shown(value, limit=60)} does not match {schema['pattern']}")
    if isinstance(value, dict):
        wrong += [f"{at}: {name} is missing"
                  for name in schema.get("required", []) if name not in value]  # fmt: skip
        for name, below in schema.get("properties", {}).items():
            if name in value and len(wrong) < _REASONS_MAX:
                wrong += violations(value[name], below, f"{place}/{name}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            if len(wrong) >= _REASONS_MAX:
                break
            wrong += violations(item, schema["items"], f"{place}/{index}")
    return wrong[:_REASONS_MAX]


def _is(value: Json, kind: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {
        "array": isinstance(value, list), "boolean": isinstance(value, bool),
        "integer": number and float(value or 0).is_integer(),  # type: ignore[arg-type]
        "null": value is None, "number": number, "object": isinstance(value, dict),
        "string": isinstance(value, str),
    }[kind]  # fmt: skip
