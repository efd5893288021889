"""Examples of the kinds that need a server which only tests have: PostgreSQL, object storage.

Each server is started when the first example asks for it, and ended with the session.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from rollback.conformance import Example
from rollback.conformance.world import World
from rollback.host.bucket import Bucket
from tests.keep.object_storage import ACCESS, SECRET, moto, store, swift
from tests.keep.postgres_lab import PASSWORD, Lab, running

ENDS = ExitStack()


@cache
def _storage() -> str:
    folder = ENDS.enter_context(tempfile.TemporaryDirectory(prefix="conformance-"))
    return ENDS.enter_context(moto(Path(folder)))


@cache
def _lab() -> Lab:
    return ENDS.enter_context(running())


def _environ(world: World, **values: str) -> None:
    """Set until the world ends."""
    for name, value in values.items():
        world.ends.callback(os.environ.pop, name, None)
        os.environ[name] = value


# -- object storage ------------------------------------------------------------------------


@cache
def _swift() -> str:
    folder = ENDS.enter_context(tempfile.TemporaryDirectory(prefix="conformance-"))
    return ENDS.enter_context(swift(Path(folder)))


def _bucket(server: Callable[[], str], **more: Any) -> Callable[[World], dict[str, Any]]:
    """The declaration of a place that no other world has."""
    return lambda world: dict(store(server(), prefix=world.folder.name, **more)["s3"])


def _who(world: World) -> None:
    _environ(world, S3_ACCESS=ACCESS, S3_SECRET=SECRET)


def _flipped(server: Callable[[], str]) -> dict[str, Callable[[World], object]]:
    def flip(world: World) -> None:
        raw = Bucket("copies", world.folder.name, endpoint=server(), region="us-east-1",
                     access_key=ACCESS, secret_key=SECRET, within_s=10, tap=world.host.tap)  # fmt: skip
        for name in raw.sizes("packs"):
            data = bytearray(raw.whole(f"packs/{name}"))
            data[len(data) // 2] ^= 1
            raw.put(f"packs/{name}", bytes(data))

    return {"a flipped byte": flip}


STORES = (
    Example(_bucket(_storage), "one-writer", prepare=_who, spoils=_flipped(_storage)),
    Example(
        _bucket(_storage, writers="many"), "many-writers", prepare=_who, spoils=_flipped(_storage)
    ),
    Example(_bucket(_swift), "swift", prepare=_who, spoils=_flipped(_swift)),
)


# -- PostgreSQL ----------------------------------------------------------------------------


def _declared(world: World) -> dict[str, Any]:
    database = {"name": "contract", "host": "127.0.0.1", "port": _lab().port, "user": "env:LAB_USER",
                "password": "env:LAB_PASSWORD", "programs": str(_lab().programs),
                "drain_within": "1s"}  # fmt: skip
    return {"components": {"it": {"path": "it", "content": "postgres", "database": database}}}


def _tables(world: World) -> None:
    _environ(world, LAB_USER="postgres", LAB_PASSWORD=PASSWORD)
    server = _lab().server("postgres")
    server.do("drop database if exists contract")
    server.do("create database contract")
    _do("create table t (a integer primary key, b text)")(world)
    _do("insert into t values (1, 'x'), (2, 'y')")(world)


def _do(statement: str) -> Callable[[World], object]:
    def do(_world: World) -> None:
        _lab().server("contract").do(statement)

    return do


def _rows(_world: World) -> object:
    return _lab().server("contract").ask("select a, b from t order by a")


CONTENTS = (
    Example(sections=_declared, prepare=_tables, seen=_rows,
            spoils={"a row changed": _do("update t set b = 'z' where a = 1"),
                    "a row lost": _do("delete from t where a = 2")}),
)  # fmt: skip
