"""Which services stand on which, and on which components.

Hides: that what a service depends on depends on more.
Never: asks whether one runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollback.model.system import System


def dependents(system: System, component: str) -> tuple[str, ...]:
    """The services that use the component, in the order in which they start.

    A service that depends on one of them is among them: it would lose what it stands on.
    """
    found = {name for name, service in system.services.items() if component in service.components}
    grown = True
    while grown:
        more = {n for n, s in system.services.items() if set(s.depends_on) & found}
        grown = not more <= found
        found |= more
    return ordered(system, found)


def ordered(system: System, names: Iterable[str]) -> tuple[str, ...]:
    """The names, each after what it depends on; otherwise as they stand in the declaration."""
    wanted, done = set(names), []

    def place(name: str, above: tuple[str, ...] = ()) -> None:
        if name in done or name in above:
            return
        for below in system.services[name].depends_on:
            place(below, (*above, name))
        done.append(name)

    for name in system.services:
        if name in wanted:
            place(name)
    return tuple(name for name in done if name in wanted)
