"""Brings `data/state.db` to the schema of this release. Run by a deployment; twice changes nothing."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a release is exactly the files in git
sys.path.insert(0, str(Path(__file__).resolve().parent))

from store import DATABASE  # noqa: E402

SCHEMA = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists sessions (
    id text primary key, task text not null, mode text not null, agents text not null,
    state text not null, stop text, reason text, result text, digest text, created_ms integer not null
);
create index if not exists sessions_by_state on sessions (state);
create table if not exists rounds (
    session text not null, number integer not null,
    agent text not null, output text not null, sources text not null,
    primary key (session, number)
);
create table if not exists messages (
    id text primary key, recipient text not null, text text not null,
    state text not null, handled_by text, created_ms integer not null
);
create index if not exists messages_by_state on messages (state);
insert or ignore into meta (key, value) values ('schema', '1');
"""


def main() -> None:
    DATABASE.parent.mkdir(exist_ok=True)
    db = sqlite3.connect(DATABASE, timeout=10)
    db.executescript(f"begin immediate; {SCHEMA} commit;")
    print("schema", db.execute("select value from meta where key = 'schema'").fetchone()[0])
    db.close()


if __name__ == "__main__":
    main()
