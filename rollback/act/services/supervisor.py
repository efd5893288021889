"""Services that are programs of supervisord.

Hides: supervisorctl.
Never: takes a program that supervisord does not know for a stopped one.
"""

from __future__ import annotations

from typing import ClassVar

from rollback.act.programs import ask, tell, words
from rollback.model.component import Service
from rollback.model.errors import HostError, Unmanaged
from rollback.model.registry import Kind, register
from rollback.observe.service import Running
from rollback.observe.view import View

_RUNS = ("RUNNING", "STARTING", "STOPPING", "BACKOFF")
_RESTS = ("STOPPED", "EXITED", "FATAL")


@register("service", "supervisor")
class SupervisorService(Kind):
    """`unit` is the name that supervisord knows."""

    own_environment: ClassVar[bool] = True

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program runs."""
        if self.look(name, service, view):
            return f"{name} was running already"
        told = tell(view, ("supervisorctl", "start", _unit(service)), within_s=within_s)
        self._expect(name, service, view, runs=True)
        return told

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program has ended."""
        if not self.look(name, service, view):
            return f"{name} was stopped already"
        told = tell(view, ("supervisorctl", "stop", _unit(service)), within_s=within_s)
        self._expect(name, service, view, runs=False)
        return told

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The program got the declared signal, or the declared program ran."""
        if not self.look(name, service, view):
            raise HostError(f"{name} is not running and cannot be reloaded", where=name)
        if service.reload is None:
            raise HostError(f"{name} declares no way to reload", where=name,
                            hint="declare reload: {signal: HUP}")  # fmt: skip
        argv = service.reload.argv or ("supervisorctl", "signal", str(service.reload.signal),
                                       _unit(service))  # fmt: skip
        return tell(view, argv, within_s=within_s)

    def look(self, name: str, service: Service, view: View) -> Running | None:
        """State and process as supervisord tells them. Raises: Unmanaged for an unknown program."""
        said = words(ask(view, ("supervisorctl", "status", _unit(service))))
        found = [line.split(None, 2) for line in said.splitlines()]
        states = [parts for parts in found if len(parts) >= 2 and parts[0] == _unit(service)]
        state = states[0][1] if states else ""
        if state in _RUNS:
            rest = states[0][2] if len(states[0]) > 2 else ""
            return Running(rest.split(",")[0] or state, "" if state == "RUNNING" else f"is {state}")
        if state in _RESTS:
            return None
        unknown = f"{_unit(service)}: ERROR (no such process)" in said
        raise (Unmanaged if unknown else HostError)(
            f"supervisord does not {'know' if unknown else 'tell of'} {_unit(service)}: whether {name} "
            "runs cannot be established", where=_unit(service), hint="look with: supervisorctl status",
        )  # fmt: skip

    def _expect(self, name: str, service: Service, view: View, *, runs: bool) -> None:
        if bool(self.look(name, service, view)) is not runs:
            raise HostError(f"{name} {'does not run' if runs else 'still runs'}", where=name,
                            hint=f"look with: supervisorctl tail {_unit(service)}")  # fmt: skip


def _unit(service: Service) -> str:
    assert service.unit is not None, "proved by the declaration"
    return service.unit
