"""Services that have a program for each verb: `argv` followed by start, stop, status or reload.

Status says 0 for running and 3 for stopped, as init scripts do; anything else is no answer.

Hides: nothing.
Never: takes a program that cannot tell for a stopped service.
"""

from __future__ import annotations

from rollback.act.programs import ask, tell, words
from rollback.model.component import Service
from rollback.model.errors import HostError
from rollback.model.registry import Kind, register
from rollback.observe.view import View

_STOPPED = 3


@register("service", "command")
class CommandService(Kind):
    """`argv: [bin/control]` is run as `bin/control start` in the root of the system."""

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program says that it runs."""
        if self.identity(name, service, view):
            return f"{name} was running already"
        told = tell(view, (*_argv(service), "start"), within_s=within_s)
        self._expect(name, service, view, runs=True, within_s=within_s)
        return told

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program says that it is stopped."""
        if not self.identity(name, service, view):
            return f"{name} was stopped already"
        told = tell(view, (*_argv(service), "stop"), within_s=within_s)
        self._expect(name, service, view, runs=False, within_s=within_s)
        return told

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program was told to reload, or the declared one ran."""
        if not self.identity(name, service, view):
            raise HostError(f"{name} is not running and cannot be reloaded", where=name)
        own = service.reload.argv if service.reload is not None else None
        return tell(view, own or (*_argv(service), "reload"), within_s=within_s)

    def identity(self, name: str, service: Service, view: View) -> str:
        """What the program says of itself. Raises: HostError when it cannot tell."""
        done = ask(view, (*_argv(service), "status"))
        if done.status == 0:
            return words(done)[:200] or "running"
        if done.status == _STOPPED:
            return ""
        raise HostError(
            f"status ends with {done.status}: whether {name} runs cannot be established",
            where=service.argv[0] if service.argv else name,
            hint="it must end with 0 for running and 3 for stopped",
        )  # fmt: skip

    def _expect(
        self, name: str, service: Service, view: View, *, runs: bool, within_s: float
    ) -> None:
        clock = view.host.clock
        if not clock.poll(
            lambda: bool(self.identity(name, service, view)) is runs, within_s=within_s, every_s=0.1
        ):
            raise HostError(f"{name} {'does not run' if runs else 'still runs'}", where=name)


def _argv(service: Service) -> tuple[str, ...]:
    return tuple(service.argv or next((m.argv for m in service.start if m.argv), ()))
