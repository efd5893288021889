"""PostgreSQL through its own programs: psql, pg_dump, pg_restore.

Where a server is and who we are there stands in the environment of the programs, never in their
arguments, which everybody on the machine can read.

Hides: libpq's variables, psql's output, how one snapshot is held for two programs.
Never: uses a shell; believes a program that did not exit 0.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from rollback.host import reference
from rollback.host.processes import base_environment, position, run
from rollback.host.tap import Tap
from rollback.model.component import Database
from rollback.model.errors import CommandFailed, HostError

Row = dict[str, Any]
_REACHED = re.compile(
    r'connection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)? '
)
Heard = Callable[[int], None]  # of so many bytes
_QUIET = ("-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1")
# What a row looks like as text depends on these; fixed, two servers spell the same row alike.
_SPELLING = (
    "set datestyle = 'iso'; set intervalstyle = 'postgres'; set timezone = 'UTC'; "
    "set extra_float_digits = 3; set bytea_output = 'hex'; set row_security = off; "
    "set client_encoding = 'UTF8'; set client_min_messages = 'error';"
)


@dataclass(frozen=True)
class Server:
    """One database on one server, and who we are there. Units: `timeout_s` for each program."""

    database: str
    host: str = ""
    port: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    programs: str = ""
    timeout_s: float = 600.0
    tap: Tap = field(default_factory=Tap)

    @classmethod
    def of(cls, declared: Database, *, folder: str, tap: Tap) -> Server:
        """Where the declared database is, its references looked up now. Raises: HostError."""

        def value(written: str | None) -> str:
            return reference.value(written, folder=folder) if written else ""

        return cls(
            value(declared.name), host=value(declared.host), port=value(declared.port),
            user=value(declared.user), password=value(declared.password),
            programs=value(declared.programs), timeout_s=declared.within, tap=tap,
        )  # fmt: skip

    def on(self, database: str) -> Server:
        """The same server, another database."""
        return replace(self, database=database)

    @property
    def where(self) -> str:
        """For messages."""
        return f"database {self.database}"

    def environment(self) -> dict[str, str]:
        """What libpq reads."""
        given = {
            "PGDATABASE": self.database, "PGHOST": self.host, "PGPORT": self.port,
            "PGUSER": self.user, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "10",
            "PGAPPNAME": "rollback",
        }  # fmt: skip
        return base_environment({name: value for name, value in given.items() if value})

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return os.path.join(self.programs, name) if self.programs else name

    def call(
        self, name: str, arguments: Sequence[str] = (), *, stdin: bytes = b"",
        watch: Callable[[int], None] | None = None,
    ) -> bytes:  # fmt: skip
        """What the program printed. Raises: HostError with what the server said."""
        try:
            done = run([self.program(name), *arguments], cwd="/", timeout_s=self.timeout_s,
                       environment=self.environment(), stdin=stdin, tap=self.tap, watch=watch)  # fmt: skip
        except CommandFailed as error:
            raise HostError(f"{name} {error.message}", where=self.where,
                            hint="install PostgreSQL's client programs, or name their folder: "
                            "database: {programs: /usr/lib/postgresql/16/bin}") from error  # fmt: skip
        if done.timed_out:
            raise HostError(f"{name} did not end within {self.timeout_s:.0f} s", where=self.where)
        if done.status != 0:
            raise HostError(f"{name}: {_said(done.stderr, self)}", where=self.where)
        return done.stdout

    def do(self, sql: str) -> None:
        """The statements have been executed. Raises: HostError."""
        self.call("psql", _QUIET, stdin=f"{_SPELLING}\n{sql}".encode())

    def ask(self, sql: str) -> list[Row]:
        """The rows of a query. Raises: HostError."""
        return _rows(self.call("psql", _QUIET, stdin=f"{_SPELLING}\n{_as_json(sql)}".encode()))

    def look(self, sql: str, *, timeout_s: float) -> list[Row]:
        """The rows of a query that the server lets change nothing. Raises: HostError."""
        limited = replace(self, timeout_s=min(timeout_s, self.timeout_s))
        within_ms = max(1, int(timeout_s * 1000))
        asked = f"set statement_timeout = {within_ms}; begin read only;\n{_as_json(sql)}\nrollback;"
        return _rows(limited.call("psql", _QUIET, stdin=f"{_SPELLING}\n{asked}".encode()))

    def dump(self, path: str, *, moment: str, heard: Heard = lambda _bytes: None) -> None:
        """`path` is a dump, in PostgreSQL's custom format, of a moment that a session holds.

        `heard` is told now and then how many bytes it has, and at the end.
        """

        def watch(_pid: int) -> None:
            with suppress(OSError):
                heard(os.stat(path).st_size)

        self.call("pg_dump", ["--format=custom", "--compress=0", f"--snapshot={moment}",
                              "--lock-wait-timeout=10s", f"--file={path}"], watch=watch)  # fmt: skip
        watch(0)

    def schema(self, *, moment: str = "") -> bytes:
        """The statements that make everything but the rows, without what differs from call to call."""
        given = ["--schema-only"] + ([f"--snapshot={moment}"] if moment else [])
        lines = self.call("pg_dump", given).splitlines()
        return b"\n".join(line for line in lines if line and not line.startswith((b"--", b"\\")))

    def load(self, path: str, *, heard: Heard = lambda _bytes: None) -> None:
        """The dump has been read into this database, in one transaction. Raises: HostError.

        `heard` is told now and then how many of its bytes, and at the end.
        """
        farthest = 0

        def watch(pid: int) -> None:
            nonlocal farthest
            farthest = max(farthest, position(pid, path))  # it may have closed the file again
            heard(farthest)

        self.call("pg_restore", ["--exit-on-error", "--single-transaction", "--dbname=", path],
                  watch=watch)  # fmt: skip
        heard(os.stat(path).st_size)


class Session:
    """One psql that stays: its queries see one snapshot, which other programs may share."""

    def __init__(self, server: Server) -> None:
        self._server = server
        argv = [server.program("psql"), *_QUIET]
        try:
            self._process = server.tap.change("spawn", argv[0], lambda: subprocess.Popen(
                argv, cwd="/", env=server.environment(), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True))  # fmt: skip
        except OSError as error:
            raise HostError(f"psql cannot be started: {error.strerror}",
                            where=server.where) from error  # fmt: skip
        self.close_s = time.monotonic() + server.timeout_s

    def ask(self, sql: str) -> list[Row]:
        """The rows of a query, in this session's transaction. Raises: HostError."""
        return _rows(self._told(_as_json(sql)))

    def do(self, sql: str) -> None:
        """The statements have been executed in this session. Raises: HostError."""
        self._told(sql)

    def _told(self, sql: str) -> bytes:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        mark = b"\x01end"
        try:
            process.stdin.write(sql.encode() + b"\nselect E'\\x01end';\n")
            process.stdin.flush()
        except OSError:
            self._lost()
        found = b""
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            while not found.endswith(mark + b"\n"):
                if not waiting.select(max(0.0, self.close_s - time.monotonic())):
                    raise HostError("the database did not answer in time", where=self._server.where)
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    self._lost()
                found += chunk
        return found[: -len(mark) - 1]

    def _lost(self) -> None:
        _, said = self._process.communicate()
        raise HostError(f"psql: {_said(said, self._server)}", where=self._server.where)

    def close(self) -> None:
        """The session has ended."""
        process = self._process
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def one_moment(server: Server) -> Iterator[tuple[Session, str]]:
    """A session that only reads, at one snapshot, and the snapshot's name for `dump`."""
    session = Session(server)
    try:
        session.do(_SPELLING)
        session.do("begin isolation level repeatable read read only;")
        ((row,),) = [session.ask("select pg_export_snapshot() as name")]
        yield session, str(row["name"])
    finally:
        session.close()


def identifier(name: str) -> str:
    """The name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text, quoted for SQL."""
    quoted = text.replace("'", "''")
    return f" E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"


def _as_json(sql: str) -> str:
    return f"select row_to_json(the_row)::text from ({sql}) the_row;"  # noqa: S608


def _rows(printed: bytes) -> list[Row]:
    return [json.loads(line) for line in printed.split(b"\n") if line]


def _said(stderr: bytes, server: Server) -> str:
    """What a program said, without where the server is and who we are there."""
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = _REACHED.sub("connection ", "; ".join(lines[:3])) or "it failed and said nothing"
    if server.user:
        said = said.replace(f'"{server.user}"', '"***"')
    return said.replace(server.password, "***") if server.password else said
