"""Sections of a declaration: the model of each is imported, and its part of the data read, on first look.

A flag is flipped within the time that reading the other thirty sections would take.

Hides: whether a section was read with the whole declaration, or alone just now.
Never: believes data that does not fit its model.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from rollback.model.errors import Problem, SpecError
from rollback.model.registry import Declared
from rollback.model.step import Id

if TYPE_CHECKING:
    from rollback.model.system import System

T = TypeVar("T", bound=Declared)
Shape = Literal["one", "maybe", "each", "list"]


class Section:
    """The section `name` of a System: one model, a model by id, or a list of models."""

    def __init__(
        self, module: str, model: str, shape: Shape, *, needed: bool, empty: dict[str, Any]
    ) -> None:
        self._module, self._model, self._shape = f"rollback.model.{module}", model, shape
        self._needed, self.empty = needed, empty
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, system: System | None, owner: type) -> Any:
        if system is None:
            return self
        if self.name not in system.sections:
            system.sections[self.name] = self._read(system.source.get(self.name))
        return system.sections[self.name]

    def __set__(self, system: System, value: object) -> None:
        raise AttributeError(f"a declared system never changes: {self.name}")

    @property
    def optional(self) -> bool:
        """True for one model that need not be written: without it, the model holding `empty`."""
        return self._shape == "one" and not self._needed

    @property
    def model(self) -> type[Declared]:
        """The model of the section, or of each of its parts."""
        found = getattr(importlib.import_module(self._module), self._model)
        assert isinstance(found, type)
        assert issubclass(found, Declared)
        return found

    def field(self) -> tuple[Any, Any]:
        """Type and default of the section, as a field of the model of a whole declaration."""
        model: Any = self.model
        types: dict[Shape, Any] = {
            "one": model, "maybe": model | None, "each": dict[Id, model], "list": tuple[model, ...],
        }  # fmt: skip
        if self._needed:
            return types[self._shape], ...
        if self._shape == "each":
            return types["each"], Field(default_factory=dict)
        return types[self._shape], self._default()

    def _default(self) -> Any:
        if self._shape == "one":
            # Building what validates a model takes 5 ms; our own defaults need no validation.
            return self.model.model_construct(**self.empty)
        return {"maybe": None, "each": {}, "list": ()}[self._shape]

    def _read(self, written: Any) -> Any:
        if written is None:
            return self._default()
        if self._shape == "each":
            return Each(self.model, written, where=self.name)
        if self._shape == "list":
            return tuple(read(self.model, one, where=self.name) for one in written)
        return read(self.model, written, where=self.name)


class Each(Mapping[str, T]):
    """Models by id, each read when it is first looked at."""

    def __init__(self, model: type[T], written: Mapping[str, Any], *, where: str) -> None:
        self._model, self._written, self._where = model, written, where
        self._read: dict[str, T] = {}

    def __getitem__(self, key: str) -> T:
        if key not in self._read:
            place = f"{self._where}.{key}"
            self._read[key] = read(self._model, self._written[key], where=place)
        return self._read[key]

    def __contains__(self, key: object) -> bool:
        return key in self._written

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)


def read(model: type[T], written: Any, *, where: str) -> T:
    """The value that was kept of a declaration. Raises: SpecError when this version cannot read it."""
    try:
        return model.model_validate(written, by_alias=True, by_name=False)
    except ValidationError as error:
        message = f"{where}: what was kept of it cannot be read: {error.errors()[0]['msg']}"
        hint = "rollback validate reads the declaration again"
        raise SpecError((Problem("kept:1", message, hint),)) from None


def one(module: str, model: str, *, needed: bool = False, **empty: Any) -> Any:
    """A section that is one model; without it, that model holding `empty`."""
    return Section(module, model, "one", needed=needed, empty=empty)


def maybe(module: str, model: str) -> Any:
    """A section that is one model, or None."""
    return Section(module, model, "maybe", needed=False, empty={})


def each(module: str, model: str, *, needed: bool = False) -> Any:
    """A section that holds models by id."""
    return Section(module, model, "each", needed=needed, empty={})


def listed(module: str, model: str) -> Any:
    """A section that is a list of models."""
    return Section(module, model, "list", needed=False, empty={})


def fields(cls: type[System]) -> dict[str, Any]:
    """What a model of the whole declaration has as fields, in the order of the System."""
    found = {name: one for name, one in vars(cls).items() if isinstance(one, Section)}
    return {name: one.field() for name, one in found.items()}
