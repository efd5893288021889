"""The live process behind a declared service, and what it and its children use.

Hides: psutil, and how the identity of a process is established.
Never: finds a process by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rollback.host.processes import Holder, holder
from rollback.model.errors import HostError, PlanError
from rollback.model.registry import nearest
from rollback.observe.view import View


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
    declared = view.system.services.get(service)
    if declared is None:
        raise PlanError(
            f"there is no service {service}", hint=nearest(service, tuple(view.system.services))
        )
    if declared.lock is None:
        raise HostError(f"service {service} has no lock: which process it is cannot be known")
    found = holder(str(view.root / declared.lock))
    if found is None:
        yield None
        return
    with found:
        yield found


def usage(pid: int) -> Usage | None:
    """What the process uses; None when it has ended. Call it while its Holder is open.

    Raises: HostError when this user may not look.
    """
    import psutil  # 10 ms that most questions do not need

    try:
        leader = psutil.Process(pid)
        frozen = leader.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
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
    return Usage(memory_bytes, descriptors, 1 + len(family), frozen)
