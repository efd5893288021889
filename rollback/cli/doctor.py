"""`rollback doctor`: every problem of this machine, each with what to type.

Hides: how each thing is found out.
Never: repairs; leaves anything behind; takes what it could not find out for good.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, size, table
from rollback.model.quantity import counted, spoken

PYTHON_MIN = (3, 11)
SQLITE_WAL_FIXED = (
    3,
    51,
    3,
)  # older ones may damage a WAL database that two processes reset at once
NODE_MIN = 20
FREE_BYTES_MIN = 64 * 2**20
YEAR_MIN = 2025
FUTURE_S_MAX = 300.0
PASS, FAIL, UNKNOWN, ADVICE = "PASS", "FAIL", "UNKNOWN", "ADVICE"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at. `needed`: without it the tool cannot do its work."""

    what: str
    found: str
    said: str
    needed: bool = True
    hint: str = ""

    @property
    def answer(self) -> str:
        """What was found; a failure of what is not needed is advice."""
        return ADVICE if self.found == FAIL and not self.needed else self.found


@click.command("doctor", short_help="Every problem of this machine.")
@pass_desk
def command(desk: Desk) -> int:
    """Look at the kernel, the programs, the state directory, and what the declaration needs here.

    Exit 7 when something that is needed fails. What could not be found out is UNKNOWN; what is not
    needed and could be better is ADVICE.
    """
    rows = [*_machine(desk), *_tools(), *_here(desk)]
    bad = [row for row in rows if row.answer == FAIL and row.needed]
    body = {
        "healthy": not bad,
        "findings": [
            {"what": r.what, "answer": r.answer.lower(), "evidence": r.said, "needed": r.needed,
             "hint": r.hint} for r in rows
        ],
    }  # fmt: skip
    desk.out(body, lambda: _lines(rows, len(bad)))
    return 7 if bad else 0


def _lines(rows: list[Row], bad: int) -> list[str]:
    cells = [(r.answer, "yes" if r.needed else "-", r.what, r.said) for r in rows]
    lines = table(("answer", "needed", "what", "found"), cells)
    for row in rows:
        if row.answer != PASS and row.hint:
            lines.append(f"  {safe(row.what)}: try: {safe(row.hint)}")
    count = sum(1 for row in rows if row.answer != PASS)
    ready = f"ready; {counted(count, 'thing')} could be better" if count else "ready"
    return [*lines, ready if not bad else f"not ready: of what is needed, {bad} failed"]


def _asked(what: str, ask: Callable[[], Row], *, needed: bool = True) -> Row:
    """The row; UNKNOWN when the question itself fails."""
    from rollback.model.errors import RollbackError

    try:
        return ask()
    except (RollbackError, OSError, ValueError, AttributeError, ImportError) as error:
        return Row(what, UNKNOWN, str(error) or type(error).__name__, needed)


# -- the machine -----------------------------------------------------------------------------


def _machine(desk: Desk) -> Iterator[Row]:
    linux = sys.platform == "linux"
    yield Row("system", PASS if linux else FAIL, f"{sys.platform} {os.uname().release}",
              hint="rollback runs on Linux only")  # fmt: skip
    found = ".".join(str(part) for part in sys.version_info[:3])
    yield Row("python", PASS if sys.version_info >= PYTHON_MIN else FAIL, found,
              hint="install Python 3.11 or newer")  # fmt: skip
    yield _asked("openat2", lambda: _openat2(desk))
    yield _asked("pidfd", _pidfd)
    yield _asked("exchange", lambda: _exchange(desk), needed=False)
    yield _asked("clock", lambda: _clock(desk))
    yield _asked("sqlite", _sqlite, needed=False)
    yield _asked("libgit2", _libgit2)
    yield _bytecode()


def _openat2(desk: Desk) -> Row:
    with desk.host.tree(tempfile.gettempdir()) as tree:
        tree.names()
    return Row("openat2", PASS, "paths are resolved by the kernel, without links",
               hint="use Linux 5.6 or newer; in a container, allow the call openat2")  # fmt: skip


def _pidfd() -> Row:
    os.close(os.pidfd_open(os.getpid()))
    return Row("pidfd", PASS, "processes are held by descriptor, not by number")


