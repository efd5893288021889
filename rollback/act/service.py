"""Services: which ones, in which order, and the one way to start, stop and ask them.

Whatever manages a service, the same holds: it is started in the order of what it depends on and
stopped in the reverse; it counts as started when it answers as declared, and as stopped when its
manager knows it and says so and its ports are free. A service that its manager does not know is
refused, never taken for stopped. What it requires is proved before it is started; a first port that
somebody else has is left for a fallback port; of several ways to start, the first that works is taken.

Hides: which manager a service has.
Never: finds a process by its name.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Protocol, cast

from rollback.declare.ports import Move, moved, names
from rollback.host import locks, net, processes
from rollback.keep import started
from rollback.keep.started import Started
from rollback.model.component import Service
from rollback.model.errors import HostError, Unmanaged
from rollback.model.finding import Answer, Finding, failed, passed, unknown
from rollback.model.registry import Kind, Planned
from rollback.observe.check import ask, wait_for
from rollback.observe.lines import last_line, length
from rollback.observe.service import (
    Found,
    Manager,
    Way,
    asked,
    declared,
    followed,
    halted,
    here,
    identity,
    manager_of,
    missing,
    ours,
    port,
    running,
    ways,
)
from rollback.observe.view import View

__all__ = [
    "LOOPBACK", "POLL_S", "ServiceKind", "declared", "held", "identity", "kind_of",
    "missing", "ours", "port", "ready", "reload", "running", "start", "stop", "to_give",
]  # fmt: skip
LOOPBACK = "127.0.0.1"
POLL_S = 0.05
_TURN_S = 0.2


class ServiceKind(Manager, Protocol):
    """One way in which services are managed. All raise HostError; none changes nothing twice.

    `service` is as it is to be started or as it runs: its ports, and its whole environment.
    """

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The service has been started, or ran already; how, for people."""

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The service has ended, or had before; how, for people."""

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The running service was told to read its configuration again."""


def kind_of(service: Service) -> ServiceKind:
    """The manager of the service. Raises: PlanError when its kind is not built."""
    return cast("ServiceKind", manager_of(service))


# -- starting ------------------------------------------------------------------------------


def start(view: View, name: str, *, within_s: float) -> str:
    """The service runs and is ready, by the first of its ways that works. Raises: HostError.

    Crash: what was begun is remembered; done again, that is waited for, or ended before the next.
    """
    clock = view.host.clock
    end = clock.boot_s() + within_s
    every, runs = ways(view, name), ours(view, name)
    left, doubtful = _left(view, name, every, runs)
    if runs is None:
        _complete(view, name)
    failures: list[str] = []
    for number, way in enumerate(left):
        share_s = (end - clock.boot_s()) / (len(left) - number)
        until = min(end, clock.boot_s() + (share_s if way.within_s is None else way.within_s))
        already = runs is not None and not number
        try:
            if len(every) > 1 and not already:
                way.manager.look(name, way.bare().service, view)
        except Unmanaged as error:
            failures.append(f"{way.id}: {error}")
            continue
        try:
            return _by(view, name, way, runs=already, until=until)
        except HostError as error:
            if len(every) == 1 or (runs is not None and not doubtful):
                raise
            failures.append(f"{way.id}: {error}")
            if number < len(left) - 1:
                _end_attempt(view, name, way, failures, end)
    raise HostError(f"{name} could not be started: {'; '.join(failures)}", where=name,
                    hint=_look_into(view, name))  # fmt: skip


def _left(
    view: View, name: str, every: tuple[Way, ...], runs: Found | None
) -> tuple[tuple[Way, ...], bool]:
    """The ways that are still to be tried; and whether the first of them was begun and cut short."""
    if runs is None:
        return every, False
    begun = started.read(view.system, view.host, name)
    at = next((n for n, way in enumerate(every) if way.id == runs.way.id), 0)
    doubtful = begun is not None and not begun.process and begun.way == runs.way.id
    return (every[at:] if doubtful else every[at : at + 1]), doubtful


def _by(view: View, name: str, way: Way, *, runs: bool, until: float) -> str:
    """The service runs by this way and is ready."""
    log = declared(view.system, name).log or ""
    before = length(view, log) if log else 0
    told = f"{name} was running already" if runs else _begin(view, name, way, until)
    finding = _until_ready(view, name, until, logged=0 if runs else before)
    if finding.answer is not Answer.PASS:
        raise HostError(f"{name} was started but is not ready: {finding.evidence}", where=name,
                        hint=_look_into(view, name))  # fmt: skip
    found = started.read(view.system, view.host, name)
    if found is not None and not found.process:
        now = ours(view, name)
        process = now.runs.process if now is not None and now.runs is not None else ""
        started.keep(view.system, view.host, name, replace(found, process=process))
    return f"{told}; {finding.evidence}"


