"""The demo system: a small multi-agent studio that really runs, with releases that are bad in different ways.

Hides: how the directory of a studio is laid out and how a release is deployed to it.
Never: starts or stops its services; that is the business of whoever reads the declaration.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

from drills.sandboxes import studio_history
from rollback.model.errors import CommandFailed, PlanError, UsageError

DECLARATION = Path(__file__).resolve().parents[2] / "systems" / "studio.yaml"
VENDOR = studio_history.RELEASES / "vendor"
AGENTS = ("planner", "builder", "reviewer")
SEED_SESSIONS = 12
COMMAND_WITHIN_S = 30.0
GIT_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Studio Release",
    "GIT_AUTHOR_EMAIL": "release@studio.example",
    "GIT_COMMITTER_NAME": "Studio Release",
    "GIT_COMMITTER_EMAIL": "release@studio.example",
}


@dataclass(frozen=True)
class Studio:
    """A studio in a directory of its own.

    In it: `studio/` (the root), `origin.git`, `vendor/`, `studio.env`, `rollback.yaml`.
    """

    directory: Path

    FAULTS: ClassVar[dict[str, str]] = {
        "errors-5xx": "v2.0.0",
        "slow": "v2.0.0-slow",
        "memory-leak": "v2.0.0-leak",
        "wrong-configuration": "v2.0.0-limits",
        "corrupt-state": "v2.0.0-corrupt",
        "context-leak": "v2.0.0-context-leak",
        "refuses-to-start": "v2.0.0-no-start",
        "damaged-knowledge": "v2.0.0-knowledge",
    }

    @classmethod
    def build(cls, directory: Path) -> Self:
        """The directory holds a studio at v1.0.0 with a dozen finished sessions; nothing runs yet."""
        directory = directory.absolute()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            filled = any(directory.iterdir())
        except OSError as error:
            raise UsageError(
                f"no studio can be built here: {error.strerror}", where=str(directory),
                hint="name a new folder in a place that may be written",
            ) from error  # fmt: skip
        if filled:
            raise UsageError(
                "the directory is not empty", where=str(directory), hint="name a new one"
            )
        studio = cls(directory)
        studio.declaration.write_bytes(DECLARATION.read_bytes())
        router_port, knowledge_port = _free_ports(2)
        (directory / "studio.env").write_text(
            f"ROUTER_PORT={router_port}\nKNOWLEDGE_PORT={knowledge_port}\nPYTHON={_python()}\n"
        )
        (directory / "vendor").mkdir()
        studio._deliver_catalogue("catalogue-1.json")
        studio._make_repositories()
        for folder in ("logs", "run", *(f"data/queue/{agent}" for agent in AGENTS)):
            (studio.root / folder).mkdir(parents=True)
        (studio.root / ".env").write_text("# Switches of this machine; they win over config/.\n")
        (studio.root / "logs" / "access.jsonl").touch()
        studio._migrate()
        studio._seed()
        return studio

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The studio that was built there."""
        studio = cls(directory.absolute())
        if not (studio.directory / "studio.env").is_file():
            raise UsageError("there is no studio here", where=str(directory), hint="build one")
        return studio

    @property
    def declaration(self) -> Path:
        return self.directory / "rollback.yaml"

    @property
    def root(self) -> Path:
        return self.directory / "studio"

    @property
    def environment(self) -> dict[str, str]:
        lines = (self.directory / "studio.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def router_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['ROUTER_PORT']}"

    @property
    def knowledge_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['KNOWLEDGE_PORT']}"

    def ship(self, release: str, restart: Callable[[], None]) -> None:
        """`main` is the release, here and in the origin; its files are in place, migrated and restarted."""
        self._git("fetch", "--no-tags", "origin", f"+refs/tags/{release}:refs/tags/{release}")
        try:
            self._git("merge-base", "--is-ancestor", "main", release)
        except CommandFailed as failed:
            raise PlanError(
                f"main cannot be fast-forwarded to {release}",
                where=str(self.root),
                hint="build a new studio for another release",
            ) from failed
        self._git("checkout", "--force", "-B", "main", f"{release}^{{commit}}")
        self._git("push", "origin", "main")
        self._migrate()
        restart()

    def allow_runs(self, a_day: int) -> None:
        """This studio's own declaration allows that many runs a day; for drills that need many.

        Before anything has pinned the declaration: its guardrails cannot be changed in passing.
        """
        text = self.declaration.read_text()
        said = re.search(r"^  rate_limit: \{max: (\d+),", text, re.MULTILINE)
        assert said is not None, "the studio declares no rate_limit"
        self.declaration.write_text(
            text[: said.start(1)] + str(max(a_day, int(said[1]))) + text[said.end(1) :]
        )

    def break_restored_version(self) -> None:
        """The vendor delivers format 2, which releases 2.0 can read and v1.0.0 cannot."""
        self._deliver_catalogue("catalogue-2.json")

    @property
    def good_catalogue(self) -> tuple[Path, Path]:
        """The file that every version can read, and where the vendor delivers it."""
        return VENDOR / "catalogue-1.json", self.directory / "vendor" / "catalogue.json"

    def _deliver_catalogue(self, name: str) -> None:
        aside = self.directory / "vendor" / ".catalogue.json"
        aside.write_bytes((VENDOR / name).read_bytes())
        aside.rename(self.directory / "vendor" / "catalogue.json")

    def _make_repositories(self) -> None:
        origin = str(self.directory / "origin.git")
        _git(self.directory, "init", "--bare", "--template=", "--initial-branch=main", origin)
        _git(self.directory, f"--git-dir={origin}", "fast-import", given=studio_history.stream())
        # Copied objects, not linked ones: what happens to one repository leaves the other alone.
        _git(
            self.directory,
            *("clone", "--no-hardlinks", "--no-tags", "--template=", origin, str(self.root)),
        )
        self._git("fetch", "--no-tags", "origin", "refs/tags/v1.0.0:refs/tags/v1.0.0")
        config = self.root / ".git" / "config"
        with config.open("a") as file:
            file.write("[user]\n\tname = Studio Release\n\temail = release@studio.example\n")
            file.write("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")

    def _migrate(self) -> None:
        _run([_python(), "-I", "app/migrate.py"], self.root, dict(GIT_ENVIRONMENT))

    def _seed(self) -> None:
        """Finished sessions, stored and audited as the studio itself does it."""
        start_ms = time.time_ns() // 1_000_000 - SEED_SESSIONS * 60_000
        audit: list[dict[str, object]] = []
        with closing(sqlite3.connect(self.root / "data" / "state.db")) as db, db:
            for number in range(SEED_SESSIONS):
                at_ms = start_ms + number * 60_000
                audit += _seed_session(db, number, at_ms)
        lines = (json.dumps(entry, separators=(",", ":")) + "\n" for entry in audit)
        (self.root / "logs" / "audit.jsonl").write_text("".join(lines))

    def _git(self, *arguments: str) -> None:
        _git(self.root, *arguments)


