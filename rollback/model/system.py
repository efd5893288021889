"""The declared system: every section of `rollback.yaml` as one frozen value, in one environment.

Attribute names are the keys of the file; a Python keyword gets a trailing underscore.

Hides: in which file of this folder a section is described, and when it is read.
Never: reads a file, or asks the world.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from rollback.model.errors import PlanError
from rollback.model.registry import Declared, Kind, nearest
from rollback.model.section import each, fields, listed, maybe, one
from rollback.model.step import SUITES, Suite, Text

if TYPE_CHECKING:  # a section's model is imported when somebody looks at the section
    from rollback.model import operations as op
    from rollback.model.component import (
        Component,
        Environment,
        EnvironmentFile,
        Flag,
        HostDeclared,
        Place,
        Repository,
        Service,
        StateDeclared,
    )
    from rollback.model.identity import Identity
    from rollback.model.level import Level, Procedure
    from rollback.model.people import Autonomy, Guardrails, Member, People
    from rollback.model.policy import Decision, MetricDeclared, Trigger

SCHEMA = 1
HOME = "production"  # the environment that `root` and `environment` describe


class System:
    """A whole declaration. What the loader adds: `declaration`, the paths, and the digests."""

    system: Identity = one("identity", "Identity", needed=True)
    state: StateDeclared = one("component", "StateDeclared")
    environment: EnvironmentFile = one("component", "EnvironmentFile")
    environments: Mapping[str, Environment] = each("component", "Environment")
    repository: Repository | None = maybe("component", "Repository")
    hosts: Mapping[str, HostDeclared] = each("component", "HostDeclared")
    places: Mapping[str, Place] = each("component", "Place")
    components: Mapping[str, Component] = each("component", "Component")
    services: Mapping[str, Service] = each("component", "Service")
    flags: Mapping[str, Flag] = each("component", "Flag")
    metrics: Mapping[str, MetricDeclared] = each("policy", "MetricDeclared")
    events: Mapping[str, op.EventKind] = each("operations", "EventKind")
    severity: Mapping[str, op.SeverityWord] = each("operations", "SeverityWord")
    people: People = one("people", "People", needed=True)
    autonomy: Autonomy = one("people", "Autonomy")
    triggers: tuple[Trigger, ...] = listed("policy", "Trigger")
    decision: Decision = one("policy", "Decision", style="most-severe")
    guardrails: Guardrails = one("people", "Guardrails")
    levels: Mapping[str, Level] = each("level", "Level", needed=True)
    procedures: Mapping[str, Procedure] = each("level", "Procedure")
    checkpoints: op.Checkpoints = one("operations", "Checkpoints")
    verification: op.Verification = one("operations", "Verification")
    notify: op.Notify = one("operations", "Notify")
    records: Mapping[str, op.Record] = each("operations", "Record")
    reports: Mapping[str, op.Report] = each("operations", "Report")
    monitor: op.Monitor = one("operations", "Monitor")
    drills: tuple[op.Drill, ...] = listed("operations", "Drill")
    redeploy: op.Redeploy = one("operations", "Redeploy")
    follow_ups: op.FollowUps = one("operations", "FollowUps")
    patterns: Mapping[str, op.Pattern] = each("operations", "Pattern")
    prevention: tuple[op.Practice, ...] = listed("operations", "Practice")
    memory: op.Memory = one("operations", "Memory")

    def __init__(
        self, source: dict[str, Any], *, declaration: Path, root: Path, state: Path, digest: str,
        authority_digest: str, environment: str = HOME, sections: dict[str, Any] | None = None,
        elsewhere: Mapping[str, tuple[dict[str, Any], Path]] | None = None,
        kept: dict[str, Any] | None = None, secrets: tuple[str, ...] = (), key: str = "",
    ) -> None:  # fmt: skip
        self.source = source
        """The declaration as plain data, resolved for this environment; never written down."""
        self.secrets = secrets
        """The values in it that are withheld wherever it is written down."""
        self.key = key
        """What they are known again by, for a state directory that has no key yet; "" without any."""
        self.declaration = declaration
        """The file that was loaded."""
        self.root_path = root
        """The absolute folder below which everything managed lies, in this environment."""
        self.state_path = state
        """The absolute folder where the tool keeps its own state."""
        self.digest = digest
        """SHA-256 over the whole declaration as it is kept, resolved for every environment."""
        self.authority_digest = authority_digest
        """SHA-256 over everything that lets a run go ahead with less asking (see model.pinned)."""
        self.environment_name = environment
        """The environment that this is the system of."""
        self.sections = {} if sections is None else sections
        """Sections that were read already."""
        self._elsewhere = dict(elsewhere or {})
        self._kept = kept
        self._made: dict[str, System] = {environment: self}

    @property
    def root(self) -> Text:
        """The root as it was written."""
        return str(self.source.get("root", "."))

    def in_environment(self, name: str) -> System:
        """The same declaration, resolved for this environment; itself for its own.

        Raises: PlanError when no such environment is declared; the home one always is.
        """
        if name not in self._made:
            if name not in self.environments:
                known = tuple(dict.fromkeys((HOME, *self.environments)))
                raise PlanError(f"there is no environment {name}", hint=nearest(name, known))
            source, root = self._elsewhere.get(
                name, (self._made[HOME].source, self._made[HOME].root_path)
            )
            found = System(
                source, declaration=self.declaration, root=root, state=self.state_path,
                digest=self.digest, authority_digest=self.authority_digest, environment=name,
                elsewhere=self._elsewhere, kept=self._kept, secrets=self.secrets, key=self.key,
            )  # fmt: skip
            found._made = self._made
            self._made[name] = found
        return self._made[name]

    def having(self, **sections: Any) -> System:
        """The same system with other values for these sections; `source` stays as it was."""
        return System(
            self.source, declaration=self.declaration, root=self.root_path, state=self.state_path,
            digest=self.digest, authority_digest=self.authority_digest,
            environment=self.environment_name, sections={**self.sections, **sections},
            elsewhere=self._elsewhere, kept=self._kept, secrets=self.secrets, key=self.key,
        )  # fmt: skip

    def kept(self) -> dict[str, Any]:
        """Everything that has to be kept to have this declaration again, as plain data without secrets."""
        if self._kept is not None:
            return self._kept
        home = self._made[HOME].source
        others = {name: source for name, (source, _) in sorted(self._elsewhere.items())}
        return {"source": home, "elsewhere": others} if others else home

    @property
    def shown(self) -> dict[str, Any]:
        """The declaration of the home environment as it may be written down."""
        kept = self.kept()
        home: dict[str, Any] = kept["source"] if "elsewhere" in kept else kept
        return home

    def level(self, name: str) -> tuple[str, Level] | None:
        """The level with this id or rank, with its id."""
        if name in self.levels:
            return name, self.levels[name]
        for key, written in self.source["levels"].items():
            if name == str(written["rank"]):
                return key, self.levels[key]
        return None

    def checks(self) -> Iterator[tuple[Suite, Kind]]:
        """Every declared check of verification with its suite, in order of the file."""
        for suite in SUITES:
            for check in getattr(self.verification, suite):
                yield suite, check

    def dependents(self, names: Iterable[str]) -> tuple[str, ...]:
        """The other components that depend on these, at any remove, each after what it depends on."""
        given = set(names)
        above = set(given)
        while more := {name for name, one in self.components.items()
                       if name not in above and set(one.depends_on) & above}:  # fmt: skip
            above |= more
        ordered: list[str] = []

        def place(name: str) -> None:
            if name in above and name not in ordered:
                for below in self.components[name].depends_on:
                    place(below)
                ordered.append(name)

        for name in self.components:
            place(name)
        return tuple(name for name in ordered if name not in given)

    def holders(self, role: str) -> tuple[Member, ...]:
        """The members who hold a role."""
        return tuple(member for member in self.people.members if role in member.roles)


@cache
def whole() -> type[Declared]:
    """The model of a whole declaration: every section at once, for the loader and the schema."""
    found: dict[str, Any] = fields(System)
    identity = found.pop("system")
    return create_model(
        "System", __base__=Declared, __doc__=System.__doc__,
        schema_=(Literal[1], Field(alias="schema")), system=identity, root=(Text, "."), **found,
    )  # fmt: skip


__all__ = ["HOME", "SCHEMA", "System", "whole"]
