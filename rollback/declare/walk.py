"""Ways through plain data that may be wrong in any way: patterns, steps, checks, conditions.

Hides: how defensive one has to be.
Never: assumes a type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollback.declare.text import Path  # without YAML, which this needs not

SUITES = ("smoke", "functional", "integration", "performance")


@dataclass(frozen=True)
class Item:
    """One declared kind: where its parameters stand, its name and its parameters."""

    path: Path
    kind: str
    parameters: dict[str, Any]
    planned: bool = False


def at(data: Any, path: Path) -> Any:
    """What stands at a path, or None."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def find(data: Any, pattern: str) -> Iterator[tuple[Path, Any]]:
    """Everything at the places of a pattern; `*` is any key or position."""
    yield from _find(data, pattern.split("."), ())


def _find(here: Any, parts: list[str], path: Path) -> Iterator[tuple[Path, Any]]:
    if not parts:
        yield path, here
        return
    first, *rest = parts
    if first == "*":
        if isinstance(here, dict):
            for key, value in here.items():
                yield from _find(value, rest, (*path, key))
        elif isinstance(here, list):
            for index, value in enumerate(here):
                yield from _find(value, rest, (*path, index))
    elif isinstance(here, dict) and first in here:
        yield from _find(here[first], rest, (*path, first))


def texts(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """A text, or every text of a list."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, one in enumerate(value):
            if isinstance(one, str):
                yield (*path, index), one


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar below a place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def names(data: Any, section: str) -> list[str] | None:
    """The ids that a section declares; None when it is not written as it must be."""
    found = at(data, tuple(section.split(".")))
    if found is None:
        return []
    if isinstance(found, dict):
        return [str(key) for key in found]
    if isinstance(found, list):
        return [
            one["id"] for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]
    return None


def item(path: Path, written: Any) -> Item | None:
    """The kind that a one-key map declares, planned or not."""
    if not isinstance(written, dict) or len(written) != 1:
        return None
    ((kind, parameters),) = written.items()
    if kind == "planned" and isinstance(parameters, dict):
        given = parameters.get("with")
        return Item((*path, "planned", "with"), str(parameters.get("kind")),
                    given if isinstance(given, dict) else {}, planned=True)  # fmt: skip
    if not isinstance(kind, str):
        return None
    return Item((*path, kind), kind, parameters if isinstance(parameters, dict) else {})


def steps(data: Any) -> Iterator[tuple[Path, Item]]:
    """Every step with the level or procedure it belongs to; alternatives included."""
    for section in ("levels", "procedures"):
        for path, written in find(data, f"{section}.*.steps.*"):
            yield from ((path[:2], found) for found in _with_alternatives(path, written))


def _with_alternatives(path: Path, written: Any) -> Iterator[Item]:
    found = item(path, written)
    if found is None:
        return
    yield found
    on_fail = found.parameters.get("on_fail")
    then = on_fail.get("then") if isinstance(on_fail, dict) else None
    if isinstance(then, list):
        for index, other in enumerate(then):
            yield from _with_alternatives((*found.path, "on_fail", "then", index), other)


def checks(data: Any) -> Iterator[tuple[str, Item]]:
    """Every check of verification with its suite."""
    for suite in SUITES:
        for path, written in find(data, f"verification.{suite}.*"):
            found = item(path, written)
            if found is not None:
                yield suite, found


def asked(data: Any) -> Iterator[Item]:
    """Every check, wherever it is declared."""
    yield from (found for _, found in checks(data))
    for pattern in (
        "components.*.open_items", "verification.divergence.*.check", "services.*.ready",
        "services.*.drain", "metrics.*.source.check", "metrics.*.source.probe.check",
    ):  # fmt: skip
        for path, written in find(data, pattern):
            found = item(path, written)
            if found is not None:
                yield found


def circle(edges: dict[str, list[str]]) -> list[str] | None:
    """One circle in a graph, as the way around it, or None."""
    state: dict[str, int] = {}
    for start in edges:
        if state.get(start):
            continue
        way: list[tuple[str, Iterator[str]]] = [(start, iter(edges[start]))]
        state[start] = 1
        while way:
            node, rest = way[-1]
            for following in rest:
                if state.get(following) == 1:
                    on_way = [name for name, _ in way]
                    return [*on_way[on_way.index(following) :], following]
                if not state.get(following) and following in edges:
                    state[following] = 1
                    way.append((following, iter(edges[following])))
                    break
            else:
                state[node] = 2
                way.pop()
    return None