def _exchange(desk: Desk) -> Row:
    """Tried for real, where the tool keeps its state if that is there already."""
    from rollback.model.errors import RollbackError

    state = _state_path(desk)
    folder = str(state) if state and state.is_dir() else tempfile.gettempdir()
    name = f".rollback-doctor-{desk.host.token(4)}"
    hint = "restores work without it; standbys need another file system: --state DIR"
    with desk.host.tree(folder) as parent:
        parent.make_folder(name)
        try:
            with parent.sub(name) as tree:
                tree.write("one", b"1", sync=False)
                tree.write("two", b"2", sync=False)
                try:
                    tree.exchange("one", "two")
                    swapped = tree.read("one") == b"2"
                except (OSError, RollbackError) as error:
                    return Row("exchange", FAIL, str(error), needed=False, hint=hint)
                finally:
                    tree.unlink("one")
                    tree.unlink("two")
        finally:
            parent.remove_folder(name)
    said = f"two names change places in one instant in {folder}"
    return Row("exchange", PASS if swapped else FAIL, said, needed=False, hint=hint)


def _clock(desk: Desk) -> Row:
    now = desk.host.clock.now()
    hint = "set the clock: timedatectl set-ntp true"
    if now.year < YEAR_MIN:
        return Row("clock", FAIL, f"it says {now:%Y-%m-%d}", hint=hint)
    newest = max((p.stat().st_mtime for p in _known_files(desk) if p.exists()), default=0.0)
    ahead = newest - now.timestamp()
    if ahead > FUTURE_S_MAX:
        return Row("clock", FAIL, f"files of ours are {spoken(ahead)} in its future", hint=hint)
    return Row("clock", PASS, f"{now:%Y-%m-%dT%H:%M:%SZ}")


def _known_files(desk: Desk) -> Iterator[Path]:
    yield desk.declaration
    yield Path(__file__)
    state = _state_path(desk)
    if state:
        yield state / "journal" / "events.jsonl"


def _sqlite() -> Row:
    from rollback.host import database

    ((version,),) = database.query("/dev/null", "select sqlite_version()")
    assert isinstance(version, str)
    parts = tuple(int(part) for part in version.split("."))
    said = f"{version}; our own state is no database"
    if parts >= SQLITE_WAL_FIXED:
        return Row("sqlite", PASS, said, needed=False)
    return Row("sqlite", FAIL, f"{version} has the WAL-reset fault; our own state is no database",
               needed=False, hint="managed WAL databases are safer with SQLite 3.51.3 or newer")  # fmt: skip


def _libgit2() -> Row:
    from rollback.keep import git_open  # noqa: F401 - only `keep` imports the library

    version = str(sys.modules["pygit2"].LIBGIT2_VERSION)
    return Row("libgit2", PASS, version)


def _bytecode() -> Row:
    cached = __spec__.cached is not None and Path(__spec__.cached).is_file()
    said = "present" if cached else "missing: every start takes about three times as long"
    unset = "unset PYTHONDONTWRITEBYTECODE; " if sys.flags.dont_write_bytecode else ""
    hint = f"{unset}{sys.executable} -m compileall -q {Path(__file__).parent.parent}"
    return Row("bytecode", PASS if cached else FAIL, said, needed=False, hint=hint)


# -- programs ---------------------------------------------------------------------------------


def _tools() -> Iterator[Row]:
    yield _program("git", "only the demo and the tests need it", "apt-get install git")
    yield _program("ssh-keygen", "signs and checks approvals", "apt-get install openssh-client")
    yield _asked("node", _node, needed=False)


def _program(name: str, why: str, hint: str) -> Row:
    found = shutil.which(name)
    return Row(
        name, PASS if found else FAIL, f"{found or 'not found'}; {why}", needed=False, hint=hint
    )


def _node() -> Row:
    from rollback.host.processes import base_environment, run

    why = "makes HTML of Allure results"
    found = shutil.which("node")
    hint = f"install Node.js {NODE_MIN} or newer"
    if not found:
        return Row("node", FAIL, f"not found; {why}", needed=False, hint=hint)
    done = run([found, "--version"], cwd="/", timeout_s=10.0, environment=base_environment())
    version = done.stdout.decode("utf-8", "replace").strip()
    new = version[1:].partition(".")[0].isdigit() and int(version[1:].partition(".")[0]) >= NODE_MIN
    return Row("node", PASS if new else FAIL, f"{version}; {why}", needed=False, hint=hint)


