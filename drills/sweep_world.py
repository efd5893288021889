"""The small, really running system of the kill sweep: files, git, SQLite, a flag, one service.

It is built once per level up to an authorised run, kept as a template, and put back at the same
absolute path before every point, so that a point costs milliseconds.

Hides: how it is laid out, made, put back, and looked at from outside of the product.
Never: leaves a process: whoever holds the lock of its service is ended through a pidfd.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import rollback.kinds  # noqa: F401 - registers every kind
from drills.faults.watchdog import end_holders, holders
from drills.sandboxes.studio import GIT_ENVIRONMENT
from rollback import declare
from rollback.act import authorize, service
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.host import Host
from rollback.model.system import System
from rollback.observe.view import View

DECLARATION = Path(__file__).with_name("sweep_system.yaml")
RUN = "r0001"
KNOWLEDGE_FILES = 40
AGENT_FILES = 40  # the settings of as many agents; release 2.0 changes all but the first two
GATE = "    gate: {suites: [smoke], settle: 0s}\n"
SERVE = """trap '' HUP
echo start >> logs/starts
exec sleep 600
"""


@dataclass(frozen=True)
class Case:
    """One way back that is swept. `component` and `variant` as `rollback run` takes them.

    Without its gate a run ends MITIGATED; with it, after a real suite and the report, COMPLETE.
    """

    id: str
    level: str
    variant: str = ""
    component: str = ""
    gated: bool = False

    @property
    def whole(self) -> Case:
        """The same way back with everything that follows it: the gate, its suite, the report."""
        return self if self.gated else replace(self, id=f"{self.id}-whole", gated=True)


CASES = (
    Case("flag", "flag"),
    Case("configuration", "configuration"),
    Case("code-revert", "code", "revert"),
    Case("code-reset", "code", "reset"),
    Case("full-restore", "full-restore"),
    Case("component", "component", component="knowledge"),
    Case("gate", "flag", gated=True),
)

# What each component is made of; `git` is judged apart.
COMPONENTS = {
    "code": ("app",),
    "config": ("config",),
    "knowledge": ("knowledge",),
    "state": ("data",),
    "flag": (".env",),
}


class World:
    """One case in a folder of its own; `folder` is always the same path, put back from `template`."""

    def __init__(self, base: Path, case: Case) -> None:
        self.case = case
        self.folder = base / "world"
        self.template = base / "template"

    @property
    def root(self) -> Path:
        return self.folder / "site"

    @property
    def state(self) -> Path:
        return self.folder / ".rollback"

    @property
    def lock(self) -> Path:
        return self.root / "run" / "app.lock"

    def build(self) -> None:
        """The template holds the system after a bad release, with an authorised run back."""
        self.folder.mkdir(parents=True)
        text = DECLARATION.read_text()
        declared = text if self.case.gated else text.replace(GATE, "")
        (self.folder / "rollback.yaml").write_text(declared)
        _fill(self.root)
        _history(self.folder, self.root)
        host = Host()
        self.start()
        with Site.open(self.system(), host) as site:
            site.checkpoints.create("good", kind="release", components=None, reason="sweep")
            _spoil(self.root)
            plan = make_plan(
                site, self.case.level, run=RUN, requester="someone", variant=self.case.variant,
                component=self.case.component, reason="sweep",
            )  # fmt: skip
            run = authorize.create(site, plan)
            authorize.approve(site, run, person="someone", note="sweep")
            site.note(site.run(RUN), "run.authorized", by=["someone"])
        self.stop()
        (self.root / "logs" / "starts").unlink()
        os.rename(self.folder, self.template)
        self.put_back()

    def system(self) -> System:
        """The declaration of the world, loaded."""
        return declare.load(self.folder / "rollback.yaml", environ={})

    def put_back(self) -> None:
        """The world is as the template, and its service runs, as it does before a rollback."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        _copy(self.template, self.folder)
        self.start()

    def start(self) -> None:
        """The service runs, started as the product starts it."""
        system = self.system_once()
        service.start(View(system, Host()), "app", within_s=5.0)
        if not _until(lambda: self.starts() >= 1, 5.0):
            raise RuntimeError("the service of the sweep does not start")

    def system_once(self) -> System:
        """The declaration, loaded once: it is the same for every point."""
        found = getattr(self, "_system", None)
        if found is None:
            found = self._system = self.system()
        return found

    def stop(self) -> None:
        """Nobody holds the lock of the service."""
        end_holders(self.lock)

    def settled(self, starts: int) -> None:
        """A service that was just started has had time to say so."""
        _until(lambda: self.starts() >= starts, 5.0)

    def starts(self) -> int:
        """How often the service has started, as it says itself."""
        with suppress(FileNotFoundError):
            return (self.root / "logs" / "starts").read_bytes().count(b"\n")
        return 0

    def remove(self) -> None:
        """No process and no file of the world is left."""
        self.stop()
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    # -- looking, without the product ------------------------------------------------------

    def components(self) -> dict[str, dict[str, str]]:
        """What stands in each component: path to type, mode, owner and digest."""
        return {
            name: {key: value for path in paths for key, value in walked(self.root / path)}
            for name, paths in COMPONENTS.items()
        }

    def git(self) -> dict[str, str]:
        """Head, every ref here and in the origin, index entries and object names, told by git."""
        found = {"head": (self.root / ".git" / "HEAD").read_text().strip()}
        for name, where in (("refs", self.root), ("origin", self.folder / "origin.git")):
            found[name] = _git(where, "for-each-ref", "--format=%(refname) %(objectname)")
        found["index"] = _git(self.root, "ls-files", "-s")
        found["dirty"] = _git(self.root, "status", "--porcelain")
        found["broken"] = _git(self.root, "fsck", "--connectivity-only", "--no-dangling")
        return found

    def running(self) -> bool:
        """True while some process has the locked file of the service open."""
        return bool(holders(self.lock))

    def leavings(self) -> list[str]:
        """Temporary files of writers that are gone, anywhere in the world."""
        found = []
        for path in sorted(self.folder.rglob("*")):
            name = path.name
            below = path.relative_to(self.folder).as_posix()
            if (
                name.startswith((".rollback-tmp-", "tmp_obj_", "sqlite-copy"))
                or (name.endswith(".lock") and ".git/" in below + "/" and path.is_file())
                or (below.startswith(".rollback/intents/") and path.is_file())
                or (name == "stage" and "quarantine" in below)
            ):
                found.append(below)
        return found


