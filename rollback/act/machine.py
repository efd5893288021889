"""What the tool needs of this machine, whatever is declared: kernel, clock, libraries, programs.

Hides: how each thing is found out.
Never: repairs; leaves anything behind; takes what it could not find out for good.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rollback.act.row import Row, asked, row
from rollback.host import Host
from rollback.model.errors import RollbackError
from rollback.model.quantity import spoken

PYTHON_MIN = (3, 11)
SQLITE_WAL_FIXED = (
    3,
    51,
    3,
)  # older: two processes that reset a WAL at once may damage the database
NODE_MIN = 20
YEAR_MIN = 2025
FUTURE_S_MAX = 300.0


def rows(host: Host, state: Path | None, ours: tuple[Path, ...]) -> Iterator[Row]:
    """Every row. `state` is where our files are to be; `ours` were written by a clock like this one."""
    yield row("system", sys.platform == "linux", f"{sys.platform} {os.uname().release}",
              hint="rollback runs on Linux only")  # fmt: skip
    found = ".".join(str(part) for part in sys.version_info[:3])
    yield row("python", sys.version_info >= PYTHON_MIN, found, hint="install Python 3.11 or newer")
    yield asked("openat2", lambda: _openat2(host))
    yield asked("pidfd", _pidfd)
    yield asked("exchange", lambda: _exchange(host, state), needed=False)
    yield asked("clock", lambda: _clock(host, ours))
    yield asked("sqlite", _sqlite, needed=False)
    yield asked("libgit2", _libgit2)
    yield _bytecode()
    yield _program("git", "only the demo and the tests need it", "apt-get install git")
    yield _program("ssh-keygen", "signs and checks approvals", "apt-get install openssh-client")
    yield asked("node", _node, needed=False)


def _openat2(host: Host) -> Row:
    with host.tree(tempfile.gettempdir()) as tree:
        tree.names()
    return row("openat2", True, "paths are resolved by the kernel, without links",
               hint="use Linux 5.6 or newer; in a container, allow the call openat2")  # fmt: skip


def _pidfd() -> Row:
    os.close(os.pidfd_open(os.getpid()))
    return row("pidfd", True, "processes are held by descriptor, not by number")


def _exchange(host: Host, state: Path | None) -> Row:
    """Tried for real, where the tool keeps its state if that is there already."""
    folder = str(state) if state and state.is_dir() else tempfile.gettempdir()
    name = f".rollback-doctor-{host.token(4)}"
    hint = "restores work without it; standbys need another file system: --state DIR"
    with host.tree(folder) as parent:
        parent.make_folder(name)
        try:
            with parent.sub(name) as tree:
                tree.write("one", b"1", sync=False)
                tree.write("two", b"2", sync=False)
                try:
                    tree.exchange("one", "two")
                    swapped = tree.read("one") == b"2"
                except (OSError, RollbackError) as error:
                    return row("exchange", False, str(error), needed=False, hint=hint)
                finally:
                    tree.unlink("one")
                    tree.unlink("two")
        finally:
            parent.remove_folder(name)
    said = f"two names change places in one instant in {folder}"
    return row("exchange", swapped, said, needed=False, hint=hint)


def _clock(host: Host, ours: tuple[Path, ...]) -> Row:
    now = host.clock.now()
    hint = "set the clock: timedatectl set-ntp true"
    if now.year < YEAR_MIN:
        return row("clock", False, f"it says {now:%Y-%m-%d}", hint=hint)
    newest = max((path.stat().st_mtime for path in ours if path.exists()), default=0.0)
    ahead = newest - now.timestamp()
    if ahead > FUTURE_S_MAX:
        return row("clock", False, f"files of ours are {spoken(ahead)} in its future", hint=hint)
    return row("clock", True, f"{now:%Y-%m-%dT%H:%M:%SZ}")


def _sqlite() -> Row:
    from rollback.host import database

    ((version,),) = database.query("/dev/null", "select sqlite_version()")
    assert isinstance(version, str)
    fixed = tuple(int(part) for part in version.split(".")) >= SQLITE_WAL_FIXED
    said = version if fixed else f"{version} has the WAL-reset fault"
    return row("sqlite", fixed, f"{said}; our own state is no database", needed=False,
               hint="managed WAL databases are safer with SQLite 3.51.3 or newer")  # fmt: skip


def _libgit2() -> Row:
    from rollback.keep import git_open  # noqa: F401 - only `keep` imports the library

    return row("libgit2", True, str(sys.modules["pygit2"].LIBGIT2_VERSION))


def _bytecode() -> Row:
    spec = sys.modules["rollback"].__spec__  # what every start imports
    cached = bool(spec and spec.cached and Path(spec.cached).is_file())
    said = "present" if cached else "missing: every start takes about three times as long"
    unset = "unset PYTHONDONTWRITEBYTECODE; " if sys.flags.dont_write_bytecode else ""
    hint = f"{unset}{sys.executable} -m compileall -q {Path(__file__).parent.parent}"
    return row("bytecode", cached, said, needed=False, hint=hint)


def _program(name: str, why: str, hint: str) -> Row:
    found = shutil.which(name)
    return row(name, bool(found), f"{found or 'not found'}; {why}", needed=False, hint=hint)


def _node() -> Row:
    from rollback.host.processes import base_environment, run

    why = "makes HTML of Allure results"
    found = shutil.which("node")
    hint = f"install Node.js {NODE_MIN} or newer"
    if not found:
        return row("node", False, f"not found; {why}", needed=False, hint=hint)
    done = run([found, "--version"], cwd="/", timeout_s=10.0, environment=base_environment())
    version = done.stdout.decode("utf-8", "replace").strip()
    major = version[1:].partition(".")[0]
    new = major.isdigit() and int(major) >= NODE_MIN
    return row("node", new, f"{version}; {why}", needed=False, hint=hint)
