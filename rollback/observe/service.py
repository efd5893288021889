"""A declared service as it is now: which process it is, by which way, on which port, what it uses.

Each manager knows its services by their own identity: a lock, a unit, a service of a project, a
program. It is asked; nobody else knows.

Hides: psutil; which manager is asked; that a service may have taken another port than its first.
Never: finds a process by its name; takes a service for stopped that its manager does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, TypeVar, cast

from rollback.declare.ports import Move, moved, names
from rollback.host import net, processes
from rollback.host.processes import Holder, holder
from rollback.keep import started
from rollback.keep.started import Started
from rollback.model.component import Service
from rollback.model.errors import HostError, PlanError, RollbackError, Unmanaged
from rollback.model.registry import kinds, nearest
from rollback.model.system import System
from rollback.observe.view import View

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is there. `process` is the same as long as the process is, and of no other.

    `trouble` says why it does no work although it is there; "" when it is up. It is `empty` when its
    manager counts it as there although no process of it is left.
    """

    process: str
    trouble: str = ""
    empty: bool = False


class Manager(Protocol):
    """What can be asked about a service of one kind of manager."""

    own_environment: ClassVar[bool]
    """True when what we declare reaches no program: the manager gives it an environment itself."""

    def look(self, name: str, service: Service, view: View) -> Running | None:
        """What runs; None when nothing does. Changes nothing.

        Raises: Unmanaged when the manager is not here or does not know it; HostError when that
        cannot be found out.
        """


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start a service: `service` as that way has it, `id` of its start method."""

    id: str
    service: Service
    within_s: float | None = None

    @property
    def manager(self) -> Manager:
        """The manager of this way."""
        return manager_of(self.service)

    def bare(self) -> Way:
        """The same way, whoever has its ports."""
        return replace(self, service=self.service.model_copy(update={"ports": ()}))


@dataclass(frozen=True, slots=True)
class Found:
    """What the manager of one way says: what runs, that nothing does, or why it cannot be told."""

    way: Way
    runs: Running | None = None
    error: HostError | None = None


def declared(system: System, name: str) -> Service:
    """The service of this name. Raises: PlanError."""
    service = system.services.get(name)
    if service is None:
        raise PlanError(f"there is no service {name}", hint=nearest(name, tuple(system.services)))
    return service


def manager_of(service: Service) -> Manager:
    """The manager of the service. Raises: PlanError when its kind is not built."""
    found = kinds("service").get(service.manager)
    if found is None:
        raise PlanError(
            f"services managed by {service.manager} are not built yet",
            hint=nearest(service.manager, tuple(kinds("service"))),
        )
    return cast("Manager", found())


def missing(service: Service) -> tuple[str, ...]:
    """The variables that the service requires, and that are neither declared nor set where we run."""
    given = {**processes.inherited(service.required_environment), **service.environment}
    return tuple(name for name in service.required_environment if not given.get(name))


def ways(view: View, name: str, port: int = 0) -> tuple[Way, ...]:
    """The ways to start the service, in order, with the whole environment that its program gets.

    With `port`, the service is as it is on that one in place of its first.
    """
    service = declared(view.system, name)
    if port:
        service = moved(service, Move(name, service.ports[0], port), anywhere=True)
    given = processes.inherited(service.required_environment)
    service = service.model_copy(update={"environment": {**given, **service.environment}})
    found = service.ways()
    methods = service.start or (None,)
    return tuple(
        Way(method.id if method else "", one, method.within if method else None)
        for method, one in zip(methods, found, strict=True)
    )


def asked(
    view: View, name: str, taken: int | None = None, *, ports: bool = True
) -> Iterator[Found]:
    """What the manager of each way says now, in order; a way whose manager is not here is left out.

    `taken` is the fallback port that it is on, where that is known. Without `ports` it does not count
    who has its ports. Raises: HostError where there is one way only, or no manager is here.
    """
    found = _remembered(view, name)
    if taken is None:
        taken = port(view, name) if ports else found.port if found is not None else 0
    yield from _asked(view, name, ways(view, name, taken), found.way if found else "", ports=ports)


def running(view: View, name: str) -> bool:
    """True when the service runs. Raises: HostError when that cannot be established."""
    return bool(identity(view, name))


def identity(view: View, name: str) -> str:
    """Which process of the service runs; empty when none does. Raises: HostError."""
    found = here(view, name)
    return found.runs.process if found is not None and found.runs is not None else ""


def here(view: View, name: str) -> Found | None:
    """The way by which the service runs; None when it does not. Raises: HostError."""
    return _first(asked(view, name))


def ours(view: View, name: str) -> Found | None:
    """As `here`, whoever has its ports. Raises: HostError."""
    return _first(asked(view, name, ports=False))


def _remembered(view: View, name: str) -> Started | None:
    """What is remembered of the service, if it still has the first port of then."""
    service = declared(view.system, name)
    if (not service.start and not service.ports) or started.nothing(view.system):
        return None
    found = started.read(view.system, view.host, name)
    return found if found is not None and found.first == (service.ports or (0,))[0] else None


def port(view: View, name: str) -> int:
    """The fallback port that the service took; 0 where it is on its first, as far as we know.

    One that has ended since counts, as long as somebody else has its first port.
    Raises: HostError when another process than the one that we started holds its place: where
    that one listens nobody knows.
    """
    found = _remembered(view, name)
    if found is None or not found.port:
        return 0
    runs = ours(view, name)
    now = runs.runs.process if runs is not None and runs.runs is not None else ""
    if now and found.process in ("", now):
        return found.port
    sockets = net.listeners(found.first)
    if not sockets or not sockets <= set(found.foreign):
        return 0
    if now:
        raise HostError(
            f"{name} was started on port {found.port}, and another process has taken its place: "
            f"where it listens cannot be told, and its port {found.first} is somebody else's",
            where=name, hint=f"stop {name} and start it again: rollback run stop, rollback run start",
        )  # fmt: skip
    return found.port


def moves(view: View, thing: object, *, field: str = "", besides: str = "") -> tuple[Move, ...]:
    """The services, but one, on a fallback port whose first port the thing names. Raises: HostError."""
    if started.nothing(view.system):
        return ()
    found = []
    for name, service in view.system.services.items():
        if name == besides or not service.ports:
            continue
        if names(thing, service.ports[0], field=field) and (taken := port(view, name)):
            found.append(Move(name, service.ports[0], taken))
    return tuple(found)


def followed(thing: T, view: View, *, field: str = "", besides: str = "") -> T:
    """The question, or the words of a program, with the ports that services really have.

    Raises: HostError where that cannot be told.
    """
    for move in moves(view, thing, field=field, besides=besides):
        thing = moved(thing, move, field=field)
    return thing


def _asked(
    view: View, name: str, ways: tuple[Way, ...], begun: str, *, ports: bool
) -> Iterator[Found]:
    """What each way says; `begun` is the one by which it was started last."""
    absent: HostError | None = None
    answered = False
    for way in ways:
        if not ports:
            way = way.bare()
        try:
            runs, unknown = way.manager.look(name, way.service, view), None
        except HostError as error:
            if len(ways) == 1:
                raise
            if isinstance(error, Unmanaged) and way.id != begun:
                absent = absent or error
                continue
            runs, unknown = None, error  # who knew it when it was started must know of it now
        answered = True
        yield Found(way, runs, unknown)
    if absent is not None and not answered:
        raise absent


def _first(found: Iterator[Found]) -> Found | None:
    """The first that runs. Raises: HostError when none does and one could not be asked."""
    unknown: HostError | None = None
    for one in found:
        if one.runs is not None:
            return one
        unknown = unknown or one.error
    if unknown is not None:
        raise unknown
    return None


# -- what it uses --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all its descendants use together, now."""

    memory_bytes: int
    descriptors: int
    processes: int
    frozen: bool


