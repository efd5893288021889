"""How the system is looked at, by steps, prerequisites, decisions and the gate: one way to make a view.

An append-only file is compared with what was last held of it, and what a log says counts since a
run last changed something: what was wrong before is what the run was there to put right.

Hides: where what was held is read, and that it is read only when somebody asks for it.
Never: asks anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from rollback.host import Host
from rollback.host.clock import parse_iso
from rollback.keep.state import StateDir
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.system import HOME, System
from rollback.observe.view import View

if TYPE_CHECKING:
    from rollback.act.plan import Plan
    from rollback.act.site import Site

_CHANGED = ("step.ended", "step.failed", "step.undone")


def view(
    system: System, host: Host, state: StateDir, *, environment: str = HOME,
    since: datetime | None = None,
) -> View:  # fmt: skip
    """The eyes of a check in this environment; `since` is when a run last changed something."""
    here = system.in_environment(environment)
    held = _Held(lambda: _read(here, host, state))
    return View(system, host, environment=environment, since=since, held=held)


def of(site: Site, environment: str = HOME) -> View:
    """The eyes of whoever asks outside a step: since a run last did all its steps."""
    since = last_change(site.journal.events())
    return view(site.system, site.host, site.state, environment=environment, since=since)


def last_change(events: Iterable[Event], plan: Plan | None = None) -> datetime | None:
    """When a run last did all its steps, or the run of `plan` a step that changes something.

    None when neither ever was.
    """
    changing: set[str] = set()
    run = ""
    if plan is not None:
        run = plan.stamp["run"]
        changing = {step.index for step in plan.every_step() if step.action().alters != "nothing"}
    found = [
        event.at
        for event in events
        if event.kind == "run.mitigated"
        or (event.run == run and event.kind in _CHANGED and str(event.data["index"]) in changing)
    ]
    return parse_iso(found[-1]) if found else None


def _read(system: System, host: Host, state: StateDir) -> Mapping[str, Mapping[str, Json]]:
    if state.tree.stat("store") is None:
        return {}
    from rollback.keep.checkpoint import Checkpoints  # the store: a flag needs none

    with Checkpoints(system, host, state) as kept:
        return kept.held()


class _Held(Mapping[str, Mapping[str, Json]]):
    """What was held, read when it is first looked into."""

    def __init__(self, read: Callable[[], Mapping[str, Mapping[str, Json]]]) -> None:
        self._read = read

    @cached_property
    def _found(self) -> Mapping[str, Mapping[str, Json]]:
        return self._read()

    def __getitem__(self, name: str) -> Mapping[str, Json]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)
