"""What a question may look at: the declaration, the machine, and the moment it is asked about.

Hides: nothing.
Never: holds anything that could change the system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rollback.host import Host
from rollback.model.finding import Json
from rollback.model.system import System


@dataclass(frozen=True)
class View:
    """One look at a system, as it is in `environment`.

    `since` is the moment of mitigation (None: no run). `baseline` holds the sealed samples by
    check id and series: {"response-times": {"p95_ms": (…,)}}; empty where there is no seal.
    `held` holds, by component, how long and with which SHA-256 each append-only file began when
    it was last captured: {"audit": {"size_bytes": 10, "sha256": "…"}}.
    """

    system: System
    host: Host
    environment: str = "production"
    since: datetime | None = None
    baseline: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    held: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "system", self.system.in_environment(self.environment))

    @property
    def root(self) -> Path:
        """The absolute root of the system in this environment."""
        return self.system.root_path