@contextmanager
def held_by(view: View, service: str) -> Iterator[Holder | None]:
    """The verified process of the service; None when its lock is free: it does not run.

    Raises: PlanError for a service that is not declared; HostError when it has no lock to be
    known by, or the lock is held by somebody unknown.
    """
    lock = declared(view.system, service).lock
    if lock is None:
        raise HostError(f"service {service} has no lock: which process it is cannot be known")
    found = holder(str(view.root / lock))
    if found is None:
        yield None
        return
    with found:
        yield found


def frozen(pid: int) -> bool:
    """True when the process is stopped by a signal or a debugger. Call it while its Holder is open.

    Raises: HostError when this user may not look.
    """
    import psutil  # 10 ms that most questions do not need

    try:
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.AccessDenied as error:
        raise HostError(f"process {pid} may not be looked at by this user") from error
    except psutil.NoSuchProcess:
        return False


def halted(view: View, service: str) -> int | None:
    """The pid of the service's process while a signal has stopped it; else, or not known, None."""
    if declared(view.system, service).lock is None:
        return None
    with suppress(RollbackError, OSError), held_by(view, service) as found:
        if found is not None and frozen(found.pid):
            return found.pid
    return None


def usage(pid: int) -> Usage | None:
    """What the process uses; None when it has ended. Call it while its Holder is open.

    Raises: HostError when this user may not look.
    """
    import psutil  # 10 ms that most questions do not need

    try:
        leader = psutil.Process(pid)
        memory_bytes = leader.memory_info().rss
        descriptors = leader.num_fds()
        family = leader.children(recursive=True)
    except psutil.AccessDenied as error:
        raise HostError(f"process {pid} may not be looked at by this user") from error
    except psutil.NoSuchProcess:
        return None
    for child in family:
        try:
            memory_bytes += child.memory_info().rss
            descriptors += child.num_fds()
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile and uses nothing
        except psutil.AccessDenied as error:
            raise HostError(f"process {child.pid} may not be looked at by this user") from error
    return Usage(memory_bytes, descriptors, 1 + len(family), frozen(pid))
