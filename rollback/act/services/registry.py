"""Services that we start ourselves: a program that inherits a locked file, and is known by it.

Hides: locks, signals, ports.
Never: takes a service for stopped because its lock is free while its port is taken.
"""

from __future__ import annotations

import os
import signal
from typing import ClassVar

from rollback.act.programs import tell
from rollback.act.service import LOOPBACK, POLL_S
from rollback.host import net, processes
from rollback.model.component import Service
from rollback.model.errors import Confined, HostError
from rollback.model.quantity import spoken
from rollback.model.registry import Kind, register
from rollback.observe.service import Running
from rollback.observe.view import View

_KILL_WAIT_S = 2.0


@register("service", "registry")
class RegistryService(Kind):
    """The lock protocol of rollback.host.processes."""

    own_environment: ClassVar[bool] = False

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program runs and holds the lock."""
        lock = _file(view, service.lock, name, make=True)
        if processes.held(lock):
            return f"{name} was running already"
        log = _file(view, service.log, name, make=True) if service.log else os.devnull
        assert service.argv is not None, "proved by the declaration"
        pid = processes.start_service(
            service.argv, cwd=str(view.root / service.cwd), lock=lock, log=log, tap=view.host.tap,
            environment=processes.base_environment(service.environment),
        )  # fmt: skip
        return f"{name} was started as process {pid}"

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The holder of the lock got its signal, then KILL; the lock is free."""
        lock = _file(view, service.lock, name)
        found = processes.holder(lock)
        if found is None:
            _not_outside(name, service)
            return f"{name} was stopped already"
        clock, tap = view.host.clock, view.host.tap
        with found:
            found.signal(getattr(signal, f"SIG{service.stop.signal}"), tap=tap)
            grace_s = min(service.stop.grace, max(0.1, within_s - _KILL_WAIT_S))
            if clock.poll(lambda: not processes.held(lock), within_s=grace_s, every_s=POLL_S):
                return f"{name} ended on SIG{service.stop.signal}"
            found.signal(signal.SIGKILL, tap=tap)
            if clock.poll(lambda: not processes.held(lock), within_s=_KILL_WAIT_S, every_s=POLL_S):
                return f"{name} did not end within {spoken(grace_s)} and was killed"
        raise HostError(
            f"{name} was killed, but its lock is still held: a child of it lives on", where=lock,
            hint=f"look with: fuser -v {lock}",
        )  # fmt: skip

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The holder got the signal, or the declared program ran."""
        found = processes.holder(_file(view, service.lock, name))
        if found is None:
            raise HostError(f"{name} is not running and cannot be reloaded", where=name,
                            hint="start it instead")  # fmt: skip
        with found:
            if service.reload is not None and service.reload.argv is not None:
                return tell(
                    view, service.reload.argv, within_s=within_s, environment=service.environment
                )
            word = service.reload.signal if service.reload is not None else None
            if word is None:
                raise HostError(f"{name} declares no way to reload", where=name,
                                hint="declare reload: {signal: HUP}")  # fmt: skip
            found.signal(getattr(signal, f"SIG{word}"), tap=view.host.tap)
            return f"{name} got SIG{word}"

    def look(self, name: str, service: Service, view: View) -> Running | None:
        """Process and start time of the holder. Raises: HostError when it cannot be named."""
        found = processes.holder(_file(view, service.lock, name))
        if found is None:
            _not_outside(name, service)
            return None
        with found:
            return Running(f"{found.pid}:{processes.started(found.pid):.0f}")


def _file(view: View, path: str | None, name: str, *, make: bool = False) -> str:
    """The absolute path, its folder proved to lie below the root, if it is there; `make` makes it."""
    if path is None:
        raise HostError(f"{name} declares no lock", where=name)
    with view.host.tree(str(view.root)) as tree:
        folder = os.path.dirname(path) or "."
        found = tree.stat(folder)
        if found is None and not make:
            return str(view.root / path)
        if found is None:
            tree.make_folder(folder, mode=0o755, parents=True)
        try:
            tree.sub(folder).close()
        except HostError as error:
            raise Confined("the folder is no folder below the root", where=str(path)) from error
    return str(view.root / path)


def _not_outside(name: str, service: Service) -> None:
    taken = [port for port in service.ports if net.listening(LOOPBACK, port)]
    if taken:
        raise HostError(
            f"the lock of {name} is free, but somebody listens on its port {taken[0]}: whether it "
            "runs outside of its lock cannot be established", where=name,
            hint=f"find out who, and end it: ss -ltnp 'sport = :{taken[0]}'",
        )  # fmt: skip
