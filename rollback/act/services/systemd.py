"""Services that are units of systemd.

Hides: systemctl.
Never: takes a unit that systemd does not know for a stopped one.
"""

from __future__ import annotations

import os
from typing import ClassVar

from rollback.act.programs import ask, tell, words
from rollback.model.component import Service
from rollback.model.errors import HostError, Unmanaged
from rollback.model.registry import Kind, register
from rollback.observe.service import Running
from rollback.observe.view import View

_FIELDS = "LoadState,ActiveState,SubState,MainPID,InvocationID"
_BOOTED = "/run/systemd/system"  # there while systemd is the init of this machine: sd_booted(3)


@register("service", "systemd")
class SystemdService(Kind):
    """`unit` is the name that systemd knows."""

    own_environment: ClassVar[bool] = True

    def start(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The unit is active."""
        if self.look(name, service, view):
            return f"{name} was running already"
        told = tell(view, ("systemctl", "start", "--", _unit(service)), within_s=within_s)
        self._expect(name, service, view, runs=True, within_s=within_s)
        return told

    def stop(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The unit is inactive."""
        if not self.look(name, service, view):
            return f"{name} was stopped already"
        told = tell(view, ("systemctl", "stop", "--", _unit(service)), within_s=within_s)
        self._expect(name, service, view, runs=False, within_s=within_s)
        return told

    def reload(self, name: str, service: Service, view: View, *, within_s: float) -> str:
        """The unit was told to reload."""
        if not self.look(name, service, view):
            raise HostError(f"{name} is not running and cannot be reloaded", where=name)
        return tell(view, ("systemctl", "reload", "--", _unit(service)), within_s=within_s)

    def look(self, name: str, service: Service, view: View) -> Running | None:
        """The invocation of the unit. Raises: Unmanaged for a unit that is not loaded."""
        argv = ("systemctl", "show", f"--property={_FIELDS}", "--", _unit(service))
        done = ask(view, argv)
        fields = dict(line.split("=", 1) for line in words(done).splitlines() if "=" in line)
        rests = fields.get("ActiveState") in (
            "inactive",
            "failed",
        )  # one without a file may still run
        unknown = (
            not os.path.isdir(_BOOTED)
            if done.status
            else fields.get("LoadState") == "not-found" and rests
        )
        if done.status != 0 or fields.get("LoadState") not in ("loaded", "masked"):
            raise (Unmanaged if unknown else HostError)(
                f"systemd does not know {_unit(service)}: whether {name} runs cannot be established",
                where=_unit(service), hint="correct services.NAME.unit, or run: systemctl daemon-reload",
            )  # fmt: skip
        state = fields.get("ActiveState", "")
        if state in ("active", "reloading", "activating", "deactivating"):
            up = state in ("active", "reloading")
            sub = fields.get("SubState", "?")
            process = fields.get("InvocationID") or f"pid {fields.get('MainPID', '?')}"
            return Running(process, "" if up else f"is {state} ({sub})", empty=sub == "exited")
        return None

    def _expect(
        self, name: str, service: Service, view: View, *, runs: bool, within_s: float
    ) -> None:
        clock = view.host.clock
        if not clock.poll(
            lambda: bool(self.look(name, service, view)) is runs, within_s=within_s, every_s=0.1
        ):
            raise HostError(f"{name} {'does not run' if runs else 'still runs'}", where=name,
                            hint=f"look with: systemctl status {_unit(service)}")  # fmt: skip


def _unit(service: Service) -> str:
    assert service.unit is not None, "proved by the declaration"
    return service.unit
