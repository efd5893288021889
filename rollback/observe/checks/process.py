"""Whether the declared processes live, and stay within memory and descriptors.

Hides: how a process is known: by the lock that it holds, else by its manager.
Never: takes a frozen process for a live one, or one that its manager starts again and again.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rollback.model.errors import PlanError
from rollback.model.finding import Finding, Json, Measured, failed, passed, unknown
from rollback.model.registry import register
from rollback.model.step import Check, Id
from rollback.observe.expect import Limits, combined, figure
from rollback.observe.service import Usage, declared, held_by, ours, usage
from rollback.observe.view import View

_MIB = 2**20


@register("check", "process")
class ProcessCheck(Check):
    """Every service holds its lock, and is within the limits with its children.

    One without a lock, or that has other ways to start, is up as its manager says (unit, service of
    the compose project, program of supervisord, control program); limits need a lock. `alive: false`
    turns the question round: none of them may run.
    """

    services: Annotated[tuple[Id, ...], Field(min_length=1)]
    alive: bool = True
    memory: Limits | None = None
    descriptors: Limits | None = None

    def ask(self, view: View) -> Finding:
        """PASS when every service answers for itself."""
        return combined(self._one(view, service) for service in self.services)

    def _one(self, view: View, service: str) -> Finding:
        try:
            one = declared(view.system, service)
            if one.lock is None:
                return self._as_managed(view, service)
            with held_by(view, service) as holder:
                used = usage(holder.pid) if holder is not None else None
                pid = holder.pid if holder is not None else 0
            if used is None and one.start:
                return self._as_managed(view, service)
        except PlanError as error:
            return unknown(f"{error.message}; {error.hint}")
        if used is None:
            told = f"{service} does not run: nobody holds its lock"
            return failed(told) if self.alive else passed(told)
        if not self.alive:
            return failed(f"{service} runs as process {pid}")
        return self._within_limits(service, pid, used)

    def _as_managed(self, view: View, service: str) -> Finding:
        """What its manager says. Raises: HostError when that cannot be found out."""
        found = ours(view, service)
        if found is None or found.runs is None:
            told = f"{service} does not run"
            return failed(told) if self.alive else passed(told)
        runs, manager = found.runs, found.way.service.manager
        if not self.alive:
            return failed(f"{service} runs, says {manager}: {runs.process}")
        if runs.trouble or runs.empty:
            why = runs.trouble or "is counted as active, but no process of it is left"
            return failed(f"{service} {why}, says {manager}")
        if self.memory is not None or self.descriptors is not None:
            return unknown(
                f"{service} runs, says {manager}; what it uses cannot be known without a lock"
            )
        return passed(f"{service} runs, says {manager}: {runs.process}")

    def _within_limits(self, service: str, pid: int, used: Usage) -> Finding:
        details: dict[str, Json] = {
            f"{service}.pid": pid, f"{service}.memory_bytes": used.memory_bytes,
            f"{service}.descriptors": used.descriptors,
        }  # fmt: skip
        wrong, broken = [], list[tuple[Measured, ...]]()
        if used.frozen:
            wrong.append("is stopped: it holds its lock and does nothing")
            broken.append(())
        if self.memory is not None and self.memory.why_not(used.memory_bytes):
            limit = _in_mib(self.memory.why_not(used.memory_bytes), used.memory_bytes)
            wrong.append(f"memory: {limit}")
            broken.append(self.memory.broken(f"memory of {service}", used.memory_bytes))
        if self.descriptors is not None and (reason := self.descriptors.why_not(used.descriptors)):
            wrong.append(f"descriptors: {reason}")
            broken.append(self.descriptors.broken(f"descriptors of {service}", used.descriptors))
        if wrong:
            finding = failed(f"{service} (process {pid}) {'; '.join(wrong)}", **details)
            return finding.beyond(*broken)
        return passed(
            f"{service} runs as process {pid}, {figure(used.memory_bytes / _MIB)} MiB, "
            f"{used.descriptors} descriptors", **details,
        )  # fmt: skip


def _in_mib(reason: str, memory_bytes: int) -> str:
    return f"{reason} bytes ({figure(memory_bytes / _MIB)} MiB)"
