"""A very small real system, and the gate around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rollback.declare import load
from rollback.host import Host
from rollback.model.step import Suite
from rollback.model.system import System
from rollback.prove.expect import Expectations, expectations
from rollback.prove.suite import SuiteResult, run_suite

HEAD = """\
schema: 1
system: {id: little, title: Little, version: "1.0", date: 2026-11-20, next_review: 2027-05-20}
root: app
components:
  data: {path: data, content: files}
  scratch: {path: scratch, content: files, volatile: true}
  trail: {path: trail.jsonl, content: append-only}
people:
  owner: operator
  roles: {operator: {title: Whoever runs it}}
  members: [{id: one, roles: [operator]}]
"""
LEVEL = """\
levels:
  back:
    rank: 1
    title: Back
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [operator], quorum: any, alone: true}
    steps: [{wait: {id: pause, for: 1s}}]
    gate: {GATE}
  other:
    rank: 2
    title: Other
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [operator], quorum: any, alone: true}
    steps: [{wait: {id: pause, for: 1s}}]
    gate: {suites: [smoke]}
"""
THERE = "- files: {id: there, title: The data is there, exists: [data/a.txt]}"


@dataclass
class Little:
    """A system in a folder: `app/data/a.txt` is there and says `well`."""

    folder: Path
    checks: dict[str, list[str]] = field(default_factory=lambda: {"smoke": [THERE]})
    gate: str = "suites: [smoke]"
    extra: str = ""
    pinned: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "app" / "data").mkdir(parents=True)
        self.state("well")

    @property
    def file(self) -> Path:
        return self.folder / "rollback.yaml"

    def state(self, text: str) -> None:
        (self.folder / "app" / "data" / "a.txt").write_text(text)

    def team(self, path: str, text: str, *, pin: bool = True) -> Path:
        """A test file of the team, pinned in the declaration unless said otherwise."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if pin:
            self.pinned[path] = hashlib.sha256(text.encode()).hexdigest()
        return file

    def declare(self) -> Path:
        """The declaration is written as it stands now."""
        asked = any(self.checks.values()) or self.pinned
        lines = [HEAD, LEVEL.replace("GATE", self.gate), "verification:" if asked else ""]
        for suite, checks in self.checks.items():
            lines += [f"  {suite}:", *(f"    {one}" for one in checks)] if checks else []
        if self.pinned:
            lines.append("  suites:")
            lines += [f"    - {{path: {p}, sha256: {d}}}" for p, d in self.pinned.items()]
        self.file.write_text("\n".join(lines) + "\n" + self.extra)
        return self.file

    def load(self, **options: Any) -> System:
        import rollback.kinds  # noqa: F401 - the declaration names kinds

        return load(self.declare(), **options)

    def run(
        self, suite: Suite = "smoke", *, system: System | None = None,
        wanted: Expectations | None = None, deadline_s: float = 60.0, **options: Any,
    ) -> SuiteResult:  # fmt: skip
        """The gate's run of a suite, as the engine asks for it."""
        found = system if system is not None else self.load()
        work = self.folder.parent / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        return run_suite(
            suite, system=found, host=Host(), work=work, deadline_s=deadline_s,
            expectations=wanted if wanted is not None else expectations(found, "back"), **options,
        )  # fmt: skip


@pytest.fixture
def little(tmp_path: Path) -> Little:
    return Little(tmp_path / "little")


@pytest.fixture
def another(tmp_path: Path) -> Callable[[str], Little]:
    return lambda name: Little(tmp_path / name)
