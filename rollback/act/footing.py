"""What the declared system needs of this machine: its folders, programs, ports and places.

Hides: how each thing is found out.
Never: repairs; leaves anything behind; takes what it could not find out for good.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback.act.row import Row, asked, row
from rollback.host import Host
from rollback.model.errors import HostError, RollbackError
from rollback.model.finding import failed, passed, unknown
from rollback.model.quantity import sized
from rollback.model.system import System

if TYPE_CHECKING:  # what is looked at may be what is broken: it is brought in when it is asked
    from rollback.act.site import Site

FREE_BYTES_MIN = 64 * 2**20
_CRON = "let cron type every minute: rollback checkpoint due"


def rows(
    system: System, host: Host, look: Callable[[], AbstractContextManager[Site]]
) -> Iterator[Row]:
    """Every row. `look` opens the site for reading, where a row needs one."""
    kinds = system.checkpoints.kinds.values()
    yield asked("root", lambda: _root(system))
    yield from _state(system, host)
    yield from _writes(system)
    yield from _programs(system)
    yield from _ports(system, host)
    if system.checkpoints.stores:
        with look() as site:
            yield from _copies(site)
    if any(one.on == "schedule" for one in kinds):
        yield asked("schedule", lambda: _schedule(look), needed=False)
    if any(one.export for one in kinds):
        yield asked("exports", lambda: _exports(look), needed=False)
    if system.state_path.is_dir():
        yield asked("store", lambda: _store(look))


def _root(system: System) -> Row:
    return row("root", system.root_path.is_dir(), str(system.root_path),
               hint=f"the declared root is no folder: ls -ld {system.root_path}")  # fmt: skip


def _state(system: System, host: Host) -> Iterator[Row]:
    path = system.state_path
    nearest = path if path.is_dir() else path.parent
    if not path.is_dir():
        yield row("state", True, f"{path} comes into being with the first checkpoint or run")
    else:
        found = path.lstat()
        private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        yield row("state", private, f"{path} {stat.filemode(found.st_mode)}",
                  hint=f"it must be yours alone: chmod 700 {path}")  # fmt: skip
    if not nearest.is_dir():
        yield row("state folder", False, f"{nearest} is no folder", hint=f"mkdir -p {nearest}")
        return
    same = system.root_path.is_dir() and nearest.stat().st_dev == system.root_path.stat().st_dev
    yield row("one file system", same,
              "state and root" if same else "state and root are on two: nothing can be moved aside",
              hint="put the state directory on the file system of the root: --state DIR")  # fmt: skip
    free = host.free_bytes(str(nearest))
    yield row("free space", free >= FREE_BYTES_MIN, sized(free),
              hint=f"at least {sized(FREE_BYTES_MIN)}: rollback checkpoint list, then delete")  # fmt: skip


def _writes(system: System) -> Iterator[Row]:
    """Every folder that a rollback writes in: the root, the state, the components, the places."""
    seen = {"root": system.root_path, "state": _nearest(system.state_path)}
    for name, component in system.components.items():
        if component.path != "." and (system.root_path / component.path).exists():
            seen[f"component {name}"] = system.root_path / component.path
    for name, place in system.places.items():
        if {"write", "archive", "clear"} & set(place.may):
            seen[f"place {name}"] = _nearest(system.declaration.parent / place.path)
    for what, path in seen.items():
        if path.exists():
            yield asked(f"write {what}", partial(_write, f"write {what}", path))


def _nearest(path: Path) -> Path:
    """The path, or the folder in which it would come into being."""
    return path if path.exists() else path.parent


def _write(what: str, path: Path) -> Row:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return row(what, False, f"{path} lies on a read-only mount",
                   hint=f"findmnt -T {path}; then mount it for writing: mount -o remount,rw …")  # fmt: skip
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        owner = path.stat()
        said = f"{path} {stat.filemode(owner.st_mode)} of uid {owner.st_uid}, and we are {os.geteuid()}"
        return row(what, False, f"may not be read and written: {said}",
                   hint=f"run as its owner, or let us write there: ls -ld {path}")  # fmt: skip
    return row(what, True, str(path))


def _programs(system: System) -> Iterator[Row]:
    """Every program that a declared command starts with."""
    seen: dict[str, str] = {}
    for where, argv in _argvs((), system.source):
        seen.setdefault(argv[0], where)
    for program, where in sorted(seen.items()):
        if "/" in program and not program.startswith("/"):
            below = str(system.root_path / program)
            found = below if os.access(below, os.X_OK) else None
        else:
            found = shutil.which(program)
        yield row(f"program {program}", bool(found), f"{found or 'not there'}; {where}",
                  hint=f"install it, or correct {where}")  # fmt: skip


def _argvs(where: tuple[str, ...], value: Any) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, dict):
        if "planned" in value:
            return
        for key, one in value.items():
            if key == "argv" and isinstance(one, list) and one and isinstance(one[0], str):
                yield ".".join(where), one
            else:
                yield from _argvs((*where, str(key)), one)
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            name = one.get("id", index) if isinstance(one, dict) else index
            yield from _argvs((*where, str(name)), one)


def _ports(system: System, host: Host) -> Iterator[Row]:
    for name, service in system.services.items():
        for port in service.ports:
            first = port == service.ports[0]
            yield asked(f"port {port}", partial(_port, system, host, name, port, first=first))


def _port(system: System, host: Host, name: str, port: int, *, first: bool) -> Row:
    """Free while the service does not run, taken while it does; anything else is somebody else."""
    from rollback.act import service
    from rollback.host import net
    from rollback.observe.view import View

    what = f"port {port}"
    taken = net.listening(service.LOOPBACK, port)
    view = View(system, host)
    try:
        instead = service.port(view, name) if first else 0
        runs = service.running(view, name)
    except HostError:
        if not taken:
            raise
        runs, instead = False, 0  # nobody holds the lock of the service, and somebody has its port
    if runs and instead:
        return row(what, True, f"{'taken by somebody else' if taken else 'free'}; {name} runs on its "
                   f"fallback port {instead}")  # fmt: skip
    if taken and not runs:
        return row(what, False, f"taken, and {name} does not run",
                   hint=f"find out who holds it: ss -ltnp 'sport = :{port}'")  # fmt: skip
    if runs and not taken:
        return Row(what, unknown(f"{name} runs and does not listen yet"), "look again in a moment")
    return row(what, True, f"held by {name}" if runs else f"free for {name}")


def _copies(site: Site) -> Iterator[Row]:
    """Every declared further place for checkpoints: its folder, and what its references name."""
    from rollback.act.copying import copies_of

    copies = copies_of(site)
    for name in copies.declared:
        try:
            yield Row(f"copies {name}", passed(copies.ready(name)))
        except (RollbackError, OSError) as error:
            hint = error.hint if isinstance(error, RollbackError) else ""
            yield Row(f"copies {name}", failed(str(error)), hint)


def _schedule(look: Callable[[], AbstractContextManager[Site]]) -> Row:
    from rollback.act.keeping import missed

    with look() as site:
        late = missed(site)
    said = "; ".join(f"{one.kind}: {one.missed}" for one in late) or "every checkpoint is on time"
    return row("schedule", not late, said, needed=False, hint=_CRON)


def _exports(look: Callable[[], AbstractContextManager[Site]]) -> Row:
    from rollback.act.exporting import exports

    with look() as site:
        late = [one for one in exports(site) if one.problem]
    said = "; ".join(f"{one.kind}: {one.problem}" for one in late) or "every export is on time"
    return row("exports", not late, said, needed=False, hint=_CRON)


def _store(look: Callable[[], AbstractContextManager[Site]]) -> Row:
    """What the slices that were read again have found."""
    from rollback.act.upkeep import damaged

    with look() as site:
        found = damaged(site)
    if found is None:
        return row("store", True, "nothing is known to be damaged")
    return row("store", False, f"damaged: {found['why']}",
               hint="find its bytes elsewhere: rollback checkpoint verify --repair")  # fmt: skip
