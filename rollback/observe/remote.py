"""A declared host, as testinfra reaches it: by ssh, in a container, in a pod, or right here.

Hides: testinfra's ways of connecting, and that it answers "False" where it could not ask.
Never: asks for a password; believes a service manager that is not there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from rollback.model.component import HostDeclared
from rollback.model.errors import HostUnreachable, UsageError
from rollback.observe.expect import shown

HERE = "local://"
_SAID_MAX = 200
# What tells that each manager is there, in the order in which it is asked.
_MANAGER = (
    "if [ -d /run/systemd/system ]; then echo systemd; "
    "elif command -v rc-service >/dev/null 2>&1; then echo openrc; fi"
)


def reached(hosts: Mapping[str, HostDeclared], name: str) -> Any:
    """A testinfra host that has answered just now; "" is this machine.

    Its `service(…)` raises where no service manager is, instead of answering False.
    Raises: UsageError for a name that is not declared, HostUnreachable.
    """
    if name and name not in hosts:
        known = ", ".join(sorted(hosts)) or "none is declared"
        raise UsageError(f"host {name} is not declared", hint=f"hosts: {known}")
    found = importlib.import_module("testinfra").get_host(
        hosts[name].connection if name else HERE, **_options(hosts[name] if name else None)
    )
    said = run(found, _MANAGER, name)
    _guarded(found, str(said.stdout).strip(), name or "this machine")
    return found


def run(host: Any, script: str, name: str) -> Any:
    """What a shell there made of the script: `rc`, `stdout`, `stderr`. Raises: HostUnreachable."""
    try:
        done = host.run(script)
    except (RuntimeError, OSError, AssertionError, ValueError) as error:
        raise HostUnreachable(f"host {name}: {_why(error)}") from None
    if done.rc == 127 or (done.rc and not done.stdout):
        raise HostUnreachable(f"host {name}: {_said(done)}")
    return done


def _options(declared: HostDeclared | None) -> dict[str, Any]:
    if declared is None or urlsplit(declared.connection).scheme != "ssh":
        return {}
    # A password that somebody has to type would be waited for in vain; and a connection that is kept
    # open for the next question is a process that outlives the suite.
    return {"ssh_extra_args": "-o BatchMode=yes", "controlpersist": 0}


def _guarded(host: Any, manager: str, name: str) -> None:
    service = host.service

    def asked(unit: str) -> Any:
        if not manager:
            raise HostUnreachable(
                f"{name} has no service manager (neither systemd nor OpenRC): nobody knows there "
                f"whether {unit} runs",
                hint="ask a port, a process or an address instead",
            )
        return service(unit)

    host.service = asked


def _why(error: Exception) -> str:
    result = error.args[0] if error.args else ""
    return _said(result) if hasattr(result, "stderr") else shown(str(error), limit=_SAID_MAX)


def _said(done: Any) -> str:
    words = str(done.stderr).strip().splitlines()
    return shown(words[-1] if words else f"it ended with {done.rc}", limit=_SAID_MAX)