# -- this system -------------------------------------------------------------------------------


def _here(desk: Desk) -> Iterator[Row]:
    from rollback.model.errors import SpecError

    if not desk.declaration.exists():
        yield Row("declaration", UNKNOWN, f"there is no {desk.declaration.name} here", needed=False,
                  hint="rollback init writes one")  # fmt: skip
        return
    try:
        system = desk.system
    except SpecError as error:
        yield Row("declaration", FAIL, str(error), hint="rollback validate names every problem")
        return
    yield Row("declaration", PASS, f"{system.system.id}: {counted(len(system.levels), 'level')}")
    yield _asked("root", lambda: _root(system))
    yield from _state(desk, system)
    yield from _writes(desk, system)
    yield from _argvs(system)
    yield from _ports(desk, system)
    yield from _copies(desk, system)
    if any(one.on == "schedule" for one in system.checkpoints.kinds.values()):
        yield _asked("schedule", lambda: _schedule(desk), needed=False)
    if any(one.export for one in system.checkpoints.kinds.values()):
        yield _asked("exports", lambda: _exports(desk), needed=False)
    if system.state_path.is_dir():
        yield _asked("store", lambda: _store(desk))


def _copies(desk: Desk, system: Any) -> Iterator[Row]:
    """Every declared further place for checkpoints: its folder, and what its references name."""
    from rollback.act.copying import copies_of
    from rollback.model.errors import RollbackError

    if not system.checkpoints.stores:
        return
    with desk.look() as site:
        copies = copies_of(site)
        for name in copies.declared:
            what = f"copies {name}"
            try:
                yield Row(what, PASS, copies.ready(name))
            except (RollbackError, OSError) as error:
                hint = error.hint if isinstance(error, RollbackError) else ""
                yield Row(what, FAIL, str(error), hint=hint)


def _schedule(desk: Desk) -> Row:
    from rollback.act.keeping import missed

    with desk.look() as site:
        late = missed(site)
    said = "; ".join(f"{one.kind}: {one.missed}" for one in late) or "every checkpoint is on time"
    return Row("schedule", FAIL if late else PASS, said, needed=False,
               hint="let cron type every minute: rollback checkpoint due")  # fmt: skip


def _exports(desk: Desk) -> Row:
    from rollback.act.exporting import exports

    with desk.look() as site:
        late = [one for one in exports(site) if one.problem]
    said = "; ".join(f"{one.kind}: {one.problem}" for one in late) or "every export is on time"
    return Row("exports", FAIL if late else PASS, said, needed=False,
               hint="let cron type every minute: rollback checkpoint due")  # fmt: skip


def _store(desk: Desk) -> Row:
    """What the slices that were read again have found."""
    from rollback.act.upkeep import damaged

    with desk.look() as site:
        found = damaged(site)
    if found is None:
        return Row("store", PASS, "nothing is known to be damaged")
    return Row("store", FAIL, f"damaged: {found['why']}",
               hint="find its bytes elsewhere: rollback checkpoint verify --repair")  # fmt: skip


def _state_path(desk: Desk) -> Path | None:
    from rollback.model.errors import RollbackError

    try:
        return desk.system.state_path
    except RollbackError:
        return None


def _root(system: Any) -> Row:
    there = system.root_path.is_dir()
    return Row("root", PASS if there else FAIL, str(system.root_path),
               hint=f"the declared root is no folder: ls -ld {system.root_path}")  # fmt: skip


