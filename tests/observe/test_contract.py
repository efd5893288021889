"""What every check kind owes, whatever it looks at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host
from rollback.model.finding import Answer
from rollback.model.registry import kinds
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.observe.world import check, declared, free_port, running

# One example of each kind. A new kind fails `test_every_kind_has_an_example` until it has one.
EXAMPLES: dict[str, Callable[[str], dict[str, Any]]] = {
    "http": lambda url: {"url": f"{url}/agents", "pointer": {"/ready": 3}, "within": "1s"},
    "command": lambda _: {"argv": ["/bin/cat", "logs/out.txt"], "contains": "well"},
    "files": lambda _: {"exists": ["config/*.yaml"], "absent": ["logs/nothing"]},
    "config": lambda _: {"file": "config/config.yaml", "keys": ["party.enabled"]},
    "process": lambda _: {"services": ["product"]},
    "port": lambda url: {"ports": [url.rsplit(":", 1)[1]], "send": "GET /agents HTTP/1.0\r\n\r\n",
                         "expect": "HTTP/1.", "within": "1s"},
    "log": lambda _: {"file": "logs/out.txt", "lacks": ["ERROR"]},
    "sql": lambda _: {"database": "data/state.db", "integrity": True,
                      "query": "select count(*) from sessions", "equals": 2},
    "flag": lambda _: {"flag": "party", "is": False},
    "metric": lambda _: {"name": "up", "at_least": 1},
    "workflow": lambda url: {"within": "3s", "steps": [
        {"post": f"{url}/sessions", "json": {"task": "t"}, "save": {"id": "/id"}},
        {"get": f"{url}/sessions/{{id}}", "until": {"/state": "done"}}]},
    "consistent": lambda url: {"url": f"{url}/decide", "inputs": {"task": {"text": 9}},
                               "pointer": ["/route"], "examples": 2},
    "load": lambda url: {"url": f"{url}/decide", "rate": 40, "users": 2, "duration": "1s",
                         "errors": {"below": "1%"}, "min_samples": 20, "within": "30s"},
    "memory": lambda url: {"service": "product", "url": f"{url}/agents", "requests": 240,
                           "samples": 12, "slope": {"below": "64 KiB"}, "within": "20s"},
    "results": lambda _: {"argv": ["/bin/echo", "1..1\nok 1 - all is well"]},
    "agree": lambda url: {"values": {
        "router": {"http": {"url": f"{url}/agents", "pointer": "/ready"}},
        "count": {"command": {"argv": ["/bin/echo", "3"]}}}},
    "host": lambda url: {"listens": [url.rsplit(":", 1)[1]]},
    "queue": lambda _: {"directory": "data/queue", "pattern": "*/*.json", "depth": {"below": 5}},
}  # fmt: skip


def sections(url: str) -> dict[str, Any]:
    return {
        "services": {"product": {"argv": ["unused"], "lock": "run/product.lock"}},
        "flags": {"party": {"layered": {"default": True}, "reader": {
            "http": {"url": f"{url}/flags/party", "pointer": "/value", "within": "1s"}}}},
        "metrics": {"up": {"unit": "fraction", "source": {
            "probe": {"url": f"{url}/agents", "probes": 2, "timeout": "1s"}}}},
    }  # fmt: skip


def everything_below(root: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        found = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        state.update(repr((str(path), found.st_mode, found.st_mtime_ns, content)).encode())
    return state.hexdigest()


def test_every_kind_has_an_example() -> None:
    """Every registered check kind is under this contract."""
    assert set(EXAMPLES) == set(kinds("check"))


@pytest.mark.requirement("QL-16")
@pytest.mark.parametrize("kind", EXAMPLES)
def test_in_a_living_world_it_passes_and_changes_nothing(
    kind: str, root: Path, tmp_path: Path
) -> None:
    """The example passes with evidence, and every byte, mode and time below the root stays."""
    with running(root) as (port, _):
        url = f"http://127.0.0.1:{port}"
        view = View(declared(root, **sections(url)), Host())
        before = everything_below(root)
        finding = ask(check(kind, **EXAMPLES[kind](url)), view)
        assert everything_below(root) == before
    assert finding.answer is Answer.PASS, finding.evidence
    assert finding.evidence


@pytest.mark.parametrize("kind", EXAMPLES)
def test_in_a_dead_world_it_never_passes_and_never_raises(kind: str, tmp_path: Path) -> None:
    """With no root, no service and nobody on the port, the answer is no or unknown, and says why."""
    url = f"http://127.0.0.1:{free_port()}"
    view = View(declared(tmp_path / "gone", **sections(url)), Host())
    finding = ask(check(kind, **EXAMPLES[kind](url)), view)
    assert finding.answer is not Answer.PASS, finding.evidence
    assert finding.evidence


def test_a_check_that_overruns_is_unknown(view: View) -> None:
    """Its deadline passes and the front answers, while the work may go on behind it."""
    slow = check("sql", database="data/state.db", within="100ms", query=(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 8000000) "
        "select count(*) from n"))  # fmt: skip
    finding = ask(slow, view)
    assert (finding.answer, finding.evidence) == (Answer.UNKNOWN, "no answer within 0.1 s")


def test_a_check_that_is_not_built_is_unknown(view: View) -> None:
    """A planned kind never passes and says what is missing."""
    planned = check("planned", kind="kubernetes", missing="an adapter for Kubernetes")
    finding = ask(planned, view)
    assert finding.answer is Answer.UNKNOWN
    assert "an adapter for Kubernetes" in finding.evidence
