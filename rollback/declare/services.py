"""Whether what is declared of a service can be kept by its manager, and asked about it.

Hides: the rules.
Never: looks whether anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollback.declare import walk
from rollback.declare.ports import names
from rollback.declare.references import SERVICE_VERBS
from rollback.declare.text import Document, Path
from rollback.model.errors import Problem
from rollback.model.registry import kinds

_REACHES = ("environment", "required_environment", "fallback_ports")


def check(document: Document, data: dict[str, Any]) -> None:
    """Variables and ports that reach no program, ports of two, dependents of nothing, idle questions."""
    for spot, one in walk.find(data, "services.*"):
        if isinstance(one, dict):
            _reaches(document, spot, one)
            _falls_back(document, spot, one)
            _alone(document, data, spot, one)
    _measured(document, data)
    _of_something(document, data)


def _of_something(document: Document, data: dict[str, Any]) -> None:
    """A level that works on no component has no dependents of it: it could never be planned."""
    for owner, step in walk.steps(data):
        if owner[0] != "levels" or step.kind != "service" or step.planned:
            continue
        if walk.at(data, (*owner, "component")) is not None:
            continue  # a procedure has that of the level that calls it
        for verb in SERVICE_VERBS:
            if step.parameters.get(verb) == "dependents":
                _wrong(document, (*step.path, verb), f"dependents of what? {owner[1]} works on no component",
                       f"name the services: {verb}: [NAME]; or say what {owner[1]} works on: "
                       "component: required")  # fmt: skip


def _wrong(document: Document, path: Path, message: str, hint: str) -> None:
    name = ".".join(str(part) for part in path)
    document.problems.append(Problem(document.where(path), f"{name}: {message}", hint))


def _ways(one: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The manager and the program of each way to start it."""
    manager = str(one.get("manager", "registry"))
    methods = one.get("start")
    if not isinstance(methods, list):
        yield manager, one.get("argv")
        return
    for method in methods:
        if not isinstance(method, dict):
            continue
        if "compose" in method:
            yield "compose", None
        elif "unit" in method:
            yield "supervisor" if manager == "supervisor" else "systemd", None
        else:
            yield manager if manager == "command" else "registry", method.get("argv")


def _own(manager: str) -> bool:
    return bool(getattr(kinds("service").get(manager), "own_environment", False))


def _reaches(document: Document, spot: Path, one: dict[str, Any]) -> None:
    own = next((manager for manager, _ in _ways(one) if _own(manager)), None)
    for field in _REACHES if own else ():
        if one.get(field):
            _wrong(document, (*spot, field),
                   f"{own} gives its programs an environment of its own: this would not reach it",
                   f"write it where {own} keeps it, and leave {field} out here")  # fmt: skip


def _falls_back(document: Document, spot: Path, one: dict[str, Any]) -> None:
    first = _first(one)
    if not one.get("fallback_ports"):
        return
    if not first:
        _wrong(document, (*spot, "fallback_ports"), "in place of which port? none is declared",
               "add ports: [PORT]")  # fmt: skip
        return
    variables = one.get("environment")
    for manager, argv in _ways(one):
        told = names(argv, first, field="argv") or names(variables, first, field="environment")
        if not told and not _own(manager):  # that it has one of its own is said elsewhere
            _wrong(document, (*spot, "fallback_ports"),
                   f"neither argv nor environment names port {first}: its program would not hear of "
                   "another", f'name it there: argv: [program, --port, "{first}"], or environment: '
                   f'{{PORT: "{first}"}}')  # fmt: skip
            return


def _alone(document: Document, data: dict[str, Any], spot: Path, one: dict[str, Any]) -> None:
    """Who asks for a port that may be exchanged for another means one service by it."""
    if not one.get("fallback_ports"):
        return
    mine = {_first(one), *_ports(one, "fallback_ports")} - {0}
    for other, service in walk.find(data, "services.*"):
        if other == spot or not isinstance(service, dict):
            continue
        both = mine & {*_ports(service, "ports"), *_ports(service, "fallback_ports")}
        if both:
            _wrong(document, (*spot, "fallback_ports"),
                   f"port {min(both)} is also that of {other[-1]}: who asks there could mean either",
                   "give each of them ports of its own")  # fmt: skip
    for where, port in walk.find(data, "components.*.database.port"):
        if _number(port) == _first(one) != 0:
            _wrong(document, where,
                   f"is the port of service {spot[-1]}, which may take another: a database does not "
                   "follow it", "leave fallback_ports out of that service")  # fmt: skip


def _measured(document: Document, data: dict[str, Any]) -> None:
    """What a process uses can be measured where the process is known: by its lock."""
    asked = list(walk.find(data, "metrics.*.source.process.service"))
    for found in walk.asked(data):
        written = found.parameters
        if found.kind == "memory":
            asked.append(((*found.path, "service"), written.get("service")))
        elif found.kind == "process" and (written.get("memory") or written.get("descriptors")):
            several = written.get("services")
            for number, name in enumerate(several if isinstance(several, list) else ()):
                asked.append(((*found.path, "services", number), name))
    for path, name in asked:
        service = walk.at(data, ("services", name)) if isinstance(name, str) else None
        if isinstance(service, dict) and not service.get("lock"):
            _wrong(document, path, f"{name} has no lock: which process to measure cannot be known",
                   "declare its lock, or ask only whether it lives")  # fmt: skip


def _first(one: dict[str, Any]) -> int:
    return next(iter(_ports(one, "ports")), 0)


def _ports(one: dict[str, Any], field: str) -> list[int]:
    found = one.get(field)
    return [_number(port) for port in found] if isinstance(found, list) else []


def _number(port: Any) -> int:
    if isinstance(port, str) and port.isascii() and port.isdigit():
        return int(port)
    return port if isinstance(port, int) and not isinstance(port, bool) else 0