def walked(path: Path) -> Iterator[tuple[str, str]]:
    """Everything at and below `path`, links not followed: type, mode, owner, content."""
    status = os.lstat(path) if os.path.lexists(path) else None
    if status is None:
        return
    body = b""
    if stat.S_ISREG(status.st_mode):
        body = path.read_bytes()
    elif stat.S_ISLNK(status.st_mode):
        body = os.readlink(os.fsencode(path))
    digest = hashlib.sha256(body).hexdigest()[:16]
    yield str(path), f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {digest}"
    if stat.S_ISDIR(status.st_mode):
        for name in sorted(os.listdir(path)):
            yield from walked(path / name)


def _until(ask: object, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not ask():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True, timeout=30)


# -- making it --------------------------------------------------------------------------------


def _fill(root: Path) -> None:
    """Version 1 of everything."""
    for folder in ("app", "config", "knowledge/notes", "data", "logs", "run"):
        (root / folder).mkdir(parents=True)
    (root / "app" / "serve.sh").write_text(SERVE)
    (root / "app" / "logic.txt").write_text("one\n" * 3)
    (root / "app" / "rules.txt").write_text("rule\n")
    (root / "config" / "config.yaml").write_text("party:\n  enabled: true\nlimit: 100\n")
    (root / "config" / "team.csv").write_text("name\nplanner\n")
    _agents(root, range(AGENT_FILES), limit=100)
    (root / ".env").write_text("# switches\nPARTY=true\n")
    (root / ".gitignore").write_text("run/\nlogs/\ndata/\nknowledge/\n.env\n")
    for number in range(KNOWLEDGE_FILES):
        (root / "knowledge" / "notes" / f"{number:02}.md").write_text(f"note {number}\n")
    (root / "knowledge" / "index").symlink_to("notes/00.md")
    os.link(root / "knowledge/notes/01.md", root / "knowledge/notes/01-again.md")
    with closing(sqlite3.connect(root / "data" / "state.db")) as db, db:
        db.execute("create table sessions (id integer primary key, text)")
        db.executemany("insert into sessions (text) values (?)", [(f"s{n}",) for n in range(50)])


