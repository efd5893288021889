"""The smallest way back that covers what fails: components behind checks, levels over components.

Hides: how a check is traced to what it looks at.
Never: starts anything; it is an offer.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from rollback.model.component import Flag
from rollback.model.system import System


@dataclass(frozen=True, slots=True)
class Offer:
    """A level (and the one component, where it works on one) that covers `components`."""

    level: str
    component: str
    components: tuple[str, ...]

    @property
    def command(self) -> str:
        """What to type."""
        return f"rollback run {self.level}" + (
            f" --component {self.component}" if self.component else ""
        )


def smallest(
    system: System, failing: Iterable[str], *, besides: Container[tuple[str, str]] = ()
) -> Offer | None:
    """The lowest level that puts back every component that the failing checks look at.

    None when the checks name nothing that any level puts back. `besides` are levels (and the
    component, where one works on a single one) that are no offer: they were tried.
    """
    wanted = sorted({name for check in failing for name in looked_at(system, check)})
    somewhere = {name for key in system.levels for name in puts_back(system, key)}
    kept = [name for name in wanted if name in somewhere or _by_itself(system, name)]
    if not kept:
        return None
    for key, level in sorted(system.levels.items(), key=lambda item: item[1].rank):
        if level.component == "required":
            if len(kept) == 1 and (key, kept[0]) not in besides:
                return Offer(key, kept[0], (kept[0],))
            continue
        if (key, "") not in besides and set(kept) <= puts_back(system, key):
            return Offer(key, "", tuple(kept))
    return None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a check depends on, by name."""

    components: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()


def looked_at(system: System, check: str) -> set[str]:
    """The components that a declared check depends on: by path, by service, by a service's port."""
    return set(looks_at(system, check).components)


def looks_at(system: System, check: str) -> Looked:
    """What a declared check depends on, by what it declares: paths, services, ports, flags, metrics.

    Who asks a service, by name or at one of its ports, asks what the service runs on, too.
    """
    body = next(
        (item for suite in system.source.get("verification", {}).values() if isinstance(suite, (list, tuple))
         for item in suite for parameters in item.values()
         if isinstance(parameters, dict) and parameters.get("id") == check),
        None,
    )  # fmt: skip
    if body is None:
        return Looked()
    said = set(_words(body))
    for name, metric in system.source.get("metrics", {}).items():
        said |= set(_words(metric)) if body.get("metric", {}).get("name") == name else set()
    found = {name for name, c in system.components.items() if any(_below(w, c.path) for w in said)}
    services = {
        name for name, service in system.services.items()
        if name in said or _at_port(said, (*service.ports, *service.fallback_ports))
    }  # fmt: skip
    for name in services:
        found |= set(system.services[name].components)
    flags = {name for name, flag in system.flags.items() if name in said or _keeps(said, flag)}
    return Looked(frozenset(found), frozenset(services), frozenset(flags))


def _at_port(said: set[str], ports: Iterable[int]) -> bool:
    return any(f":{port}/" in f"{word}/" or word == str(port) for port in ports for word in said)


def _keeps(said: set[str], flag: Flag) -> bool:
    """True for a check that reads the very key in which the flag is kept."""
    layered = flag.layered
    places = (flag.flagd, layered and layered.env_file, layered and layered.yaml)
    return any(place and {place.path, place.key} <= said for place in places)


def puts_back(system: System, level: str) -> set[str]:
    """The components whose content the level's steps change, as declared."""
    found: set[str] = set()
    for step in system.source["levels"][level]["steps"]:
        for kind, parameters in step.items():
            if kind == "restore":
                found.add(str(parameters.get("component", "")))
            elif kind == "git" and ("revert" in parameters or "reset" in parameters):
                found |= {name for name, c in system.components.items() if c.content == "git"}
    return found


def _by_itself(system: System, name: str) -> bool:
    """True for content that is worth going back to on its own: not what is only passing through."""
    component = system.components[name]
    return component.content != "append-only" and not component.volatile


def _words(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _words(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _words(item)
    else:
        yield str(value)


def _below(word: str, path: str) -> bool:
    return path != "." and (word == path or word.startswith(f"{path}/"))