def _state(desk: Desk, system: Any) -> Iterator[Row]:
    path = system.state_path
    nearest = path if path.is_dir() else path.parent
    if not path.is_dir():
        yield Row("state", PASS, f"{path} comes into being with the first checkpoint or run")
    else:
        found = path.lstat()
        private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        yield Row("state", PASS if private else FAIL, f"{path} {stat.filemode(found.st_mode)}",
                  hint=f"it must be yours alone: chmod 700 {path}")  # fmt: skip
    if not nearest.is_dir():
        yield Row("state folder", FAIL, f"{nearest} is no folder", hint=f"mkdir -p {nearest}")
        return
    same = system.root_path.is_dir() and nearest.stat().st_dev == system.root_path.stat().st_dev
    yield Row("one file system", PASS if same else FAIL,
              "state and root" if same else "state and root are on two: nothing can be moved aside",
              hint="put the state directory on the file system of the root: --state DIR")  # fmt: skip
    free = desk.host.free_bytes(str(nearest))
    yield Row("free space", PASS if free >= FREE_BYTES_MIN else FAIL, size(free),
              hint=f"at least {size(FREE_BYTES_MIN)}: rollback checkpoint list, then delete")  # fmt: skip


def _writes(desk: Desk, system: Any) -> Iterator[Row]:
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
            yield _asked(f"write {what}", partial(_write, f"write {what}", path))


def _nearest(path: Path) -> Path:
    """The path, or the folder in which it would come into being."""
    return path if path.exists() else path.parent


def _write(what: str, path: Path) -> Row:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return Row(what, FAIL, f"{path} lies on a read-only mount",
                   hint=f"findmnt -T {path}; then mount it for writing: mount -o remount,rw …")  # fmt: skip
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        owner = path.stat()
        said = f"{path} {stat.filemode(owner.st_mode)} of uid {owner.st_uid}, and we are {os.geteuid()}"
        return Row(what, FAIL, f"may not be read and written: {said}",
                   hint=f"run as its owner, or let us write there: ls -ld {path}")  # fmt: skip
    return Row(what, PASS, str(path))


def _argvs(system: Any) -> Iterator[Row]:
    """Every program that a declared command starts with."""
    seen: dict[str, str] = {}
    for where, argv in _find_argv((), system.source):
        seen.setdefault(argv[0], where)
    for program, where in sorted(seen.items()):
        if "/" in program and not program.startswith("/"):
            found: str | None = str(system.root_path / program)
            found = found if found and os.access(found, os.X_OK) else None
        else:
            found = shutil.which(program)
        yield Row(f"program {program}", PASS if found else FAIL, f"{found or 'not there'}; {where}",
                  hint=f"install it, or correct {where}")  # fmt: skip


def _find_argv(where: tuple[str, ...], value: Any) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, dict):
        if "planned" in value:
            return
        for key, one in value.items():
            if key == "argv" and isinstance(one, list) and one and isinstance(one[0], str):
                yield ".".join(where), one
            else:
                yield from _find_argv((*where, str(key)), one)
    elif isinstance(value, (list, tuple)):
        for index, one in enumerate(value):
            name = one.get("id", index) if isinstance(one, dict) else index
            yield from _find_argv((*where, str(name)), one)


def _ports(desk: Desk, system: Any) -> Iterator[Row]:
    for name, service in system.services.items():
        for port in service.ports:
            first = port == service.ports[0]
            yield _asked(f"port {port}", partial(_port, desk, system, name, port, first=first))


def _port(desk: Desk, system: Any, name: str, port: int, *, first: bool) -> Row:
    """Free while the service does not run, taken while it does; anything else is somebody else."""
    from rollback.act import service
    from rollback.host import net
    from rollback.model.errors import HostError
    from rollback.observe.view import View

    what = f"port {port}"
    taken = net.listening(service.LOOPBACK, port)
    view = View(system, desk.host)
    try:
        instead = service.port(view, name) if first else 0
        runs = service.running(view, name)
    except HostError:
        if not taken:
            raise
        runs, instead = False, 0  # nobody holds the lock of the service, and somebody has its port
    if runs and instead:
        return Row(what, PASS, f"{'taken by somebody else' if taken else 'free'}; {name} runs on its "
                   f"fallback port {instead}")  # fmt: skip
    if taken and not runs:
        return Row(what, FAIL, f"taken, and {name} does not run",
                   hint=f"find out who holds it: ss -ltnp 'sport = :{port}'")  # fmt: skip
    if runs and not taken:
        return Row(what, UNKNOWN, f"{name} runs and does not listen yet",
                   hint="look again in a moment")  # fmt: skip
    return Row(what, PASS, f"held by {name}" if runs else f"free for {name}")
