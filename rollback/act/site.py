"""One system, opened: its declaration, machine, state directory and journal, handed around whole.

A run goes on under the declaration it was planned under; who may say yes to it is asked of the
one in force.

Hides: where things lie in the state directory.
Never: moves a run on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rollback import declare
from rollback.host import Host
from rollback.host.files import TEMPORARY
from rollback.keep import trust
from rollback.keep.fallback import TwoPlaces
from rollback.keep.journal import Journal
from rollback.keep.progress import SILENT, Progress
from rollback.keep.redact import Redactor
from rollback.keep.state import StateDir
from rollback.model import pinned
from rollback.model.component import StateDeclared
from rollback.model.errors import (
    HostError,
    JournalError,
    NotAuthorized,
    PlanError,
    SpecError,
)
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run, apply, fold, next_state
from rollback.model.registry import closest
from rollback.model.system import HOME, System

if TYPE_CHECKING:
    from rollback.keep.checkpoint import Checkpoints

Listener = Callable[[Event], None]
NAMED_MAX = 5  # runs that are named to somebody who named none


@dataclass(frozen=True)
class Site:
    """An opened system. `listen` hears every event that this process appends, `progress` long work."""

    system: System
    host: Host
    state: StateDir
    journal: Journal
    listen: Listener = lambda _event: None
    progress: Progress = SILENT
    present: System | None = None  # the declaration in force, where `system` is an older one
    _folded: list[tuple[int, str, dict[str, Run]]] = field(default_factory=list)

    @classmethod
    def open(
        cls, system: System, host: Host, *, create: bool = True, secrets: tuple[str, ...] = (),
        listen: Listener | None = None, progress: Progress = SILENT,
    ) -> Site:  # fmt: skip
        """The system with its state directory; use it in `with`. `secrets` are masked everywhere."""
        state = StateDir.open(system, host, create=create)
        hide = Redactor(secrets, keys=system.guardrails.redact_keys).data
        anchor = _beside(system, system.state.anchor)
        second = _beside(system, system.state.fallback)
        try:
            tree = state.tree.sub("journal")
        except HostError as error:
            state.close()
            raise JournalError(error.message, where=error.where, hint=error.hint) from error
        journal = (
            TwoPlaces(tree, host, fallback=second, redact=hide, anchor=anchor)
            if second
            else Journal(tree, host, redact=hide, anchor=anchor)
        )
        site = cls(system, host, state, journal, progress=progress)
        return replace(site, listen=listen) if listen else site

    @classmethod
    @contextmanager
    def nothing_yet(cls, system: System, host: Host) -> Iterator[Site]:
        """The system as it is before anything was kept of it; what is noted is gone afterwards."""
        bare = system.having(state=StateDeclared())
        with host.scratch() as folder:
            bare.state_path = Path(folder) / "state"
            with cls.open(bare, host) as site:
                yield site

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

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this system."""
        from rollback.keep.checkpoint import Checkpoints  # the store: a flag needs none

        return Checkpoints(self.system, self.host, self.state, self.progress)

    def runs(self) -> dict[str, Run]:
        """Every run, by id, oldest first."""
        events = self.journal.events()
        count, head, runs = self._folded[-1] if self._folded else (0, "", {})
        if count and (len(events) < count or events[count - 1].hash != head):
            count, runs = 0, {}  # events that lay aside were merged: the order is another one
        runs = fold(events[count:], runs)
        self._folded[:] = [(len(events), events[-1].hash if events else "", runs)]
        return dict(runs)

    def run(self, name: str) -> Run:
        """The run with this id; the newest for `last`; for `open` the newest that has not ended, if any.

        Raises: PlanError.
        """
        runs = self.runs()
        if name == "open":
            still = [run for run in runs.values() if not run.final]
            name = still[-1].id if still else "last"
        if name == "last" and runs:
            return list(runs.values())[-1]
        if not runs:
            raise PlanError("there is no run yet", hint="begin one with: rollback run LEVEL")
        if name not in runs:
            close, newest = closest(name, runs), ", ".join([*reversed(runs)][:NAMED_MAX])
            hint = f"did you mean {close}?" if close else f"the newest first: {newest}"
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

    @property
    def in_force(self) -> System:
        """The declaration as it is written now: its people and policy say who may approve."""
        return self.present or self.system

    def under(self, run: Run) -> Site:
        """This site with the declaration that the run was planned under, in its environment.

        Raises: PlanError when that was not kept, or cannot be read any more.
        """
        wanted = str(run.plan.get("system_digest", ""))
        environment = str(run.plan.get("environment", HOME))
        if wanted == self.system.digest:
            return self.there(environment)
        name = f"runs/{run.id}/declaration.json"
        hint = "give the run up (rollback abort) or finish it with the declaration of then"
        try:
            source = json.loads(self.state.tree.read(name))
            kept = declare.from_source(
                source, declaration=self.system.declaration, state=self.state.path
            )
        except (OSError, ValueError, RecursionError, HostError, SpecError) as error:
            raise PlanError(
                f"run {run.id} was planned under another declaration, and that one cannot be read: "
                f"{error}", where=self.state.tree.place(name), hint=hint,
            ) from error  # fmt: skip
        if kept.digest != wanted:
            raise PlanError(
                f"the declaration kept of run {run.id} is not the one it was planned under",
                where=self.state.tree.place(name), hint=hint,
            )  # fmt: skip
        return replace(self, system=kept, present=self.in_force).there(environment)

    def there(self, environment: str) -> Site:
        """This site as it is in another environment. Raises: PlanError when there is no such one."""
        system = self.system.in_environment(environment)
        return self if system is self.system else replace(self, system=system)

    def emergency(self) -> None:
        """From now on an event that the journal does not take in time goes to the fallback."""
        if isinstance(self.journal, TwoPlaces):
            self.journal.emergency()

    def anchor(self) -> None:
        """Count and head stand in the second place; that they do not is in the journal."""
        try:
            self.journal.anchor()
        except JournalError as error:
            self.tell("journal.unanchored", error=str(error))

    def hidden(self, body: dict[str, Json]) -> dict[str, Json]:
        """The body without the values of secrets; what only looks like one stays, as in a plan."""
        masked = self.journal.hide({"plan": body})["plan"]
        assert isinstance(masked, dict)
        return masked

    def trusted(self) -> None:
        """The declaration's people and policy are the pinned ones; the first ones are pinned.

        Raises: NotAuthorized.
        """
        if not trust.pinned(self.state.tree):
            self._trust_anew()
        trust.require(self.system, self.state.tree)

    def _trust_anew(self) -> None:
        """Nothing is pinned: the journal knows whether that is so because nothing ever was."""
        now = self.system.authority_digest
        told = [event for event in self.journal.events() if event.kind == "trust.pinned"]
        if told and told[-1].data.get("authority") != now:
            raise NotAuthorized(
                "the trust anchor is gone, and the journal remembers other people or another policy",
                where=str(self.system.declaration),
                hint="look at the change, then accept it with: rollback trust",
            )
        trust.pin(self.system, self.state.tree, self.host, self.hidden)
        self.tell("trust.pinned", authority=now, format=pinned.FORMAT)

    def run_folder(self, run: str) -> Path:
        """The folder of a run's own files (report, verdicts, captures), there and private."""
        self.state.tree.make_folder(f"runs/{run}", parents=True)
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
        body = json.dumps(self.system.kept(), sort_keys=True).encode()
        self.state.tree.write(f"runs/{run}/declaration.json", body)


def _beside(system: System, declared: str | None) -> Path | None:
    return system.declaration.parent / declared if declared else None
