"""Which kinds were asked for, and each with its examples.

Hides: how a word of the command line becomes a class.
Never: guesses: what cannot be found is a line for people, and exit status 4.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from rollback.conformance.example import Example, said
from rollback.conformance.world import World
from rollback.model.registry import FAMILIES, Kind, kinds, nearest

_FOUND_BY = "example"


@dataclass(frozen=True)
class Case:
    """One kind on one of its examples."""

    kind: type[Kind]
    example: Example
    number: int = 1

    @property
    def id(self) -> str:
        """For people: the name of the kind, and that of the example where there are several."""
        more = self.example.name or (str(self.number) if self.number > 1 else "")
        return f"{self.kind.kind}-{more}" if more and more != self.kind.kind else self.kind.kind

    def parameters(self, world: World) -> dict[str, Any]:
        """What the declaration says under the kind's name."""
        return said(self.example.parameters, world)

    def made(self, world: World) -> Any:
        """The kind as the declaration reads it."""
        return self.kind.model_validate(self.parameters(world), by_alias=True, by_name=False)


CASES = pytest.StashKey[tuple[Case, ...]]()


def cases(words: Iterable[str], example: str, folder: str) -> tuple[Case, ...]:
    """Every named kind on each of its examples. Modules may lie in `folder`. Raises: UsageError."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found: list[Case] = []
    for word in words:
        kind = _kind(word)
        found += examples_of(kind, _example(word, kind, example))
    return tuple(found)


def examples_of(kind: type[Kind], give: Callable[[type[Kind]], object]) -> list[Case]:
    """The kind on each example that the function gives. Raises: UsageError."""
    try:
        given = give(kind)
    except Exception as error:
        raise pytest.UsageError(f"the example of {kind.__name__}: {_told(error)}") from error
    several = given if isinstance(given, (tuple, list)) else (given,)
    wrong = [one for one in several if not isinstance(one, Example)]
    if wrong or not several:
        said = f"gave {type(wrong[0]).__name__}" if wrong else "gave nothing"
        raise pytest.UsageError(
            f"the example of {kind.__name__} {said}: give a rollback.conformance.Example, or several"
        )
    return [Case(kind, one, number) for number, one in enumerate(several, 1)]


def _kind(word: str) -> type[Kind]:
    found = _named("--kind", word)
    if not isinstance(found, type) or not issubclass(found, Kind):
        raise pytest.UsageError(
            f"--kind {word}: that is no kind; a kind is a class under @register of rollback.model.registry"
        )
    family = getattr(found, "family", None)
    if family not in FAMILIES:
        raise pytest.UsageError(
            f"--kind {word}: it belongs to no family; write @register(FAMILY, NAME) above the class, "
            f"FAMILY one of {', '.join(FAMILIES)}"
        )
    if kinds(family).get(found.kind) is not found:
        raise pytest.UsageError(
            f"--kind {word}: it has no name of its own; write @register({family!r}, NAME) above the class"
        )
    return found


def _example(word: str, kind: type[Kind], named: str) -> Callable[[type[Kind]], object]:
    if named:
        found = _named("--example", named)
    else:
        found = getattr(sys.modules[kind.__module__], _FOUND_BY, None)
    if found is None:
        raise pytest.UsageError(
            f"--kind {word}: nothing says what to try it on; write a function {_FOUND_BY}(kind) in "
            f"{kind.__module__}, or name one: --example MODULE:FUNCTION"
        )
    if isinstance(found, (Example, tuple, list)):
        return lambda _kind: found
    if not callable(found):
        raise pytest.UsageError(
            f"the example of --kind {word} is neither a function nor an Example"
        )
    return found  # type: ignore[no-any-return]


def _named(option: str, word: str) -> Any:
    module, colon, name = word.partition(":")
    if not colon or not module or not name.isidentifier():
        what = "CLASS" if option == "--kind" else "FUNCTION"
        raise pytest.UsageError(
            f"{option} {word}: write MODULE:{what}, like {option} mine.checks:Uptime"
        )
    try:
        found = importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a module of others may raise anything
        raise pytest.UsageError(
            f"{option} {word}: the module {module} cannot be imported: {_told(error)}"
        ) from None
    if not hasattr(found, name):
        known = [
            n for n, one in vars(found).items()
            if isinstance(one, type) and issubclass(one, Kind) and one.__module__ == module
        ]  # fmt: skip
        hint = f"; {nearest(name, known)}" if option == "--kind" and known else ""
        raise pytest.UsageError(f"{option} {word}: the module {module} has no {name}{hint}")
    return getattr(found, name)


def _told(error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    return said if isinstance(error, ImportError) and said else f"{type(error).__name__}: {said}"
