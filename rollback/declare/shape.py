"""Plain data to the model: what does not fit becomes problems that say what to type.

Hides: pydantic's errors.
Never: stops at the first one.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from rollback.declare.text import Document, Path
from rollback.model.errors import Problem
from rollback.model.registry import Declared, Family, Kind, Planned, kinds, nearest, rule_of
from rollback.model.system import whole


def fit(document: Document, data: Any) -> dict[str, Any] | None:
    """The sections that the data declares, or None, with the reasons in the document's problems."""
    try:
        fitting = whole().model_validate(data, by_alias=True, by_name=False)
        return {name: getattr(fitting, name) for name in type(fitting).model_fields}
    except ValidationError as error:
        seen: set[tuple[str, str]] = set()
        errors = error.errors(include_url=False)
        for found in errors:
            if _shadow(found, errors):
                continue
            for loc, one in _flat(found):
                problem = _problem(document, data, loc, one)
                if (problem.where, problem.message) not in seen:
                    seen.add((problem.where, problem.message))
                    document.problems.append(problem)
        return None


def _flat(found: Any) -> list[tuple[Path, Any]]:
    if found["type"] != "nested":
        return [(tuple(found["loc"]), found)]
    return [((*found["loc"], *inner["loc"]), inner) for inner in found["ctx"]["errors"]]


def _shadow(found: Any, errors: Sequence[Any]) -> bool:
    """True for a list that is too short only because what stands in it was not understood."""
    loc = tuple(found["loc"])
    return found["type"] == "too_short" and any(
        len(one["loc"]) > len(loc) and tuple(one["loc"][: len(loc)]) == loc for one in errors
    )


def _problem(document: Document, data: Any, loc: Path, found: Any) -> Problem:
    path = written_path(data, loc)
    name = ".".join(str(part) for part in path) or "the declaration"
    message, hint = _words(found, loc, path, data)
    return Problem(document.where(path), f"{name}: {message}", hint)


def written_path(data: Any, loc: Path) -> Path:
    """`loc` without the parts that are not keys or positions of the data (branches of a union)."""
    path: Path = ()
    here = data
    for index, part in enumerate(loc):
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, dict) and isinstance(part, int) and str(part) in here:
            part = str(part)
            here = here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif index == len(loc) - 1 and isinstance(part, str) and isinstance(here, dict):
            return path if part == "[key]" else (*path, part)
        else:
            continue
        path = (*path, part)
    return path


_NAMES = {dict: "a map", list: "a list", str: "text", bool: "true or false", type(None): "nothing",
          int: "a number", float: "a number"}  # fmt: skip


def shown(value: Any) -> str:
    """A value for a message: its kind, and itself when it is short."""
    if isinstance(value, (dict, list, type(None))):
        return _NAMES[type(value)]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…'"


def _words(found: Any, loc: Path, path: Path, data: Any) -> tuple[str, str]:
    kind, ctx = found["type"], found.get("ctx", {})
    given = shown(_at(data, path)) if path else "nothing"
    if kind == "extra_forbidden":
        known = tuple(k for k in fields_at(loc[:-1]))
        return f"unknown key {loc[-1]!r}", nearest(str(loc[-1]), known) or "remove it"
    if kind == "missing":
        return "is required and not there", f"add {loc[-1]}: …{_example(str(loc[-1]))}"
    if loc and loc[-1] == "[key]" and kind == "string_pattern_mismatch":
        return f"{loc[-2]!r} is not an id", rule_of(str(ctx.get("pattern", "")))
    if kind == "string_pattern_mismatch":
        return f"{given} is not written as it must be", rule_of(str(ctx.get("pattern", "")))
    if kind in ("value_error", "assertion_error"):
        return advice(str(ctx.get("error", found["msg"])), _at(data, path))
    if kind == "kind":
        hint = f"{ctx['hint']}; {_PLANNED}" if ctx["hint"] else _PLANNED
        return f"there is no {ctx['family']} {ctx['name']!r}", hint
    if kind == "item":
        return str(found["msg"]), _LIKE.get(str(ctx.get("family")), _LIKE["check"])
    if kind == "planned":
        return str(found["msg"]), "put its parameters directly below its name"
    if kind in ("literal_error", "enum"):
        expected = str(ctx.get("expected", ""))
        words = tuple(w.strip().strip("'") for w in expected.replace(" or ", ", ").split(","))
        close = nearest(_text_at(data, path), words)
        if close.startswith("did you mean"):
            return f"{given} is not one of: {', '.join(words)}", close
        return f"{given} is none of what may stand here", f"write one of: {', '.join(words)}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        return f"{given} is out of range", str(found["msg"]).replace("Input should be", "write")
    if kind == "too_short":
        return "is empty", f"write at least {ctx.get('min_length', 1)}"
    if kind == "string_too_short":
        return "is empty text", "write at least one character"
    wanted = _WANTED.get(kind)
    if wanted:
        return f"{given} is not {wanted[0]}", wanted[1]
    return f"{given}: {found['msg']}", "write it as docs/rollback.schema.json describes"


