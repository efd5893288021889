"""One system, opened: its declaration, machine, state directory and journal, handed around whole.

Hides: where things lie in the state directory.
Never: moves a run on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from rollback.host import Host
from rollback.host.files import TEMPORARY
from rollback.keep import trust
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.journal import Journal
from rollback.keep.redact import Redactor
from rollback.keep.state import StateDir
from rollback.model.errors import PlanError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run, apply, fold, next_state
from rollback.model.registry import nearest
from rollback.model.system import System

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Site:
    """An opened system. `listen` hears every event that this process appends."""

    system: System
    host: Host
    state: StateDir
    journal: Journal
    listen: Listener = lambda _event: None

    @classmethod
    def open(
        cls, system: System, host: Host, *, create: bool = True, secrets: tuple[str, ...] = (),
        listen: Listener | None = None,
    ) -> Site:  # fmt: skip
        """The system with its state directory; use it in `with`."""
        state = StateDir.open(system, host, create=create)
        declared = system.state.anchor
        anchor = system.declaration.parent / declared if declared else None
        redactor = Redactor(secrets)
        journal = Journal(state.tree.sub("journal"), host, redact=redactor.data, anchor=anchor)
        site = cls(system, host, state, journal)
        return replace(site, listen=listen) if listen else site

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.journal.close()
        self.state.close()

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this system."""
        return Checkpoints(self.system, self.host, self.state)

    def runs(self) -> dict[str, Run]:
        """Every run, by id, oldest first."""
        return fold(self.journal.events())

    def run(self, name: str) -> Run:
        """The run with this id, or the newest for `last`. Raises: PlanError."""
        runs = self.runs()
        if name == "last" and runs:
            return list(runs.values())[-1]
        if name not in runs:
            hint = nearest(name, tuple(runs)) if runs else "there has been no run yet"
            raise PlanError(f"there is no run {name}", hint=f"{hint} (rollback history)")
        return runs[name]

    def note(self, run: Run, kind: str, /, **data: Json) -> Run:
        """The event is in the journal, and the run as it is after it.

        Raises: IllegalEvent before anything is written, when the table has no such row.
        """
        next_state(run, kind)
        event = self.journal.append(kind, run=run.id, data=data)
        self.listen(event)
        return apply(run, event)

    def tell(self, kind: str, /, *, run: str = "", **data: Json) -> Event:
        """An event that is about no state of a run is in the journal."""
        event = self.journal.append(kind, run=run, data=data)
        self.listen(event)
        return event

    def trusted(self) -> None:
        """The declaration's people and policy are the pinned ones; the first ones are pinned.

        Raises: NotAuthorized.
        """
        if not trust.pinned(self.state.tree):
            trust.pin(self.system, self.state.tree, self.host)
            self.tell("trust.pinned", authority=self.system.authority_digest)
        trust.require(self.system, self.state.tree)

    def run_folder(self, run: str) -> Path:
        """The folder of a run's own files (report, verdicts, captures), there and private."""
        for part in (f"runs/{run}",):
            self.state.tree.make_folder(part, parents=True)
        return self.state.path / "runs" / run

    def sweep(self, run: str) -> None:
        """No half-written file of a driver that died stands in the folder of the run."""
        name = f"runs/{run}"
        if self.state.tree.stat(name) is None:
            return
        for path, _status in list(self.state.tree.walk(name)):
            if os.path.basename(path).startswith(TEMPORARY):
                self.state.tree.unlink(path)

    def keep_declaration(self, run: str) -> None:
        """The declaration that the run was planned under is kept with it."""
        self.run_folder(run)
        body = json.dumps(self.system.source, sort_keys=True).encode()
        self.state.tree.write(f"runs/{run}/declaration.json", body)
