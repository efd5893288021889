"""Which services do not run, and how to start them: it loses nothing, so it comes before going back.

Hides: how it is seen that a service does not run; which checks may be asked at any time.
Never: asks what writes or makes load; starts anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollback.act import eyes, service
from rollback.act.site import Site
from rollback.judge.scope import Offer, smallest
from rollback.model.errors import RollbackError
from rollback.model.finding import Answer
from rollback.model.registry import Planned
from rollback.model.system import HOME
from rollback.observe.check import ask
from rollback.observe.view import View


def services(site: Site, environment: str = HOME) -> tuple[str, ...]:
    """The declared services that are known not to run, in the order in which they start.

    One of which nobody can tell is not among them.
    """
    view = eyes.of(site, environment)
    return tuple(
        name
        for name in service.ordered(view.system, view.system.services)
        if not _may_run(view, name)
    )


def _may_run(view: View, name: str) -> bool:
    try:
        return service.running(view, name)
    except (RollbackError, OSError):
        return True


def start(environment: str = HOME) -> str:
    """What to type to start every service there."""
    return "rollback run start" + (f" --environment {environment}" if environment != HOME else "")


@dataclass(frozen=True, slots=True)
class Standing:
    """How many smoke checks were asked now, which of them did not pass, and what covers those."""

    asked: int
    failing: tuple[str, ...]
    offer: Offer | None


def standing(site: Site) -> Standing:
    """The smoke checks that hold at every level, asked in process, one after the other."""
    view = eyes.of(site, site.system.environment_name)
    retired = {one.id for one in site.system.verification.retired}
    asked, failing = 0, []
    for check in site.system.verification.smoke:
        key = str(getattr(check, "id", "") or "")
        limited = getattr(check, "levels", ()) or getattr(check, "effects", "none") != "none"
        if isinstance(check, Planned) or limited or not key or key in retired:
            continue
        asked += 1
        if ask(check, view).answer is not Answer.PASS:
            failing.append(key)
    return Standing(asked, tuple(failing), smallest(site.system, failing) if failing else None)
