"""Our own kinds of checks, each on an example of its use.

Hides: the files and the product that they look at.
Never: holds a contract.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from rollback.conformance.example import Example, Given
from rollback.conformance.world import World
from tests.conformance.examples.service_product import SERVICE, broken, started, stopped
from tests.conformance.examples.spoils import Spoil, gone, writes


def furnish(root: Path) -> None:
    """A root with a bit of everything in it."""
    for folder in ("data/queue/builder", "logs", "config", "run"):
        (root / folder).mkdir(parents=True)
    _do(root, "create table sessions (id text, state text)",
        "insert into sessions values ('a', 'running'), ('b', 'done')")  # fmt: skip
    (root / "config/config.yaml").write_text(
        "# limits\nparty:\n  enabled: true\n  maxAgents: 3\nlimits: {requests_per_minute: 6000}\n"
        "knowledge: {file: data/state.db}\n"
    )
    (root / "config/team.csv").write_text("name,role\nplanner,plans\nbuilder,builds\n")
    (root / "logs/out.txt").write_text("started\nall is well\n")
    (root / "logs/access.jsonl").write_text("")


def _do(root: Path, *statements: str) -> None:
    with sqlite3.connect(root / "data/state.db") as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def _files(world: World) -> None:
    furnish(world.root)
    (world.root / "results.tap").write_text("1..1\nok 1 - all is well\n")
    (world.root / "count").write_text("3\n")


def _served(world: World) -> None:
    _files(world)
    started(world)


def _promising(world: World) -> None:
    """The product runs, and says what it promises in a document."""
    _served(world)
    agents = {"type": "object", "required": ["agents", "ready"],
              "properties": {"ready": {"type": "integer"}}}  # fmt: skip
    answer = {"description": "all", "content": {"application/json": {"schema": agents}}}
    (world.root / "api.json").write_text(json.dumps({
        "openapi": "3.0.3", "info": {"title": "Product", "version": "1"},
        "paths": {"/agents": {"get": {"responses": {"200": answer}}},
                  "/sessions": {"post": {"responses": {"201": {"description": "made"}}}}}}))  # fmt: skip


def _sections(world: World) -> dict[str, Any]:
    url = world.url
    return {
        "services": SERVICE,
        "flags": {"party": {"layered": {"default": True}, "reader": {
            "http": {"url": f"{url}/flags/party", "pointer": "/value", "within": "1s"}}}},
        "metrics": {"up": {"unit": "fraction", "source": {
            "probe": {"url": f"{url}/agents", "probes": 2, "timeout": "1s"}}}},
    }  # fmt: skip


def _of(parameters: Given, spoils: dict[str, Spoil], *, served: bool = True) -> tuple[Example, ...]:
    return (Example(parameters, sections=_sections, prepare=_served if served else _files,
                    spoils=spoils),)  # fmt: skip


def _port(world: World) -> str:
    return str(world.ports[0])


def _deleted(world: World) -> None:
    _do(world.root, "delete from sessions where id = 'a'")


def _filled(world: World) -> None:
    for number in range(9):
        (world.root / f"data/queue/builder/{number}.json").write_text("{}")


BROKEN: dict[str, Spoil] = {"answers 500": broken}
STOPPED: dict[str, Spoil] = {"stopped": stopped}
EXAMPLES: dict[str, tuple[Example, ...]] = {
    "http": _of(lambda w: {"url": f"{w.url}/agents", "pointer": {"/ready": 3}, "within": "1s"},
                {**BROKEN, **STOPPED}),
    "command": _of({"argv": ["/bin/cat", "logs/out.txt"], "contains": "well"},
                   {"says other things": writes("logs/out.txt", "ill\n")}, served=False),
    "files": _of({"exists": ["config/*.yaml"], "absent": ["logs/nothing"]},
                 {"gone": gone("config/config.yaml"),
                  "forbidden": writes("logs/nothing")}, served=False),
    "config": _of({"file": "config/config.yaml", "keys": ["party.enabled"]},
                  {"key gone": writes("config/config.yaml", "party: {}\n")}, served=False),
    "process": _of({"services": ["product"]}, STOPPED),
    "port": _of(lambda w: {"ports": [_port(w)], "send": "GET /agents HTTP/1.0\r\n\r\n",
                           "expect": "HTTP/1.", "within": "1s"}, STOPPED),
    "log": _of({"file": "logs/out.txt", "lacks": ["ERROR"]},
               {"an error": writes("logs/out.txt", "started\nERROR 1\n")}, served=False),
    "sql": _of({"database": "data/state.db", "integrity": True,
                "query": "select count(*) from sessions", "equals": 2},
               {"a row less": _deleted}, served=False),
    "flag": _of({"flag": "party", "is": False}, {"on": writes("run/party")}),
    "metric": _of({"name": "up", "at_least": 1}, BROKEN),
    "workflow": _of(lambda w: {"within": "3s", "steps": [
        {"post": f"{w.url}/sessions", "json": {"task": "t"}, "save": {"id": "/id"}},
        {"get": f"{w.url}/sessions/{{id}}", "until": {"/state": "done"}}]}, BROKEN),
    "consistent": _of(lambda w: {"url": f"{w.url}/decide", "inputs": {"task": {"text": 9}},
                                 "pointer": ["/route"], "examples": 2}, BROKEN),
    "load": _of(lambda w: {"url": f"{w.url}/decide", "rate": 20, "users": 2, "duration": "2s",
                           "errors": {"below": "1%"}, "min_samples": 5, "within": "30s"}, BROKEN),
    "memory": _of(lambda w: {"service": "product", "url": f"{w.url}/agents", "requests": 240,
                             "samples": 12, "slope": {"below": "64 KiB"}, "within": "20s"},
                  {"keeps memory": writes("run/leaks")}),
    "results": _of({"argv": ["/bin/cat", "results.tap"]},
                   {"one fails": writes("results.tap", "1..1\nnot ok 1 - ill\n")}, served=False),
    "agree": _of(lambda w: {"values": {
        "router": {"http": {"url": f"{w.url}/agents", "pointer": "/ready"}},
        "count": {"command": {"argv": ["/bin/cat", "count"]}}}}, {"differs": writes("count", "4\n")}),
    "host": _of(lambda w: {"listens": [_port(w)]}, STOPPED),
    "openapi": (Example(
        lambda w: {"schema": "api.json", "url": w.url, "allow": [f"127.0.0.1:{_port(w)}"], "examples": 2,
                   "each": "1s", "within": "20s"},
        sections=_sections, prepare=_promising, spoils={**BROKEN, **STOPPED},
        wrong=({"schema": "api.json", "url": "http://elsewhere.example/"},
               {"schema": "api.txt", "url": "http://127.0.0.1:1"})),),
    "queue": _of({"directory": "data/queue", "pattern": "*/*.json", "depth": {"below": 5}},
                 {"full": _filled}, served=False),
}  # fmt: skip
