"""A studio that is started, watched over, and stopped: what the drills and the command line share.

Hides: that the product starts and stops its services.
Never: ends a process that does not hold one of this studio's locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rollback.kinds  # noqa: F401 - registers every kind
from drills.faults.watchdog import Watchdog, end_holders
from drills.sandboxes.studio import Studio
from rollback.act import service
from rollback.act.site import Site
from rollback.declare import load
from rollback.host import Host
from rollback.model import dependencies
from rollback.model.errors import HostError, RollbackError
from rollback.observe.view import View

START_S, STOP_S, REFUSES_S = 20.0, 20.0, 4.0


def start(studio: Studio) -> tuple[str, ...]:
    """Every service runs and is ready; their names."""
    view = _view(studio)
    names = dependencies.ordered(view.system, view.system.services)
    for name in names:
        service.start(view, name, within_s=START_S)
    return names


def stop(studio: Studio) -> list[str]:
    """No service runs any more; how each ended. Whoever holds a lock and is not known is killed."""
    view = _view(studio)
    told = []
    for name in reversed(dependencies.ordered(view.system, view.system.services)):
        try:
            told.append(service.stop(view, name, within_s=STOP_S))
        except HostError as error:
            told.append(f"{name}: {error.message}")
    for lock in sorted((studio.root / "run").glob("*.lock")):
        if ended := end_holders(lock):
            told.append(f"{lock.name}: process {', '.join(map(str, ended))} was killed")
    return told


def restart(studio: Studio, *, may_refuse: bool = False) -> list[str]:
    """Every service was stopped and started, as a deployment does; what did not start."""
    view = _view(studio)
    names = dependencies.ordered(view.system, view.system.services)
    refused = []
    for name in reversed(names):
        service.stop(view, name, within_s=STOP_S)
    for name in names:
        try:
            service.start(view, name, within_s=REFUSES_S if may_refuse else START_S)
        except RollbackError as error:
            if not may_refuse:
                raise
            refused.append(str(error))
    return refused


@contextmanager
def running(
    directory: Path, *, within_s: float = 900.0, runs_a_day: int = 0
) -> Iterator[tuple[Studio, Site]]:
    """A new studio runs in the directory, which is gone afterwards, however this ends.

    `runs_a_day`: its own declaration allows at least so many.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with Watchdog(folders=[directory], within_s=within_s):
        studio = Studio.build(directory)
        if runs_a_day:
            studio.allow_runs(runs_a_day)
        start(studio)
        try:
            with Site.open(load(studio.declaration), Host()) as site:
                yield studio, site
        finally:
            stop(studio)


def _view(studio: Studio) -> View:
    return View(load(studio.declaration), Host())
