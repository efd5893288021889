"""What keeps copies, and how each is asked for the same work: our store, and the tools beside it.

Every tool has a live tree of its own. `rollback` is in process, as the engine runs it; `rollback-cli`
is the whole command, start included: there a restore is a whole run, with a checkpoint of the present
before it and the smoke suite after it.

Hides: options, environments, and what has to be made before a first copy.
Never: goes easy on ours: a peer is asked in the fastest way that leaves the right tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import rollback.kinds  # noqa: F401 - registers every kind
from rollback import declare
from rollback.act.site import Site
from rollback.host import Host

DECLARATION = """\
schema: 1
system: {{id: bench, title: Bench, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}}
root: live
components:
  data: {{path: data, content: files, restore: {restore}}}
people:
  owner: keeper
  roles: {{keeper: {{title: Keeper}}}}
  members: [{{id: operator, roles: [keeper]}}]
levels:
  all:
    rank: 1
    title: All
    budgets: {{complete: 10m, mitigated: 10m}}
    data_loss: all since the checkpoint
    authority: {{roles: [keeper], alone: true}}
    target: {{sources: [{{checkpoint: newest}}]}}
    steps: [{{restore: {{component: data}}}}]
    gate: {{suites: [smoke]}}
verification:
  smoke:
    - files: {{id: there, exists: [data]}}
