"""Our own kinds of metric sources, each on examples of its use.

Hides: the files, the journal and the product that they read.
Never: holds a contract.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import Any

from rollback.conformance.example import Example, Given, Words
from rollback.conformance.world import World
from rollback.host.clock import iso
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.failures import REMEMBERED
from tests.conformance.examples.service_product import SERVICE, broken, frozen, serving, stopped
from tests.conformance.examples.spoils import Spoil, gone, stuck, writes

_FRACTION = {"unit": "fraction"}


def _lines(value: Any, *, old_s: float = 0.0) -> Spoil:
    """A log of three lines that end `old_s` seconds ago."""

    def write(world: World) -> None:
        now = world.host.clock.now()
        ages = [timedelta(seconds=old_s + back) for back in (3, 2, 1)]
        lines = [json.dumps({"at": iso(now - age), "ms": value}) for age in ages]
        (world.root / "access.jsonl").write_text("\n".join(lines) + "\n")

    return write


def _table(*rows: float | str | None) -> Spoil:
    def write(world: World) -> None:
        (world.root / "state.db").unlink(missing_ok=True)
        with sqlite3.connect(world.root / "state.db") as database:
            database.execute("create table readings (value)")
            database.executemany("insert into readings values (?)", [(one,) for one in rows])
        database.close()

    return write


def _kept(world: World) -> None:
    (world.root / "app").mkdir()
    (world.root / "app" / "one.txt").write_text("one\n")
    with Checkpoints(world.system, world.host, world.state) as kept:
        kept.create("then")


def _packs_broken(world: World) -> None:
    for pack in (world.state.path / "store").rglob("*.pack"):
        pack.write_bytes(pack.read_bytes()[:10])


def _store_gone(world: World) -> None:
    shutil.rmtree(world.state.path / "store")


def _told(world: World) -> None:
    world.note_through(world.host, "1")("event.told", {"event": "told"})


def _remembered(world: World) -> None:
    world.note_through(world.host, "1")(REMEMBERED, {"known": {"pattern": "odd"}, "by": "operator"})


def _forgotten(world: World) -> None:
    for path in (world.state.path / "journal").iterdir():
        path.unlink()


def _series(*values: str, old_s: float = 0.0, kind: str = "vector") -> Spoil:
    """What a metrics server says to an instant query."""

    def write(world: World) -> None:
        at = world.host.clock.now().timestamp() - old_s
        result = [{"metric": {"n": str(n)}, "value": [at, value]} for n, value in enumerate(values)]
        body = {"status": "success", "data": {"resultType": kind, "result": result}}
        (world.root / "run").mkdir(exist_ok=True)
        (world.root / "run" / "series").write_text(json.dumps(body))

    return write


def _server(world: World) -> None:
    _series("7")(world)
    serving(world)


def _locked(world: World) -> None:
    """Somebody writes to the database, and does not end."""
    database = world.ends.enter_context(closing(sqlite3.connect(world.root / "state.db")))
    database.execute("begin exclusive")


def _of(
    parameters: Given, prepare: Spoil, spoils: dict[str, Spoil], metric: Words | None = None,
    **more: Any,
) -> tuple[Example, ...]:  # fmt: skip
    return (
        Example(
            parameters, prepare=prepare, spoils=spoils, metric=metric or {"unit": "count"}, **more
        ),
    )


_APP = {"components": {"app": {"path": "app", "content": "files"}}}
_KEPT: dict[str, Spoil] = {"no checkpoint": _store_gone, "damaged": _packs_broken}
_MEAN = {"unit": "milliseconds", "window": "1m"}
_NUMBERS: dict[str, Spoil] = {"no number": writes("number", "ill\n"), "NaN": writes("number", "NaN\n"),
                              "nothing": writes("number", "\n"), "gone": gone("number"),
                              "less than nothing": writes("number", "-3\n")}  # fmt: skip
_LINES: dict[str, Spoil] = {"stale": _lines(7, old_s=3600), "no number": _lines("ill"),
                            "gone": gone("access.jsonl"), "future": _lines(7, old_s=-3600)}  # fmt: skip
_ROWS: dict[str, Spoil] = {"no row": _table(), "NULL": _table(None), "text": _table("ill"),
                           "gone": gone("state.db"), "not one": writes("state.db", "x" * 5000)}  # fmt: skip
_DISK = "it reads files of this machine"
_JOURNAL = "it reads our own journal, which answers or is not there"
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "check": _of({"metric": {"name": "inner", "at_least": 1}}, writes("number", "7\n"),
                 {"gone": gone("number"), "no number": writes("number", "ill\n")}, {"unit": "boolean"},
                 sections={"metrics": {"inner": {"unit": "count", "source": {
                     "command": {"argv": ["/bin/cat", "number"], "within": "1s"}}}}},
                 hangs=stuck("number")),
    "command": _of({"argv": ["/bin/cat", "number"], "within": "1s"}, writes("number", "7\n"), _NUMBERS,
                   hangs=stuck("number")),
    "integrity": (
        Example({"component": "app"}, prepare=_kept, spoils=_KEPT, sections=_APP, hangs=_DISK),
        Example({"component": "app", "checkpoint": "then", "deep": True}, "named", prepare=_kept,
                spoils=_KEPT, sections=_APP, hangs=_DISK),
    ),
    "journal": (
        Example({"count": "event.told"}, "count", prepare=_told, spoils={"no journal": _forgotten},
                hangs=_JOURNAL),
        Example({"since": "event.told"}, "since", prepare=_told, spoils={"no journal": _forgotten},
                metric={"unit": "seconds"}, hangs=_JOURNAL),
    ),
    "log": _of({"file": "access.jsonl", "mean": {"field": "ms"}}, _lines(7), _LINES, _MEAN,
               hangs=stuck("access.jsonl")),
    "machine": _of({"uses": "disk"}, writes("x", "x"), {"no such place": lambda w: _no_root(w)}, _FRACTION,
                   hangs="it asks the kernel for a figure that it has"),
    "memory": _of({"count": "similar"}, _remembered, {"no journal": _forgotten}, hangs=_JOURNAL),
    "probe": (
        *_of(lambda w: {"url": f"{w.url}/agents", "probes": 2, "timeout": "1s"}, serving,
             {"stopped": stopped}, _FRACTION, silent=0.0, hangs=frozen),
        *_of(lambda w: {"check": {"port": {"ports": [w.ports[0]], "send": "GET /agents HTTP/1.0\r\n\r\n"}},
                        "probes": 2, "timeout": "1s"}, serving, {"stopped": stopped}, _FRACTION, silent=0.0,
             hangs=frozen),
        *_of(lambda w: {"url": f"{w.url}/agents", "probes": 2, "timeout": "1s", "latency": "median"}, serving,
             {"stopped": stopped, "answers 500": broken}, {"unit": "milliseconds"}, hangs=frozen),
        *_of({"check": {"command": {"argv": ["/bin/cat", "number"]}}, "probes": 2, "timeout": "1s",
              "latency": "p95"}, writes("number", "7\n"), {"gone": gone("number")}, {"unit": "seconds"},
             hangs=stuck("number")),
    ),
    "process": _of({"service": "product"}, serving, {"stopped": stopped}, {"unit": "bytes"},
                   sections={"services": SERVICE}, hangs="it reads what the kernel knows of a process"),
    "prometheus": _of(lambda w: {"url": w.url, "query": "up", "within": "1s"}, _server, {
        "no series": _series(), "several": _series("7", "8"), "NaN": _series("NaN"),
        "infinite": _series("+Inf"), "stale": _series("7", old_s=3600),
        "of the future": _series("7", old_s=-3600),
        "another question": _series("7", kind="matrix"), "stopped": stopped}, hangs=frozen),
    "query": _of({"file": "access.jsonl", "sql": "select avg(ms), count(*) from log"}, _lines(7),
                 {"stale": _lines(7, old_s=3600), "gone": gone("access.jsonl"), "text": _lines("ill")},
                 _MEAN, hangs=stuck("access.jsonl")),
    "sql": _of({"database": "state.db", "query": "select value from readings", "within": "1s"}, _table(7),
               _ROWS, hangs=_locked),
}  # fmt: skip


def _no_root(world: World) -> None:
    world.root.rename(world.root.with_name("elsewhere"))
