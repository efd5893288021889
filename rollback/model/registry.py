"""The registry of kinds: what a declaration may name, and the class behind each name.

A kind is a class whose fields are its YAML parameters. Its file registers it, and nothing else
lists it; `rollback.kinds` finds the file by the kind's name. In a declaration a kind is a map with one key:
`- restore: {component: agents}`. A kind that is not built yet is written
`- planned: {kind: …, with: {…}, missing: "what is missing"}` and refused at run time.

Hides: how a one-key map becomes an object.
Never: imports a kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializeAsAny,
    StringConstraints,
    ValidationError,
)
from pydantic_core import CoreSchema, PydanticCustomError

_rules: dict[str, str] = {}


def spelt(pattern: str, rule: str) -> StringConstraints:
    """Text of this pattern; `rule` says it to people: what is written instead of a wrong one."""
    _rules[pattern] = rule
    return StringConstraints(pattern=pattern)


def rule_of(pattern: str) -> str:
    """How people are told to write text of this pattern."""
    return _rules.get(pattern, f"write it like {pattern}")


FAMILIES = ("action", "check", "metric", "notifier", "content", "service", "flag", "store")


class Declared(BaseModel):
    """A value read from a declaration: strict, frozen, no unknown keys."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True,
        populate_by_name=True,
    )  # fmt: skip

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Strict, but for one thing: a list in the file is what a tuple is written as."""
        schema = handler(source)
        _lists_fill_tuples(schema, cls)
        return schema


def _lists_fill_tuples(schema: Any, owner: type) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "model" and schema.get("cls") is not owner:
            return  # a Declared of its own: already done
        if schema.get("type") == "tuple":
            schema["strict"] = False
        for value in schema.values():
            _lists_fill_tuples(value, owner)
    elif isinstance(schema, (list, tuple)):
        for value in schema:
            _lists_fill_tuples(value, owner)


class Kind(Declared):
    """A declared thing of some family; `kind` is the name it registered under."""

    family: ClassVar[str]
    kind: ClassVar[str]


class Planned(Kind):
    """A kind that this version cannot run yet; `missing` says what has to be built."""

    family: ClassVar[str] = "planned"
    kind: ClassVar[str] = "planned"
    planned_kind: str
    parameters: dict[str, Any] = {}
    missing: str


K = TypeVar("K", bound=type[Kind])
_kinds: dict[str, dict[str, type[Kind]]] = {family: {} for family in FAMILIES}


def register(family: str, name: str) -> Callable[[K], K]:
    """The decorated class is the kind `name` of `family` from now on."""

    assert family in _kinds, f"there is no family {family}; {nearest(family, FAMILIES)}"

    def decorate(cls: K) -> K:
        assert name not in _kinds[family], f"{family} {name} is registered twice"
        cls.family = family
        cls.kind = name
        _kinds[family][name] = cls
        return cls

    return decorate


Finder = Callable[[str, str], None]
_finders: list[Finder] = []


def find_with(finder: Finder) -> None:
    """`finder(family, name)` is asked for kinds nobody imported yet; for all of them if name is ""."""
    _finders.append(finder)


class _Kinds(Mapping[str, type[Kind]]):
    """The kinds of one family; one is imported when it is named, all when they are listed."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._known = _kinds[family]

    def __getitem__(self, name: str) -> type[Kind]:
        if name not in self._known and name:
            self._find(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        self._find("")
        return iter(sorted(self._known))

    def __len__(self) -> int:
        self._find("")
        return len(self._known)

    def _find(self, name: str) -> None:
        for finder in _finders:
            finder(self._family, name)


def kinds(family: str) -> Mapping[str, type[Kind]]:
    """All kinds of a family, by name."""
    return _Kinds(family)


def closest(name: str, known: Iterable[str]) -> str:
    """What a misspelt name may have meant; "" when it is like none."""
    import difflib  # 5 ms, for those who mistyped

    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), "")


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """`did you mean x?` for a misspelt name, or the list of what there is."""
    close = closest(name, known)
    if close:
        return f"did you mean {close}?"
    some = sorted(known)[:12]
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return "known: " + ", ".join(some) + more if known else ""


def read_item(family: str, written: Any) -> Kind:
    """The kind that a one-key map declares.

    Raises: PydanticCustomError; type `nested` carries the errors inside the kind's parameters in
    `ctx["errors"]` with locations relative to the item.
    """
    if isinstance(written, Kind):
        return written
    if not isinstance(written, dict) or len(written) != 1:
        raise PydanticCustomError("item", "write one {family}: a map with one key, its kind",
                                  {"family": family})  # fmt: skip
    ((name, parameters),) = written.items()
    if parameters is None:
        parameters = {}
    if name == "planned":
        return _read_planned(family, parameters)
    cls = kinds(family).get(name) if isinstance(name, str) else None
    if cls is None:
        raise PydanticCustomError("kind", "there is no {family} {name}; {hint}",
            {"family": family, "name": name, "hint": nearest(str(name), tuple(kinds(family)))},
        )  # fmt: skip
    try:
        return cls.model_validate(parameters, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _nested(error, (str(name),)) from None


def _read_planned(family: str, parameters: Any) -> Planned:
    try:
        shape = _PlannedShape.model_validate(parameters)
    except ValidationError as error:
        raise _nested(error, ("planned",)) from None
    if shape.kind in kinds(family):
        raise PydanticCustomError("planned", "{family} {name} is built: write it without planned",
                                  {"family": family, "name": shape.kind})  # fmt: skip
    given = dict(shape.with_)
    return Planned(planned_kind=shape.kind, parameters=given, missing=shape.missing)


class _PlannedShape(Declared):
    kind: str
    missing: Annotated[str, StringConstraints(min_length=8)]
    with_: dict[str, Any] = Field(default={}, alias="with")


def _nested(error: ValidationError, prefix: tuple[str, ...]) -> PydanticCustomError:
    errors = []
    for found in error.errors(include_url=False, include_input=False):
        if found["type"] == "nested":
            inner = found["ctx"]["errors"]
            errors += [{**e, "loc": (*prefix, *found["loc"], *e["loc"])} for e in inner]
        else:
            errors.append({**found, "loc": (*prefix, *found["loc"])})
    return PydanticCustomError(
        "nested", "{count} problems", {"count": len(errors), "errors": errors}
    )


@dataclass(frozen=True)
class Family:
    """Marks a field that is written as one kind of `name`; for the schema and for hints."""

    name: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """A mark that the schema of all families fills in, once their kinds are registered."""
        return {"x-family": self.name}


def _reader(family: str) -> Any:
    return BeforeValidator(lambda written: read_item(family, written))


Action = Annotated[SerializeAsAny[Kind], Family("action"), _reader("action")]
Check = Annotated[SerializeAsAny[Kind], Family("check"), _reader("check")]
Metric = Annotated[SerializeAsAny[Kind], Family("metric"), _reader("metric")]
Store = Annotated[SerializeAsAny[Kind], Family("store"), _reader("store")]
Notifier = Annotated[SerializeAsAny[Kind], Family("notifier"), _reader("notifier")]
