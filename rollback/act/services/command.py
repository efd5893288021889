"""Services that have a program for each verb: `argv` followed by start, stop, status or reload.

Status says 0 for running and 3 for stopped, as init scripts do; anything else is no answer. The
program gets what is declared as the environment of the service.

Hides: nothing.
Never: takes a program that cannot tell for a stopped service.
"""

from __future__ import annotations

from typing import ClassVar

from rollback.act.programs import ask, tell
from rollback.host.processes import Completed
from rollback.model.component import Service
from rollback.model.errors import HostError
from rollback.model.registry import Kind, register
from rollback.observe.service import Running
from rollback.observe.view import View

_STOPPED = 3


@register("service", "command")
class CommandService(Kind):
    """`argv: [bin/control]` is run as `bin/control start` in the root of the system."""

    own_environment: ClassVar[bool] = False

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program says that it runs."""
        if self.look(name, service, view):
            return f"{name} was running already"
        told = _tell(service, view, "start", within_s)
        self._expect(name, service, view, runs=True, within_s=within_s)
        return told

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program says that it is stopped."""
        if not self.look(name, service, view):
            return f"{name} was stopped already"
        told = _tell(service, view, "stop", within_s)
        self._expect(name, service, view, runs=False, within_s=within_s)
        return told

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program was told to reload, or the declared one ran."""
        if not self.look(name, service, view):
            raise HostError(f"{name} is not running and cannot be reloaded", where=name)
        own = service.reload.argv if service.reload is not None else None
        if own is not None:
            return tell(view, own, within_s=within_s, environment=service.environment)
        return _tell(service, view, "reload", within_s)

    def look(self, name: str, service: Service, view: View) -> Running | None:
        """Whether the program says that it runs; it names no process. Raises: HostError."""
        done = _ask(service, view, "status")
        if done.status == 0:
            return Running("running")
        if done.status == _STOPPED:
            return None
        raise HostError(
            f"status ends with {done.status}: whether {name} runs cannot be established",
            where=_argv(service)[0], hint="it must end with 0 for running and 3 for stopped",
        )  # fmt: skip

    def _expect(
        self, name: str, service: Service, view: View, *, runs: bool, within_s: float
    ) -> None:
        clock = view.host.clock
        if not clock.poll(
            lambda: bool(self.look(name, service, view)) is runs, within_s=within_s, every_s=0.1
        ):
            raise HostError(f"{name} {'does not run' if runs else 'still runs'}", where=name)


def _ask(service: Service, view: View, verb: str) -> Completed:
    return ask(view, (*_argv(service), verb), environment=service.environment)


def _tell(service: Service, view: View, verb: str, within_s: float) -> str:
    return tell(view, (*_argv(service), verb), within_s=within_s, environment=service.environment)


def _argv(service: Service) -> tuple[str, ...]:
    assert service.argv is not None, "proved by the declaration"
    return service.argv
