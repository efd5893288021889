"""The list of checks that a gate asks, as marks: so that what passed once is known to be what is asked now.

A check whose declaration was changed is another one, and so is a test file with another digest.

Hides: what a mark is made of.
Never: says that anything passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rollback.model.event import digest
from rollback.model.finding import Json
from rollback.model.step import SUITES, Suite
from rollback.model.system import System
from rollback.prove.expect import Expectations, declared

DOMAIN = "rollback.gate-list.1"
_MARK_CHARS = 16


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
    checks = {
        key: _mark(check.model_dump(mode="json", by_alias=True, exclude_unset=True),
                   wanted.checks[key].wanted)
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


def _mark(declared_: dict[str, Json], wanted: str) -> str:
    # What is known to be red is the same check as one that has to pass.
    said: Json = [declared_, "pass" if wanted == "known-red" else wanted]
    return digest({"check": said}, domain=DOMAIN)[:_MARK_CHARS]