def _begin(view: View, name: str, way: Way, until: float) -> str:
    """The manager was told to start it; what is out of the ordinary was remembered before."""
    service, move = _on_free_port(view, name, way)
    several = bool(declared(view.system, name).start)
    if move is not None or several:
        first = service.ports[0] if move is None and service.ports else 0
        first = first if move is None else move.old
        foreign = tuple(sorted(net.listeners(first))) if move is not None else ()
        started.keep(view.system, view.host, name, Started(
            way.id, first, move.new if move is not None else 0, foreign=foreign))  # fmt: skip
    else:
        started.forget(view.system, view.host, name)
    left_s = max(_TURN_S, until - view.host.clock.boot_s())
    told = kind_of(service).start(name, service, view, within_s=left_s)
    told = f"{way.id}: {told}" if several else told
    return f"{told} on the fallback port {move.new}" if move is not None else told


def _on_free_port(view: View, name: str, way: Way) -> tuple[Service, Move | None]:
    """The service as it is to be started; where its first port is taken, on a free fallback port."""
    service = way.service
    if way.manager.own_environment:
        return service, None  # where it listens is between it and its manager
    told = {field: followed(getattr(service, field), view, field=field, besides=name)
            for field in ("argv", "environment")}  # fmt: skip
    service = service.model_copy(update=told)
    taken = [one for one in service.ports if net.listening(LOOPBACK, one)]
    if not taken:
        return service, None
    free = [one for one in service.fallback_ports if not net.listening(LOOPBACK, one)]
    if taken != [service.ports[0]] or not free:
        raise HostError(
            f"{name} cannot start: port {', '.join(map(str, taken))} is taken by somebody else",
            where=name, hint=f"find out who: ss -ltnp 'sport = :{taken[0]}'",
        )  # fmt: skip
    if not any(names(getattr(service, field), taken[0], field=field) for field in told):
        raise HostError(
            f"{name} cannot take port {free[0]}: neither its argv nor its environment names "
            f"{taken[0]}, so it would not hear of it", where=name,
            hint=f"free port {taken[0]}: ss -ltnp 'sport = :{taken[0]}'",
        )  # fmt: skip
    move = Move(name, taken[0], free[0])
    return moved(service, move, anywhere=True), move


def _complete(view: View, name: str) -> None:
    absent = missing(declared(view.system, name))
    if absent:
        raise HostError(f"{name} needs {', '.join(absent)} in its environment", where=name,
                        hint=to_give(name, absent[0]))  # fmt: skip


def to_give(name: str, variable: str) -> str:
    """What to type where a service lacks a variable."""
    return f"export {variable}=…, or declare it under services.{name}.environment"


def _end_attempt(view: View, name: str, way: Way, failures: list[str], end: float) -> None:
    """A way that failed left nothing running. Raises: HostError, then no other way is tried."""
    bare = way.bare().service
    left_s = max(1.0, end - view.host.clock.boot_s())
    try:
        if way.manager.look(name, bare, view) is not None:
            kind_of(bare).stop(name, bare, view, within_s=left_s)
    except HostError as error:
        raise HostError(
            f"{name} could not be started: {'; '.join(failures)}; and whether that attempt has ended "
            f"cannot be told, so no other way was tried: {error}", where=name,
            hint=_look_into(view, name),
        ) from error  # fmt: skip


def _until_ready(view: View, name: str, end: float, *, logged: int = 0) -> Finding:
    """The first PASS, or the last answer. A process that dies, or is frozen, will not become ready.

    What stood in its log before has `logged` bytes. Raises: HostError.
    """
    clock = view.host.clock
    check, log = _ready_check(view, name), declared(view.system, name).log
    stuck, frozen, before = False, None, None
    while True:
        if check is None:
            finding = _up(view, name)
        else:
            within_s = min(2 * _TURN_S, max(_TURN_S, end - clock.boot_s()))
            finding = wait_for(check, view, within_s=within_s)
        if not _lives(view, name):  # whoever answered, it was not the service
            said = last_line(view, log, since=logged) if log else ""
            said = f"; its last line: {said}" if said else ""
            raise HostError(f"{name} ended while it was starting{said}", where=name,
                            hint=_look_into(view, name))  # fmt: skip
        frozen = halted(view, name)
        if frozen and (frozen == before or clock.boot_s() >= end):  # a moment of it is no reason
            raise HostError(_frozen(name, frozen), where=name,
                            hint=f"let it go on: kill -CONT {frozen}")  # fmt: skip
        before = frozen
        if finding.answer is Answer.PASS and not frozen:
            return finding
        waits = _waits_for_its_lock(view, name)
        if waits and stuck:  # one that its own parent is about to let go is no reason
            lock = declared(view.system, name).lock
            raise HostError(
                f"{name} waits for its lock {lock}, which it has already: rollback takes it and hands "
                "it down to the program", where=name,
                hint="let the program leave that file alone; what it locks itself is another file",
            )  # fmt: skip
        stuck = waits
        if clock.boot_s() >= end:
            return finding
        if check is None:
            clock.sleep(POLL_S)


def _frozen(name: str, pid: int) -> str:
    return f"{name} is frozen: its process {pid} was stopped by a signal"


