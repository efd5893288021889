"""Sessions, rounds and messages in SQLite. Every change is one transaction that may safely be tried again."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from settings import ROOT

DATABASE = ROOT / "data" / "state.db"
WAIT_S = 5.0


@dataclass(frozen=True)
class Round:
    agent: str
    output: str
    sources: list[str]  # the sessions whose text went into the output


@dataclass(frozen=True)
class Session:
    id: str
    task: str
    mode: str
    agents: list[str]  # who works on it, in order
    state: str  # running, done, ended
    stop: str | None  # somebody asked to end it: the reason
    reason: str | None  # why it ended
    result: str | None
    created_ms: int
    rounds: list[Round]


@contextmanager
def connected(write: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection of its own for every use: a restored file is seen at once. Never creates the file."""
    db = sqlite3.connect(f"file:{DATABASE}?mode=rw", uri=True, timeout=WAIT_S, isolation_level=None)
    try:
        db.execute("begin immediate" if write else "begin")
        yield db
        db.execute("commit")
    finally:
        db.close()  # an open transaction is rolled back


def digest(session: str, result: str) -> str:
    return hashlib.sha256(f"{session}\n{result}".encode()).hexdigest()


def add_session(session: str, task: str, mode: str, agents: list[str]) -> int:
    created_ms = time.time_ns() // 1_000_000
    with connected(write=True) as db:
        db.execute(
            "insert into sessions (id, task, mode, agents, state, created_ms)"
            " values (?, ?, ?, ?, 'running', ?)",
            (session, task, mode, json.dumps(agents), created_ms),
        )
    return created_ms


def session(identity: str) -> Session | None:
    with connected() as db:
        row = db.execute(
            "select task, mode, agents, state, stop, reason, result, created_ms"
            " from sessions where id = ?",
            (identity,),
        ).fetchone()
        rounds = db.execute(
            "select agent, output, sources from rounds where session = ? order by number",
            (identity,),
        ).fetchall()
    if row is None:
        return None
    task, mode, agents, state, stop, reason, result, created_ms = row
    done = [Round(agent, output, json.loads(sources)) for agent, output, sources in rounds]
    return Session(
        identity, task, mode, json.loads(agents), state, stop, reason, result, created_ms, done
    )


def open_sessions(mode: str | None = None) -> list[str]:
    with connected() as db:
        rows = db.execute("select id, mode from sessions where state = 'running'").fetchall()
    return [identity for identity, its_mode in rows if mode in (None, its_mode)]


def add_round(identity: str, number: int, done: Round, last: bool) -> None:
    """The round is recorded, once; with the last one the session has its result."""
    with connected(write=True) as db:
        db.execute(
            "insert or ignore into rounds (session, number, agent, output, sources)"
            " values (?, ?, ?, ?, ?)",
            (identity, number, done.agent, done.output, json.dumps(done.sources)),
        )
        if last:
            db.execute(
                "update sessions set state = 'done', reason = 'done', result = ?, digest = ?"
                " where id = ? and state = 'running'",
                (done.output, digest(identity, done.output), identity),
            )


def end_session(identity: str, reason: str) -> None:
    with connected(write=True) as db:
        db.execute(
            "update sessions set state = 'ended', reason = ? where id = ? and state = 'running'",
            (reason, identity),
        )


def ask_to_stop(mode: str, reason: str) -> None:
    with connected(write=True) as db:
        db.execute(
            "update sessions set stop = ? where state = 'running' and mode = ?", (reason, mode)
        )


def add_message(identity: str, recipient: str, text: str) -> int:
    created_ms = time.time_ns() // 1_000_000
    with connected(write=True) as db:
        db.execute(
            "insert into messages (id, recipient, text, state, created_ms) values (?, ?, ?, 'queued', ?)",
            (identity, recipient, text, created_ms),
        )
    return created_ms


def handle_message(identity: str, agent: str) -> None:
    with connected(write=True) as db:
        db.execute(
            "update messages set state = 'handled', handled_by = ? where id = ?", (agent, identity)
        )


def message(identity: str) -> tuple[str, str | None] | None:
    """State, and who handled it."""
    with connected() as db:
        row = db.execute(
            "select state, handled_by from messages where id = ?", (identity,)
        ).fetchone()
    return None if row is None else (row[0], row[1])


def queued_messages() -> list[tuple[str, str, int]]:
    with connected() as db:
        return db.execute(
            "select id, recipient, created_ms from messages where state = 'queued'"
        ).fetchall()
