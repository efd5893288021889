"""The JSON Schema of a declaration, from the models and the registered kinds: for editors.

Hides: how pydantic names definitions.
Never: says more than the loader; references and rules beyond the shape are not in it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from rollback.model.registry import FAMILIES, kinds
from rollback.model.system import whole

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_USED = ("action", "check", "metric", "notifier", "content", "store")


class _Quiet(GenerateJsonSchema):
    """Defaults are left out of the schema, so it does not matter which of them are no JSON."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012


def schema() -> dict[str, Any]:
    """The schema of everything that `load` accepts, with every kind that is registered."""
    found = {family: dict(kinds(family)) for family in FAMILIES}
    top_model = whole()
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(top_model, "validation")]
    models += [(cls, "validation") for family in found.values() for cls in family.values()]
    by_model, top = models_json_schema(models, schema_generator=_Quiet)
    definitions: dict[str, Any] = top["$defs"]
    for definition in definitions.values():
        _also_unwrapped(definition)
    for family in _USED:
        references = {name: by_model[(cls, "validation")] for name, cls in found[family].items()}
        definitions[f"family.{family}"] = _family(family, references)
    root = by_model[(top_model, "validation")]["$ref"].removeprefix("#/$defs/")
    complete = {"$schema": DIALECT, "title": "rollback.yaml", **definitions.pop(root)}
    tidy: dict[str, Any] = _tidy({**complete, "$defs": dict(sorted(definitions.items()))})
    return tidy


def _also_unwrapped(definition: dict[str, Any]) -> None:
    """A kind that holds one check, and nothing else, may be written without naming the field."""
    properties = definition.get("properties", {})
    if list(properties) == ["check"] and definition.get("required") == ["check"]:
        check = {"x-family": "check"}
        whole = {**definition, "properties": {"check": check}}
        definition.clear()
        definition["anyOf"] = [whole, check]


def _family(family: str, found: dict[str, Any]) -> dict[str, Any]:
    properties = dict(sorted(found.items()))
    properties["planned"] = {
        "type": "object",
        "description": "a kind that is not built yet; refused when it would run",
        "properties": {
            "kind": {"type": "string"},
            "with": {"type": "object"},
            "missing": {"type": "string", "minLength": 8},
        },
        "required": ["kind", "missing"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "description": f"one {family}: a map with one key, its kind",
        "properties": properties,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _tidy(value: Any, *, names: bool = False) -> Any:
    """Marks of families become references; titles and defaults that nobody reads go."""
    if isinstance(value, list):
        return [_tidy(one) for one in value]
    if not isinstance(value, dict):
        return value
    if not names and "x-family" in value:
        return {"$ref": f"#/$defs/family.{value['x-family']}"}
    if not names and isinstance(value.get("pattern"), str):
        value = {**value, "pattern": _pattern(value["pattern"])}
    if not names and isinstance(value.get("patternProperties"), dict):
        keys = {_pattern(key): one for key, one in value["patternProperties"].items()}
        value = {**value, "patternProperties": keys, "additionalProperties": False}
    return {
        key: _tidy(one, names=not names and key in ("properties", "$defs", "patternProperties"))
        for key, one in value.items()
        if names or not (key == "default" or (key == "title" and one != "rollback.yaml"))
    }


def _pattern(written: str) -> str:
    """A pattern in the words of the schema's own language."""
    return written.replace(r"\A", "^").replace(r"\z", "$").replace("(?i)", "")