def _waits_for_its_lock(view: View, name: str) -> bool:
    """True while a process of the service waits for the lock that was handed down to it."""
    lock = declared(view.system, name).lock
    if lock is None:
        return False
    path = str(view.root / lock)
    with suppress(HostError):
        found = processes.holder(path)
        if found is not None:
            with found:
                return bool(locks.waiting(path, session=found.pid))
    return False


def ready(view: View, name: str) -> Finding:
    """Does the service answer as declared? Where it declares nothing: is it there, and up?"""
    if pid := halted(view, name):
        return failed(_frozen(name, pid))
    check = _ready_check(view, name)
    return _up(view, name) if check is None else ask(check, view)


def _ready_check(view: View, name: str) -> Kind | None:
    check = declared(view.system, name).ready
    if not isinstance(check, Kind) or isinstance(check, Planned):
        return None
    status = getattr(check, "status", None)  # to be ready is to answer: an empty 200 is an answer
    return check if status is None else check.model_copy(update={"status": status})


def _up(view: View, name: str) -> Finding:
    try:
        found = here(view, name)
    except HostError as error:
        if held(view, name):
            return passed("runs, as whom cannot be told; it declares no ready check")
        return unknown(str(error))
    if found is None or found.runs is None:
        return failed(f"{name} does not run")
    if found.runs.trouble:
        return failed(f"{name} {found.runs.trouble}")
    return passed("runs; it declares no ready check")


def held(view: View, name: str) -> bool:
    """True when somebody holds the lock of the service, whoever it is."""
    lock = declared(view.system, name).lock
    return lock is not None and processes.held(str(view.root / lock))


def _lives(view: View, name: str) -> bool:
    """False when it is certain that it ended."""
    try:
        return running(view, name)
    except HostError:
        return True  # something holds its lock, and what it answers is asked anyway


def _look_into(view: View, name: str) -> str:
    return f"look into {declared(view.system, name).log or 'its log'}"


# -- stopping, reloading -------------------------------------------------------------------


def stop(view: View, name: str, *, within_s: float) -> str:
    """The service has ended, by whichever way it ran, and its ports are free. Raises: HostError."""
    clock = view.host.clock
    end = clock.boot_s() + within_s
    taken = _to_be_freed(view, name)
    every = ways(view, name, taken)
    told = (
        kind_of(every[0].service).stop(name, every[0].service, view, within_s=within_s)
        if len(every) == 1
        else _stop_all(view, name, taken, end)
    )
    ports = every[0].service.ports

    def free() -> bool:
        return not any(net.listening(LOOPBACK, one) for one in ports)

    if not clock.poll(free, within_s=max(0.5, end - clock.boot_s()), every_s=POLL_S):
        left = ", ".join(str(one) for one in ports if net.listening(LOOPBACK, one))
        raise HostError(
            f"{name} has ended, but somebody still listens on port {left}", where=name,
            hint=f"find out who: ss -ltnp 'sport = :{left.split(',')[0]}'",
        )  # fmt: skip
    if not taken or not net.listeners(declared(view.system, name).ports[0]):
        started.forget(view.system, view.host, name)
    return told


def _to_be_freed(view: View, name: str) -> int:
    """The fallback port that the service is on, or was started on; 0 for its first.

    Whoever listens on its first meanwhile is remembered as somebody else.
    """
    begun = started.read(view.system, view.host, name)
    try:
        taken = port(view, name)
    except HostError:
        if begun is None:
            raise
        return begun.port  # another process has its place: it is ended as any other
    runs = ours(view, name) if taken else None
    if begun is not None and runs is not None and runs.runs is not None:
        foreign = tuple(sorted(net.listeners(begun.first)))
        now = replace(begun, process=begun.process or runs.runs.process, foreign=foreign)
        if now != begun:
            started.keep(view.system, view.host, name, now)
    return taken


def _stop_all(view: View, name: str, taken: int, end: float) -> str:
    """Every way by which the service runs has ended it."""
    told = []
    for found in asked(view, name, taken, ports=False):
        if found.runs is not None:
            left_s = max(_TURN_S, end - view.host.clock.boot_s())
            service = found.way.service
            told.append(kind_of(service).stop(name, service, view, within_s=left_s))
    for found in asked(view, name, taken):
        if found.error is not None:
            raise found.error
        if found.runs is not None:
            raise HostError(f"{name} still runs by {found.way.id}", where=name)
    return "; ".join(told) or f"{name} was stopped already"


def reload(view: View, name: str, *, within_s: float) -> str:
    """The service was told to read its configuration again, and is ready. Raises: HostError."""
    end = view.host.clock.boot_s() + within_s
    every = ways(view, name, port(view, name))
    found = here(view, name) if len(every) > 1 else None
    way = found.way if found is not None else every[0]
    told = kind_of(way.service).reload(name, way.service, view, within_s=within_s)
    finding = _until_ready(view, name, end)
    if finding.answer is not Answer.PASS:
        raise HostError(f"{name} is not ready after its reload: {finding.evidence}", where=name)
    return f"{told}; {finding.evidence}"