def _agents(root: Path, numbers: Iterable[int], *, limit: int) -> None:
    """The settings of these agents."""
    (root / "config" / "agents").mkdir(exist_ok=True)
    for number in numbers:
        text = f"agent: {number}\nlimit: {limit}\n"
        (root / "config" / "agents" / f"{number:02}.yaml").write_text(text)


def _spoil(root: Path) -> None:
    """What the bad release did to what is not under version control."""
    notes = root / "knowledge" / "notes"
    for number in range(4, KNOWLEDGE_FILES):
        (notes / f"{number:02}.md").write_text(f"damaged {number}\n")
    (notes / "02.md").unlink()
    (notes / "03.md").chmod(0o600)
    (notes / "extra.md").write_text("not asked for\n")
    (root / "knowledge" / "index").unlink()
    (root / "knowledge" / "index").symlink_to("notes/extra.md")
    with closing(sqlite3.connect(root / "data" / "state.db")) as db, db:
        db.execute("delete from sessions where id % 2")


def _history(folder: Path, root: Path) -> None:
    """v1.0.0, then a release 2.0 of two commits with an unrelated one between, pushed."""
    origin = folder / "origin.git"
    _git(folder, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(origin))
    _git(folder, "init", "--quiet", "--template=", "--initial-branch=main", str(root))
    with (root / ".git" / "config").open("a") as file:
        file.write("[user]\n\tname = Sweep\n\temail = sweep@studio.example\n[gc]\n\tauto = 0\n")
    _git(root, "remote", "add", "origin", str(origin))
    _commit(root, "the first release")
    _git(root, "tag", "--annotate", "--message=1.0.0", "v1.0.0")
    (root / "app" / "logic.txt").write_text("two\n" * 3)
    (root / "app" / "added.txt").write_text("new in 2.0\n")
    _agents(root, range(2, AGENT_FILES // 2), limit=7)
    _commit(root, "release 2.0: logic")
    (root / "app" / "elsewhere.txt").write_text("unrelated\n")
    _commit(root, "unrelated work")
    (root / "config" / "config.yaml").write_text("party:\n  enabled: true\nlimit: 1\n")
    (root / "app" / "rules.txt").unlink()
    _agents(root, range(AGENT_FILES // 2, AGENT_FILES + 1), limit=1)
    (root / "config" / "agents" / f"{AGENT_FILES - 1:02}.yaml").unlink()
    _commit(root, "release 2.0: limits")
    _git(root, "push", "--quiet", "origin", "main", "v1.0.0")


def _commit(root: Path, message: str) -> None:
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", f"--message={message}")


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *arguments],
        cwd=directory, env={**GIT_ENVIRONMENT, "GIT_OPTIONAL_LOCKS": "0"}, capture_output=True,
        timeout=30, check=False,
    )  # fmt: skip
    if done.returncode and arguments[0] not in ("fsck", "status"):
        raise RuntimeError(f"git {arguments[0]}: {done.stderr.decode()}")
    return (done.stdout + (done.stderr if done.returncode else b"")).decode().strip()


def base_folder() -> Path:
    """A fresh folder in memory where there is one: a sweep writes much and keeps nothing."""
    import tempfile

    shared = Path("/dev/shm")
    above = shared if os.access(shared, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix=f"rollback-sweep-{os.getpid()}-", dir=above))
