"""The grammar of a declaration field by field, and which of them the program reads, found in its source.

A field is read where its name is an attribute that is looked up, or a word that something is asked for
(`.get("name")`, `["name"]`, `getattr(…, "name")`), in code outside of `model`; in `model` where that is a
function or property which such code names. A field whose name is also that of something else which is
read counts as read: the search finds what nothing at all reads, and no more.
"""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback.model.registry import Declared
from rollback.model.step import SUITES
from rollback.model.system import whole

ROOT = Path(__file__).parents[2]
ROOMS = ("rollback", "verification", "drills")
# The one names what nothing reads, the other only that a name leads somewhere, the third what is pinned.
_LISTS = {"unenforced.py", "references.py", "pinned.py"}
_ASKING = {"get", "getattr", "pop", "at", "find"}


@cache
def fields() -> dict[str, tuple[str, str]]:
    """Every field of the grammar by its place, like `levels.*.budgets.start`: its model, and its name."""
    found: dict[str, tuple[str, str]] = {}
    _walk(whole(), "", found, ())
    return found


def _walk(
    model: type[Declared], at: str, found: dict[str, tuple[str, str]], above: tuple[type, ...]
) -> None:
    for name, field in model.model_fields.items():
        place = f"{at}{field.alias or name}"
        found.setdefault(place, (model.__name__, name))
        for inner, many in _models(field.annotation, many=False):
            if inner not in above:
                _walk(inner, f"{place}{'.*' if many else ''}.", found, (*above, model, inner))


def _models(annotation: Any, *, many: bool) -> Iterator[tuple[type[Declared], bool]]:
    if inspect.isclass(annotation) and issubclass(annotation, Declared):
        yield annotation, many
    collects = typing.get_origin(annotation) in (tuple, dict, list)
    for inner in typing.get_args(annotation):
        yield from _models(inner, many=many or collects)


@cache
def read() -> frozenset[str]:
    """Every name of a field that is looked up where it has an effect."""
    looked: set[str] = set(SUITES)  # the suites are taken from `verification` by their names
    called: set[str] = set()
    inside: dict[str, tuple[set[str], set[str]]] = {}
    for file in (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))):
        room = file.relative_to(ROOT).parts[1]
        if file.name in _LISTS or room == "conformance":
            continue
        tree = ast.parse(file.read_text())
        if room == "model":
            for one in ast.walk(tree):
                if isinstance(one, ast.FunctionDef):
                    names, more = inside.setdefault(one.name, (set(), set()))
                    names |= set(_looked_up(one))
                    more |= set(_named(one))
        else:
            looked |= set(_looked_up(tree))
            called |= set(_named(tree))
    while (
        more := {name for one, (_, names) in inside.items() if one in called for name in names}
        - called
    ):
        called |= more
    return frozenset(looked.union(*(names for one, (names, _) in inside.items() if one in called)))


def _named(tree: ast.AST) -> Iterator[str]:
    """Everything that may be a function or property which is used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


def _looked_up(tree: ast.AST) -> Iterator[str]:
    places = {
        target.id: node.value for node in getattr(tree, "body", []) if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Subscript):
            yield from _words(node.slice)
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            for one in node.args if name in _ASKING else ():
                yield from _words(places.get(one.id, one) if isinstance(one, ast.Name) else one)


def _words(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield from inner.value.split(".")


def unread() -> dict[str, tuple[str, str]]:
    """The fields, by place, that nothing reads; what lies inside of such a field is not named."""
    known = read()
    found = {place: one for place, one in fields().items() if one[1] not in known}
    return {place: one for place, one in found.items()
            if not any(place.startswith(f"{other}.") for other in found)}  # fmt: skip