def _seed_session(db: sqlite3.Connection, number: int, at_ms: int) -> list[dict[str, object]]:
    identity = hashlib.sha256(f"seed {number}".encode()).hexdigest()[:12]
    mode, agents = ("party", AGENTS) if number % 2 else ("single", ("builder",))
    task = f"task {number} of the first day"
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    stamp: dict[str, object] = {"at": at.replace("+00:00", "Z")}
    audit = [{**stamp, "event": "SESSION_START", "sessionId": identity, "mode": mode}]
    output = task
    for position, agent in enumerate(agents):
        output = f"{agent.title()}\n  {output}"
        row = (identity, position, agent, output, json.dumps([identity]))
        db.execute("insert into rounds values (?, ?, ?, ?, ?)", row)
        done = {"event": "ROUND", "sessionId": identity, "round": position, "agent": agent}
        audit.append({**stamp, **done})
    digest = hashlib.sha256(f"{identity}\n{output}".encode()).hexdigest()
    db.execute(
        "insert into sessions values (?, ?, ?, ?, 'done', null, 'done', ?, ?, ?)",
        (identity, task, mode, json.dumps(agents), output, digest, at_ms),
    )
    audit.append({**stamp, "event": "SESSION_END", "sessionId": identity, "reason": "done"})
    return audit


def _python() -> str:
    """The interpreter itself: without an environment's site directory it starts faster."""
    return os.path.realpath(sys.executable)


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on; all are held until the last is chosen, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _git(directory: Path, *arguments: str, given: bytes = b"") -> None:
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"]
    _run([*command, *arguments], directory, GIT_ENVIRONMENT, given)


def _run(argv: list[str], directory: Path, environment: dict[str, str], given: bytes = b"") -> None:
    done = subprocess.run(
        argv,
        cwd=directory,
        env=environment,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_WITHIN_S,
        check=False,
    )
    if done.returncode:
        tail = done.stdout.decode("utf-8", "replace")[-2000:]
        raise CommandFailed(
            f"{' '.join(argv[:6])} … ended with status {done.returncode}: {tail.strip()}",
            argv=tuple(argv),
            status=done.returncode,
            tail=tail,
        )
