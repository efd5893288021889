"""Services: which ones, in which order, and the one way to start, stop and ask them.

Whatever manages a service, the same holds: it is started in the order of what it depends on and
stopped in the reverse; it counts as started when it answers as declared, and as stopped when its
manager knows it and says so and its ports are free. A service that its manager does not know is
refused, never taken for stopped.

Hides: which manager a service has.
Never: finds a process by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

from rollback.host import net
from rollback.model.component import Service
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Answer, Finding, passed
from rollback.model.registry import Kind, Planned, kinds, nearest
from rollback.model.system import System
from rollback.observe.check import ask, wait_for
from rollback.observe.view import View

LOOPBACK = "127.0.0.1"
POLL_S = 0.05
_TURN_S = 0.2


class ServiceKind(Protocol):
    """One way in which services are managed. All raise HostError; none changes nothing twice."""

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The service has been started, or ran already; how, for people."""

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The service has ended, or had before; how, for people."""

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The running service was told to read its configuration again."""

    def identity(self, name: str, service: Service, view: View) -> str:
        """Which process runs; empty when none does. Raises: HostError when it cannot be told."""


def declared(system: System, name: str) -> Service:
    """The service of this name. Raises: PlanError."""
    service = system.services.get(name)
    if service is None:
        raise PlanError(f"there is no service {name}", hint=nearest(name, tuple(system.services)))
    return service


def kind_of(service: Service) -> ServiceKind:
    """The manager of the service. Raises: PlanError when its kind is not built."""
    found = kinds("service").get(service.manager)
    if found is None:
        raise PlanError(
            f"services managed by {service.manager} are not built yet",
            hint=nearest(service.manager, tuple(kinds("service"))),
        )
    return cast("ServiceKind", found())


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
        for below in declared(system, name).depends_on:
            place(below, (*above, name))
        done.append(name)

    for name in system.services:
        if name in wanted:
            place(name)
    return tuple(name for name in done if name in wanted)


def running(view: View, name: str) -> bool:
    """True when the service runs. Raises: HostError when that cannot be established."""
    return bool(identity(view, name))


def identity(view: View, name: str) -> str:
    """Which process of the service runs; empty when none does. Raises: HostError."""
    service = declared(view.system, name)
    return kind_of(service).identity(name, service, view)


def start(view: View, name: str, *, within_s: float) -> str:
    """The service runs and is ready. Raises: HostError."""
    service = declared(view.system, name)
    end = view.host.clock.boot_s() + within_s
    told = kind_of(service).start(name, service, view, within_s=within_s)
    finding = _until_ready(view, name, service, within_s=end - view.host.clock.boot_s())
    if finding.answer is not Answer.PASS:
        raise HostError(
            f"{name} was started but is not ready: {finding.evidence}", where=name,
            hint=f"look into {service.log}" if service.log else "look into its log",
        )  # fmt: skip
    return f"{told}; {finding.evidence}"


def stop(view: View, name: str, *, within_s: float) -> str:
    """The service has ended and its ports are free. Raises: HostError."""
    service = declared(view.system, name)
    end = view.host.clock.boot_s() + within_s
    told = kind_of(service).stop(name, service, view, within_s=within_s)
    ports = (*service.ports, *service.fallback_ports)

    def free() -> bool:
        return not any(net.listening(LOOPBACK, port) for port in service.ports)

    left_s = max(0.5, end - view.host.clock.boot_s())
    if not view.host.clock.poll(free, within_s=left_s, every_s=POLL_S):
        taken = ", ".join(str(port) for port in ports if net.listening(LOOPBACK, port))
        raise HostError(
            f"{name} has ended, but somebody still listens on port {taken}", where=name,
            hint=f"find out who: ss -ltnp 'sport = :{taken.split(',')[0]}'",
        )  # fmt: skip
    return told


def reload(view: View, name: str, *, within_s: float) -> str:
    """The service was told to read its configuration again, and is ready. Raises: HostError."""
    service = declared(view.system, name)
    end = view.host.clock.boot_s() + within_s
    told = kind_of(service).reload(name, service, view, within_s=within_s)
    finding = _until_ready(view, name, service, within_s=end - view.host.clock.boot_s())
    if finding.answer is not Answer.PASS:
        raise HostError(f"{name} is not ready after its reload: {finding.evidence}", where=name)
    return f"{told}; {finding.evidence}"


def ready(view: View, name: str) -> Finding:
    """Does the service answer as declared? PASS for one that declares nothing."""
    service = declared(view.system, name)
    findings = [ask(check, view) for check in ready_checks(service)]
    good = [finding for finding in findings if finding.answer is Answer.PASS]
    return (good or findings or [passed("runs; it declares no ready check")])[0]


def ready_checks(service: Service) -> tuple[Kind, ...]:
    """The ready check, and the same for each fallback port that the service may have taken."""
    check = service.ready
    if not isinstance(check, Kind) or isinstance(check, Planned):
        return ()
    found = [check]
    url = getattr(check, "url", None)
    if isinstance(url, str) and service.ports:
        old = f":{service.ports[0]}"
        for port in service.fallback_ports:
            found.append(check.model_copy(update={"url": url.replace(old, f":{port}")}))
    return tuple(found)


def _until_ready(view: View, name: str, service: Service, *, within_s: float) -> Finding:
    """The first PASS, or the last answer. A process that dies will not become ready: that ends it."""
    checks = ready_checks(service)
    clock = view.host.clock
    end = clock.boot_s() + max(_TURN_S, within_s)
    finding = passed("it declares no ready check")
    while checks:
        for check in checks:
            left_s = max(_TURN_S, end - clock.boot_s())
            finding = wait_for(check, view, within_s=min(2 * _TURN_S, left_s))
            if finding.answer is Answer.PASS:
                return finding
        if clock.boot_s() >= end:
            return finding
        if not _lives(view, name):
            break
    if _lives(view, name):
        return finding
    raise HostError(
        f"{name} ended while it was starting", where=name,
        hint=f"look into {service.log or 'its log'}",
    )  # fmt: skip


def _lives(view: View, name: str) -> bool:
    """False when it is certain that it ended."""
    try:
        return running(view, name)
    except HostError:
        return True  # something holds its lock, and what it answers is asked anyway
