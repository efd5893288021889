"""What every manager of services owes: twice is once, and what it does not know is never "stopped".

The example declares a service `it`.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

from typing import Any

from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.conformance.world import World
from rollback.model.errors import HostError
from rollback.observe.service import Running, ways

FAMILY = "service"
NAME = "it"
WITHIN_S = 10.0


def _parts(case: Case, world: World) -> tuple[Any, Any]:
    """The manager, and the service as it is to be started."""
    return case.kind(), ways(world.view(), NAME)[0].service


def _look(manager: Any, service: Any, world: World) -> Running | None:
    found = manager.look(NAME, service, world.view())
    owes(found is None or isinstance(found, Running), f"look returns {found!r}: a Running, or None")
    return found if isinstance(found, Running) else None


def test_it_starts_and_stops_and_twice_is_once(case: Case, world: World) -> None:
    """Nothing runs; started twice, one and the same runs; stopped twice, nothing runs."""
    manager, service = _parts(case, world)
    view = world.view()
    owes(_look(manager, service, world) is None, "nothing was started, and look says that it runs")
    said = manager.start(NAME, service, view, within_s=WITHIN_S)
    owes(
        isinstance(said, str) and said and "\n" not in said,
        f"start says {said!r}: a line for people",
    )
    runs = _look(manager, service, world)
    owes(runs is not None, "it was started, and look says that nothing runs")
    manager.start(NAME, service, view, within_s=WITHIN_S)
    owes(_look(manager, service, world) == runs, "started a second time, another process runs")
    manager.stop(NAME, service, view, within_s=WITHIN_S)
    owes(_look(manager, service, world) is None, "it was stopped, and look says that it runs")
    manager.stop(NAME, service, view, within_s=WITHIN_S)
    owes(_look(manager, service, world) is None, "stopped a second time, it runs")


def test_looking_starts_nothing(case: Case, world: World) -> None:
    """Asked again and again, what runs stays what it is."""
    manager, service = _parts(case, world)
    owes(
        _look(manager, service, world) == _look(manager, service, world) is None,
        "looking changes what runs",
    )


def test_what_does_not_run_cannot_be_reloaded(case: Case, world: World) -> None:
    """That is refused; nothing is started by it."""
    manager, service = _parts(case, world)
    try:
        said = manager.reload(NAME, service, world.view(), within_s=WITHIN_S)
    except HostError:
        said = ""
    owes(
        not said or _look(manager, service, world) is None,
        "a reload of what does not run starts it",
    )


def test_what_it_cannot_tell_is_never_stopped(case: Case, world: World, spoil: str) -> None:
    """For each way in which the example takes the manager away: HostError, and no answer."""
    manager, _ = _parts(case, world)
    case.example.spoils[spoil](world)
    service = ways(world.view(), NAME)[0].service
    view = world.view()
    for what in ("look", "stop"):
        try:
            found = (manager.look(NAME, service, view) if what == "look"
                     else manager.stop(NAME, service, view, within_s=WITHIN_S))  # fmt: skip
        except HostError:
            continue
        owes(False, f"{spoil}: whether it runs cannot be told, and {what} says {found!r}")
