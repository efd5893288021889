"""Seals: how the suites came out at one version, kept apart from the version they belong to.

Hides: the spelling of a seal.
Never: belongs to a checkpoint that it does not name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from rollback.host import Tree
from rollback.model.errors import ObjectCorrupt
from rollback.model.event import canonical, digest
from rollback.model.finding import Measured
from rollback.model.registry import Declared

FOLDER = "seals"
DOMAIN = "rollback.seal.1"
_LATER = ("tests", "asked")


class Beyond(Declared):
    """A value beside the limit that it breaks, as `model.finding.Measured` has it."""

    what: str
    value: float
    limit: float
    worse: Literal["higher", "lower"]

    @property
    def measured(self) -> Measured:
        """The same, for comparing."""
        return Measured(self.what, self.value, self.limit, self.worse)


class Sealed(Declared):
    """How one check came out. `samples` are its measured series, `beyond` the limits that it broke."""

    suite: str
    answer: Literal["pass", "fail", "unknown"]
    fingerprint: str = ""
    evidence: str = ""
    samples: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    beyond: tuple[Beyond, ...] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `beyond` where nothing was: a seal from before there was such a thing keeps its id."""
        told: dict[str, Any] = handler(self)
        return {key: value for key, value in told.items() if key != "beyond" or value}

    @property
    def measured(self) -> tuple[Measured, ...]:
        """What was beyond its limit, in order."""
        return tuple(one.measured for one in self.beyond)


class Seal(Declared):
    """The outcome of the suites at one version.

    `belongs_to` is {"checkpoint": id} or {"component": …, "commit": …} or {"flag": …, "value": …}.
    `tests` are those of the team: by suite, how each came out; `asked` is the list of checks and files,
    as `prove.listed` has it. Units: `at` UTC ISO 8601.
    """

    format: Annotated[int, Field(ge=1, le=1)] = 1
    belongs_to: dict[str, str]
    at: str
    environment: str = "production"
    system_digest: str = ""
    findings: dict[str, Sealed] = Field(default_factory=dict)
    tests: dict[str, dict[str, str]] = Field(default_factory=dict)
    asked: dict[str, dict[str, str]] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came later where it is empty: a seal from before it keeps its id."""
        told: dict[str, Any] = handler(self)
        return {key: value for key, value in told.items() if key not in _LATER or value}

    @property
    def id(self) -> str:
        """The digest of everything in it."""
        return digest(self.model_dump(mode="json"), domain=DOMAIN)

    @property
    def samples(self) -> dict[str, dict[str, tuple[float, ...]]]:
        """The series by check, as `View.baseline` wants them."""
        return {key: dict(one.samples) for key, one in self.findings.items() if one.samples}


def make(
    findings: Mapping[str, Sealed], *, belongs_to: Mapping[str, str], at: str,
    environment: str = "production", system_digest: str = "",
    tests: Mapping[str, Mapping[str, str]] | None = None,
    asked: Mapping[str, Mapping[str, str]] | None = None,
) -> Seal:  # fmt: skip
    """A seal of these findings, and of these tests of the team."""
    return Seal(
        belongs_to=dict(belongs_to), at=at, environment=environment, system_digest=system_digest,
        findings=dict(findings),
        tests={suite: dict(found) for suite, found in (tests or {}).items() if found},
        asked={name: dict(found) for name, found in (asked or {}).items()},
    )  # fmt: skip


def save(tree: Tree, seal: Seal) -> str:
    """The seal is on disk under its id, which is returned."""
    tree.make_folder(FOLDER)
    tree.write(path(seal.id), canonical(seal.model_dump(mode="json")))
    return seal.id


def path(id_: str) -> str:
    """Where the seal lies below the store."""
    return f"{FOLDER}/{id_}.json"


def load(tree: Tree, id_: str) -> Seal:
    """The seal with this id. Raises: FileNotFoundError; ObjectCorrupt when it is not that one."""
    seal = parse(tree.read(path(id_)), where=tree.place(path(id_)))
    if seal.id != id_:
        raise ObjectCorrupt("the seal is not the one that was saved", where=tree.place(path(id_)))
    return seal


def parse(data: bytes, *, where: str = "") -> Seal:
    """The seal in these bytes. Raises: ObjectCorrupt."""
    try:
        return Seal.model_validate(json.loads(data, parse_constant=_constant))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ObjectCorrupt(f"not a seal: {error}", where=where) from None


def newest(tree: Tree, belongs_to: Mapping[str, str]) -> Seal | None:
    """The youngest seal of exactly this version; None when there is none."""
    mine = [seal for seal in every(tree) if seal.belongs_to == dict(belongs_to)]
    return max(mine, key=lambda seal: seal.at, default=None)


def every(tree: Tree) -> Iterator[Seal]:
    """All seals, in no order. Raises: ObjectCorrupt."""
    if tree.stat(FOLDER) is None:
        return
    for name in tree.names(FOLDER):
        if name.endswith(b".json"):
            yield load(tree, name.decode().removesuffix(".json"))


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