"""
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}


def run(
    *words: str | Path, cwd: Path | None = None, home: Path | None = None,
    ok: tuple[int, ...] = (0,),
) -> None:  # fmt: skip
    """The program ended well; what it caches lies in `home`."""
    kept = str(home or cwd or "/nonexistent")
    environment = {**os.environ, "RESTIC_PASSWORD": "bench", "BORG_UNENCRYPTED_REPO": "",
                   "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                   "BORG_BASE_DIR": kept, "RESTIC_CACHE_DIR": f"{kept}/.cache"}  # fmt: skip
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is installed there is bytecode
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, check=False, **_QUIET
    )  # type: ignore[call-overload]
    if done.returncode not in ok:
        raise RuntimeError(f"{words}: {done.stderr.decode()[-300:]}")


class Tool:
    """One way to keep a copy; `base` holds its live tree in `live/data` and whatever it keeps.

    `does` are the operations it takes part in: those in which it says something to the aims.
    `spared` are shapes and operations among them in which it takes long and says nothing to any.
    """

    id: ClassVar[str]
    does: ClassVar[tuple[str, ...]]
    spared: ClassVar[frozenset[tuple[str, str]]] = frozenset()

    def __init__(self, base: Path) -> None:
        self.base = base
        self.live = base / "live"
        self.data = self.live / "data"

    @classmethod
    def absent(cls) -> str:
        """Why it cannot be measured on this machine; "" when it can."""
        return "" if shutil.which(cls.id) else "it is not installed"

    @classmethod
    def version(cls) -> str:
        """What it calls itself."""
        done = subprocess.run([cls.id, "--version"], capture_output=True, check=False, text=True)
        return (done.stdout or done.stderr).splitlines()[0]

    def prepare(self) -> None:
        """What is made once, before a first copy, is there."""

    def first(self) -> None:
        """A first copy of everything."""
        raise NotImplementedError

    def again(self) -> None:
        """Another copy, of what may have changed."""
        self.first()

    def ready(self) -> None:
        """What is made ready between two uses is ready; not measured."""

    def in_place(self) -> None:
        """The live tree is as the newest copy."""
        raise NotImplementedError

    def full(self) -> None:
        """The live tree comes back where nothing stands."""
        self.in_place()

    def dry_run(self) -> None:
        """What a restore would change is known."""
        raise NotImplementedError

    def verify(self) -> None:
        """Every byte that is kept was read."""
        raise NotImplementedError


EVERYTHING = (
    "first", "no_change", "changed_1pct", "dry_run", "in_place", "full_restore", "verify",
)  # fmt: skip


class Ours(Tool):
    """In process: what `checkpoint` and the step `restore` call."""

    id = "rollback"
    does = EVERYTHING
    restore = "in-place"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        base.mkdir(parents=True, exist_ok=True)
        (base / "rollback.yaml").write_text(DECLARATION.format(restore=self.restore))
        self._turn = 0

    @classmethod
    def absent(cls) -> str:
        return ""

    @classmethod
    def version(cls) -> str:
        return "this checkout"

    def _on(self, work: Callable[[Any], object]) -> None:
        system = declare.load(self.base / "rollback.yaml", environ={})
        with Site.open(system, Host()) as site:
            work(site.checkpoints)

    def first(self) -> None:
        self._on(lambda kept: kept.create())

    def _back(self, *, differs: bool = False) -> None:
        self._turn += 1
        self._on(lambda kept: kept.restore("newest", "data", step=f"s{self._turn}",
                                           differs=differs))  # fmt: skip

    def in_place(self) -> None:
        self._back()

    def dry_run(self) -> None:
        self._on(lambda kept: kept.diff("newest"))

    def verify(self) -> None:
        self._on(lambda kept: kept.verify("newest", deep=True))


class Standby(Ours):
    """In process, with a standby: the step `restore` of a component that has one."""

    id = "rollback-standby"
    does = ("standby", "standby_all")
    restore = "standby"

    def ready(self) -> None:
        self._on(lambda kept: kept.refresh_standby("newest"))

    def in_place(self) -> None:
        self._back(differs=True)


class Command(Ours):
    """The whole command; a restore is a run, with a checkpoint of the present before it."""

    id = "rollback-cli"
    does = ("first", "no_change", "changed_1pct", "dry_run", "in_place", "verify")

    def _say(self, *words: str, ok: tuple[int, ...] = (0,)) -> None:
        run(sys.executable, "-m", "rollback", *words, cwd=self.base, ok=ok)

    def first(self) -> None:
        self._say("checkpoint", "create")

    def in_place(self) -> None:
        self._say("run", "all", "--to", "newest", "--yes", "--as", "operator")

    def dry_run(self) -> None:
        self._say("checkpoint", "diff", "newest")

    def verify(self) -> None:
        self._say("checkpoint", "verify", "newest", "--deep")


class StandbyCommand(Command):
    """The whole command, with a standby."""

    id = "rollback-cli-standby"
    does = ("standby",)
    restore = "standby"

    def ready(self) -> None:
        Standby.ready(self)  # type: ignore[arg-type]  # the same declaration, in process


class Restic(Tool):
    """`restic`, by default settings: encrypted, not synced by itself."""

    id = "restic"
    does = EVERYTHING
    program = os.environ.get("RESTIC") or "restic"

    @classmethod
    def absent(cls) -> str:
        if not shutil.which(cls.program):
            return "it is not installed; RESTIC=PROGRAM takes one that lies elsewhere"
        told = subprocess.run([cls.program, "restore", "--help"], capture_output=True, check=False)
        if b"--delete" not in told.stdout:
            return "it is older than 0.17 and cannot restore in place; RESTIC=PROGRAM takes another"
        return ""

    @classmethod
    def version(cls) -> str:
        done = subprocess.run([cls.program, "version"], capture_output=True, check=False, text=True)
        return done.stdout.splitlines()[0]

    def _say(self, *words: str | Path, cwd: Path | None = None) -> None:
        repository = ("-q", "-r", self.base / "kept")
        run(self.program, *repository, *words, cwd=cwd or self.base, home=self.base)

    def prepare(self) -> None:
        self._say("init")

    def first(self) -> None:
        self._say("backup", ".", cwd=self.live)

    def in_place(self) -> None:
        self._say("restore", "latest", "--target", self.live, "--delete",
                  "--overwrite", "if-changed")  # fmt: skip

    def dry_run(self) -> None:
        self._say("restore", "latest", "--target", self.live, "--delete", "--dry-run")

    def verify(self) -> None:
        self._say("check", "--read-data")


class Borg(Tool):
    """`borg`: it cannot delete what is extra, so it has no restore in place."""

    id = "borg"
    does = ("first", "no_change", "changed_1pct")
    _turn = 0

    def prepare(self) -> None:
        run("borg", "init", "-e", "none", self.base / "kept", cwd=self.base)

    def first(self) -> None:
        self._turn += 1
        archive = f"{self.base / 'kept'}::c{self._turn}"
        run("borg", "create", archive, "data", cwd=self.live, home=self.base)


class Git(Tool):
    """`git`: `reset --hard`; modes, times, owners and empty folders are lost."""

    id = "git"
    does = ("no_change", "changed_1pct", "dry_run", "in_place", "standby", "standby_all")
    spared = frozenset({("one_big_file", "changed_1pct"), ("one_big_file", "dry_run")})

    def _say(self, *words: str) -> None:
        run("git", "-c", "gc.auto=0", "-c", "user.name=b", "-c", "user.email=b@example.invalid",
            *words, cwd=self.data, ok=(0, 1))  # fmt: skip

    def prepare(self) -> None:
        self._say("init", "-q")

    def first(self) -> None:
        self._say("add", "-A")
        self._say("commit", "-q", "--allow-empty", "-m", "c")

    def in_place(self) -> None:
        self._say("reset", "-q", "--hard")

    def dry_run(self) -> None:
        self._say("status", "--porcelain")


class Rsync(Tool):
    """`rsync -a --delete --fsync` from a plain copy, which is made without `--fsync`."""

    id = "rsync"
    does = ("no_change", "changed_1pct", "dry_run", "in_place")

    def first(self) -> None:
        run("rsync", "-a", "--delete", f"{self.data}/", self.base / "kept")

    def in_place(self) -> None:
        run("rsync", "-a", "--delete", "--fsync", f"{self.base / 'kept'}/", self.data)

    def dry_run(self) -> None:
        run("rsync", "-a", "--delete", "-n", "-i", f"{self.base / 'kept'}/", self.data)


class Tar(Tool):
    """The runbooks' way: `rm -rf`, then `tar x`."""

    id = "tar"
    does = ("in_place",)

    def first(self) -> None:
        run("tar", "-C", self.live, "-cf", self.base / "kept.tar", "data")

    def in_place(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        run("tar", "-C", self.live, "-xpf", self.base / "kept.tar")


class Copy(Tool):
    """`cp -a`."""

    id = "cp"
    does = ("full_restore",)

    def first(self) -> None:
        shutil.rmtree(self.base / "kept", ignore_errors=True)
        run("cp", "-a", self.data, self.base / "kept")

    def full(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        run("cp", "-a", self.base / "kept", self.data)


TOOLS: tuple[type[Tool], ...] = (
    Ours, Command, Standby, StandbyCommand, Restic, Borg, Git, Rsync, Tar, Copy,
)  # fmt: skip
