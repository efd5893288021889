"""What is remembered of a service that could not be started the plain way.

A service that has several ways to start, or whose first port was somebody else's, leaves a record in
the state directory: from before its program begins until it is started the plain way again.

Hides: where the record lies.
Never: says whether the service runs; its manager does.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from dataclasses import asdict, dataclass

from rollback.host import Host
from rollback.host.below import remedy
from rollback.keep.state import StateDir
from rollback.model.errors import HostError, JournalError
from rollback.model.event import canonical
from rollback.model.system import System

FOLDER = "services"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Started:
    """How a service was started last. `way` is the id of its start method.

    `port` was taken in place of `first`, which the sockets `foreign` had (see net.listeners); 0 where
    it runs on its first. `process` is what its manager calls it; "" until it was ready.
    """

    way: str = ""
    first: int = 0
    port: int = 0
    process: str = ""
    foreign: tuple[str, ...] = ()


def nothing(system: System) -> bool:
    """True when it is certain that nothing is remembered of any service."""
    try:
        os.stat(system.state_path / FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # it cannot be looked at: that is not the same
    return False


def read(system: System, host: Host, service: str) -> Started | None:
    """What is remembered of the service since this machine was started; None when nothing is.

    Raises: HostError when that cannot be told.
    """
    if nothing(system):
        return None
    name = _name(system, service)
    try:
        with host.tree(str(system.state_path)) as state:
            body = json.loads(state.read(name))
        if body["format"] != FORMAT:
            raise ValueError(f"its format is {body['format']}, not {FORMAT}")
        found = Started(str(body["way"]), int(body["first"]), int(body["port"]),
                        str(body["process"]), tuple(map(str, body["foreign"])))  # fmt: skip
        return found if body["boot"] == host.clock.boot() else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HostError(
            f"how {service} was started cannot be read: {error}",
            where=str(system.state_path / name),
            hint=f"end {service} by hand, remove this file, and start it again",
        ) from error  # fmt: skip


def keep(system: System, host: Host, service: str, started: Started) -> None:
    """This is remembered of the service, durably. Again: the same record. Raises: JournalError."""
    body = {"format": FORMAT, "service": service, "root": str(system.root_path),
            "boot": host.clock.boot(), **asdict(started)}  # fmt: skip
    with closing(StateDir.open(system, host)) as state:
        try:
            state.tree.make_folder(FOLDER)
            state.tree.sweep(FOLDER)
            state.tree.write(_name(system, service), canonical(body))
        except OSError as error:
            raise _unwritten(system, error) from error


def forget(system: System, host: Host, service: str) -> None:
    """Nothing is remembered of the service. Raises: JournalError."""
    if nothing(system):
        return
    with closing(StateDir.open(system, host)) as state:
        try:
            state.tree.sweep(FOLDER)
            if state.tree.stat(_name(system, service)) is not None:
                state.tree.unlink(_name(system, service))
                state.tree.sync_folder(FOLDER)
        except OSError as error:
            raise _unwritten(system, error) from error


def _name(system: System, service: str) -> str:
    """A record for each root: the same service in another environment is another process."""
    root = hashlib.sha256(os.fsencode(system.root_path)).hexdigest()[:16]
    return f"{FOLDER}/{service}.{root}.json"


def _unwritten(system: System, error: OSError) -> JournalError:
    return JournalError(
        f"how a service was started cannot be written down: {error.strerror}",
        where=str(system.state_path / FOLDER),
        hint=f"{remedy(error, str(system.state_path / FOLDER))}; then try again",
    )  # fmt: skip
