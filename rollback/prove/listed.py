"""The list of checks that a gate asks, as marks: so that what passed once is known to be what is asked now.

A check whose declaration was changed is another one, and so is a test file with another digest.

Hides: what a mark is made of.
Never: says that anything passed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from rollback.model.event import digest
from rollback.model.finding import Json
from rollback.model.registry import Kind
from rollback.model.step import SUITES, Suite
from rollback.model.system import System
from rollback.prove.expect import Expectations, declared

DOMAIN = "rollback.gate-list.1"
_MARK_CHARS = 16
_VALUE_CHARS_MIN = 3  # a shorter value may stand anywhere


@dataclass(frozen=True, slots=True)
class Listed:
    """Marks by id of the check, and digests by path of the pinned file of the team."""

    checks: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One for the whole list."""
        return digest(self.as_json(), domain=DOMAIN)

    def as_json(self) -> dict[str, Json]:
        """For the journal."""
        return {"checks": dict[str, Json](self.checks), "files": dict[str, Json](self.files)}

    @classmethod
    def read(cls, told: object) -> Listed:
        """As the journal has it; empty for anything else."""
        found = told if isinstance(told, dict) else {}
        checks, files = found.get("checks"), found.get("files")
        return cls(
            {str(key): str(one) for key, one in checks.items()} if isinstance(checks, dict) else {},
            {str(key): str(one) for key, one in files.items()} if isinstance(files, dict) else {},
        )  # fmt: skip


def listed(system: System, wanted: Expectations) -> Listed:
    """What this gate asks now."""
    names = _variables(system)
    checks = {
        key: _mark(check, wanted.checks[key].wanted, names)
        for _suite, key, check in declared(system)
        if key in wanted.checks and wanted.checks[key].wanted != "absent"
    }  # fmt: skip
    return Listed(checks, files_of(system, wanted.suites))


def files_of(system: System, suites: Iterable[Suite]) -> dict[str, str]:
    """The team's files of these suites with their digests, and those that stand above all suites."""
    asked = {*suites}
    return {
        one.path: one.sha256 for one in system.verification.suites
        if (set(PurePosixPath(one.path).parts[:-1]) & {*SUITES} or asked) & asked
    }  # fmt: skip


def _mark(check: Kind, wanted: str, names: Mapping[str, str]) -> str:
    told = _unfilled(check.model_dump(mode="json", by_alias=True, exclude_unset=True), names)
    # What is known to be red is the same check as one that has to pass.
    said: Json = [check.kind, told, "pass" if wanted == "known-red" else wanted]
    return digest({"check": said}, domain=DOMAIN)[:_MARK_CHARS]


def _variables(system: System) -> dict[str, str]:
    """The declared variables by their value here: the same list on another port is the same list."""
    found = {
        os.environ.get(name, one.default or ""): f"${{{name}}}"
        for name, one in system.environment.variables.items()
    }
    return {value: name for value, name in found.items() if len(value) >= _VALUE_CHARS_MIN}


def _unfilled(told: Any, names: Mapping[str, str]) -> Json:
    if isinstance(told, dict):
        return {key: _unfilled(one, names) for key, one in told.items()}
    if isinstance(told, (list, tuple)):
        return [_unfilled(one, names) for one in told]
    if isinstance(told, bool) or not isinstance(told, (str, int)):
        plain: Json = told
        return plain
    text = str(told)
    for value in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", lambda _, v=value: names[v], text)  # type: ignore[misc]
    return told if text == str(told) else text