def advice(text: str, written: Any) -> tuple[str, str]:
    """What a rule of a kind says is wrong, and what to type; `written` is what stands there.

    A text says itself what to type: behind its semicolon, behind a colon as an order, or as the
    names of which one is wanted, and then it depends on how many of them are there.
    """
    said, _, hint = text.partition("; ")
    if hint:
        return said, hint
    order = _ORDER.search(text)
    if order is not None:
        return text[: order.start()], text[order.end() :]
    _, one_of, names = text.partition(" one of: ")
    if not one_of:
        return text, LOOK_IT_UP
    wanted = [name.partition(":")[0].strip() for name in names.split(",")]
    there = [name for name in wanted if isinstance(written, dict) and name in written]
    if len(there) > 1:
        return text, f"{' and '.join(there)} are there: leave all but one out"
    return text, f"write one of these, like {wanted[0]}: …"


_ORDER = re.compile(": (?=(?:write|leave|name|use|allow) )")
LOOK_IT_UP = "what may stand here is described by: rollback validate --schema"

_LIKE = {
    "action": "like this: - restore: {id: back, component: NAME}; what else belongs to it stands inside",
    "check": "like this: - http: {id: checkout, url: …, status: 200}",
    "metric": "like this: source: {log: {file: FILE, mean: {field: ms}}}",
    "notifier": "like this: NAME: {file: {path: FILE}}",
    "store": "like this: NAME: {folder: {path: FOLDER}}",
}

_WANTED = {
    "string_type": ("text", "put it in quotes"),
    "int_type": ("a whole number", "write it without quotes, like 3"),
    "int_from_float": ("a whole number", "write it without a point, like 3"),
    "float_type": ("a number", "write it without quotes, like 1.5"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "tuple_type": ("a list", "write it in brackets: [one, two]"),
    "list_type": ("a list", "write it in brackets: [one, two]"),
    "dict_type": ("a map", "write key: value below it, or {key: value}"),
    "model_type": ("a map", "write key: value below it, or {key: value}"),
    "model_attributes_type": ("a map", "write key: value below it, or {key: value}"),
    "string_too_long": ("short enough", "shorten it"),
    "is_instance_of": ("of this kind", "see docs/rollback.schema.json"),
}


_PLANNED = "what is not built yet is written planned: {kind: …, with: {…}, missing: …}"


def _example(key: str) -> str:
    examples = {
        "schema": " (schema: 1)", "authority": " (authority: {roles: [operator]})",
        "budgets": " (budgets: {mitigated: 5m, complete: 10m})",
        "people": " (people: {owner: operator, roles: {operator: {}}})",
    }  # fmt: skip
    return examples.get(key, "")


def _at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _text_at(data: Any, path: Path) -> str:
    return str(_at(data, path))


# -- which keys a place in the declaration may have -----------------------------------------------


def fields_at(loc: Path) -> tuple[str, ...]:
    """The keys that may be written at a place, as they are spelt in the file."""
    found: list[str] = []
    for one in _types_at(whole(), loc):
        if isinstance(one, type) and issubclass(one, BaseModel):
            found += [info.alias or name for name, info in one.model_fields.items()]
    return tuple(dict.fromkeys(found))


def _types_at(root: Any, loc: Path) -> list[Any]:
    here: list[Any] = [root]
    family = ""
    for part in loc:
        step: list[Any] = []
        for one in here:
            if isinstance(one, Family):
                family = one.name
                cls = Planned if part == "planned" else kinds(family).get(str(part))
                step += [cls] if cls else []
            elif isinstance(one, type) and issubclass(one, Declared):
                for name, info in one.model_fields.items():
                    if (info.alias or name) == part:
                        step += _open(info.annotation, tuple(info.metadata))
            elif typing.get_origin(one) in (dict, tuple, list):
                inner = typing.get_args(one)
                step += _open(inner[-1] if typing.get_origin(one) is dict else inner[0], ())
        here = step or here
    return here


def _open(annotation: Any, metadata: tuple[Any, ...]) -> list[Any]:
    """The types inside Annotated and unions; a kind is shown by its Family."""
    for mark in metadata:
        if isinstance(mark, Family):
            return [mark]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *marks = typing.get_args(annotation)
        return _open(inner, tuple(marks))
    if origin in (typing.Union, types.UnionType):
        return [one for arm in typing.get_args(annotation) for one in _open(arm, ())]
    if isinstance(annotation, type) and issubclass(annotation, Kind):
        return []
    return [annotation]
