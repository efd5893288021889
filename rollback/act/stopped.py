"""Which services do not run, or are frozen, and what to type: it loses nothing, so it comes first.

Hides: how it is seen that a service does not run.
Never: starts anything.
"""

from __future__ import annotations

from rollback.act import eyes
from rollback.act.site import Site
from rollback.model import dependencies
from rollback.model.errors import RollbackError
from rollback.model.system import HOME
from rollback.observe.service import halted
from rollback.observe.view import View


def services(site: Site, environment: str = HOME) -> tuple[str, ...]:
    """The declared services that are known not to run, in the order in which they start.

    One of which nobody can tell is not among them.
    """

    view = eyes.of(site, environment)
    return tuple(
        name
        for name in dependencies.ordered(view.system, view.system.services)
        if not _may_run(view, name)
    )


def _may_run(view: View, name: str) -> bool:
    from rollback.act import service

    try:
        return service.running(view, name)
    except (RollbackError, OSError):
        return True


def suspended(site: Site, environment: str = HOME) -> dict[str, int]:
    """The declared services that hold their lock and do nothing, stopped by a signal, with their pids."""
    view = eyes.of(site, environment)
    found = {name: halted(view, name) for name in view.system.services}
    return {name: pid for name, pid in found.items() if pid is not None}


def start(environment: str = HOME) -> str:
    """What to type to start every service there."""
    return "rollback run start" + (f" --environment {environment}" if environment != HOME else "")
