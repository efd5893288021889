"""The declared system: every section of `rollback.yaml` as one frozen value.

Attribute names are the keys of the file; a Python keyword gets a trailing underscore.

Hides: in which file of this folder a section is described.
Never: reads a file, or asks the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr

from rollback.model import operations as op
from rollback.model.component import (
    Component,
    Environment,
    EnvironmentFile,
    FileKey,
    Flag,
    HostDeclared,
    Layered,
    Place,
    Reader,
    Reload,
    Repository,
    Service,
    StateDeclared,
    Stop,
)
from rollback.model.level import (
    Budgets,
    ChecklistItem,
    Gate,
    Level,
    Phase,
    Prerequisite,
    Procedure,
    Source,
    Target,
)
from rollback.model.operations import (
    CheckpointKind,
    Checkpoints,
    Drill,
    Message,
    Notify,
    Verification,
)
from rollback.model.people import Authority, Autonomy, Guardrails, Member, People, RateLimit, Role
from rollback.model.policy import Condition, Decision, MetricDeclared, Respond, Trigger
from rollback.model.registry import Declared, Kind
from rollback.model.step import SUITES, Id, Suite, Text

SCHEMA = 1


class Identity(Declared):
    """What the system is called, and which version of its declaration this is."""

    id: Id
    title: Text
    version: Annotated[str, Field(min_length=1, max_length=64)]
    date: op.Date
    next_review: op.Date
    purpose: Text | None = None


class System(Declared):
    """A whole declaration. What the loader adds: `declaration`, the paths, and the digests."""

    schema_: Literal[1] = Field(alias="schema")
    system: Identity
    root: Text = "."
    state: StateDeclared = StateDeclared()
    environment: EnvironmentFile = EnvironmentFile()
    environments: dict[Id, Environment] = Field(default_factory=dict)
    repository: Repository | None = None
    hosts: dict[Id, HostDeclared] = Field(default_factory=dict)
    places: dict[Id, Place] = Field(default_factory=dict)
    components: dict[Id, Component] = Field(default_factory=dict)
    services: dict[Id, Service] = Field(default_factory=dict)
    flags: dict[Id, Flag] = Field(default_factory=dict)
    metrics: dict[Id, MetricDeclared] = Field(default_factory=dict)
    events: dict[Id, op.EventKind] = Field(default_factory=dict)
    severity: dict[Id, op.SeverityWord] = Field(default_factory=dict)
    people: People
    autonomy: Autonomy = Autonomy()
    triggers: tuple[Trigger, ...] = ()
    decision: Decision = Decision(style="most-severe")
    guardrails: Guardrails = Guardrails()
    levels: dict[Id, Level]
    procedures: dict[Id, Procedure] = Field(default_factory=dict)
    checkpoints: Checkpoints = Checkpoints()
    verification: Verification = Verification()
    notify: Notify = Notify()
    records: dict[Id, op.Record] = Field(default_factory=dict)
    reports: dict[Id, op.Report] = Field(default_factory=dict)
    monitor: op.Monitor = op.Monitor()
    drills: tuple[Drill, ...] = ()
    redeploy: op.Redeploy = op.Redeploy()
    follow_ups: op.FollowUps = op.FollowUps()
    patterns: dict[Id, op.Pattern] = Field(default_factory=dict)
    prevention: tuple[op.Practice, ...] = ()
    memory: op.Memory = op.Memory()

    _declaration: Path = PrivateAttr(default=Path())
    _root_path: Path = PrivateAttr(default=Path())
    _state_path: Path = PrivateAttr(default=Path())
    _digest: str = PrivateAttr(default="")
    _authority_digest: str = PrivateAttr(default="")
    _source: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def declaration(self) -> Path:
        """The file that was loaded."""
        return self._declaration

    @property
    def root_path(self) -> Path:
        """The absolute folder below which everything managed lies."""
        return self._root_path

    @property
    def state_path(self) -> Path:
        """The absolute folder where the tool keeps its own state."""
        return self._state_path

    @property
    def digest(self) -> str:
        """SHA-256 over the whole resolved declaration."""
        return self._digest

    @property
    def authority_digest(self) -> str:
        """SHA-256 over people, autonomy, guardrails and every level's authority."""
        return self._authority_digest

    @property
    def source(self) -> dict[str, Any]:
        """The resolved declaration as plain data."""
        return self._source

    def place(
        self,
        *,
        declaration: Path,
        root: Path,
        state: Path,
        source: dict[str, Any],
        digest: str,
        authority_digest: str,
    ) -> System:
        """What only the loader knows is set; called once, before anybody sees the value."""
        self._declaration, self._root_path, self._state_path = declaration, root, state
        self._source, self._digest, self._authority_digest = source, digest, authority_digest
        return self

    def level(self, name: str) -> tuple[str, Level] | None:
        """The level with this id or rank, with its id."""
        if name in self.levels:
            return name, self.levels[name]
        for key, level in self.levels.items():
            if name.isdigit() and level.rank == int(name):
                return key, level
        return None

    def checks(self) -> Iterator[tuple[Suite, Kind]]:
        """Every declared check of verification with its suite, in order of the file."""
        for suite in SUITES:
            for check in getattr(self.verification, suite):
                yield suite, check

    def holders(self, role: str) -> tuple[Member, ...]:
        """The members who hold a role."""
        return tuple(member for member in self.people.members if role in member.roles)


__all__ = [
    "SCHEMA", "Authority", "Autonomy", "Budgets", "ChecklistItem", "CheckpointKind",
    "Checkpoints", "Component", "Condition", "Decision", "Drill", "Environment", "FileKey",
    "Flag", "Gate", "Guardrails", "Identity", "Layered", "Level", "Member", "Message",
    "MetricDeclared", "Notify", "People", "Phase", "Place", "Prerequisite", "Procedure",
    "RateLimit", "Reader", "Reload", "Repository", "Respond", "Role", "Service", "Source",
    "StateDeclared", "Stop", "System", "Target", "Trigger", "Verification",
]  # fmt: skip
