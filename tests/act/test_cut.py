"""A checkpoint of several components at one moment, of a system that writes all the time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback import declare
from rollback.act import back, cut, service
from rollback.act.site import Site
from rollback.host import Host
from rollback.model.errors import Partial, PlanError
from rollback.observe.view import View
from tests.act.conftest import free_ports, openers
from tests.cli.program import rollback
from tests.killed import KILLED, CountingTap, DyingTap, in_child

WRITER = """
import http.server, json, os, sys, threading, time
port = int(sys.argv[1])
state = {"paused": False, "working": 0}
lock = threading.Lock()
def put(name, n):
    with open(name + ".new", "w") as file:
        file.write(str(n))
    os.replace(name + ".new", name)
def work():
    n = 0
    while True:
        with lock:
            if not state["paused"]:
                n += 1
                put("one/number", n)
                put("two/number", n)
        time.sleep(0.001)
threading.Thread(target=work, daemon=True).start()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with lock:
            if self.path in ("/pause", "/resume"):
                state["paused"] = self.path == "/pause"
        data = json.dumps(state).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_GET = do_POST
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
DECLARATION = """
schema: 1
system: {id: pair, title: Pair, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback}
components:
  one: {path: one, content: files, class: first, usable: [one-there]}
  two: {path: two, content: files, class: second, order: 1}
  app: {path: writer.py, content: files, class: second, order: 2}
services:
  writer:
    manager: registry
    argv: ["PYTHON", -I, -u, writer.py, "PORT"]
    lock: run.lock
    log: out.log
    ports: [PORT]
    ready: {http: {url: "http://127.0.0.1:PORT/", pointer: {/paused: false}, within: 2s}}
    drain: {http: {url: "http://127.0.0.1:PORT/pause", method: POST, pointer: {/working: 0, /paused: true}}}
    resume: {http: {url: "http://127.0.0.1:PORT/resume", method: POST, pointer: {/paused: false}}}
    components: [one, two]
people: {owner: op, roles: {op: {title: Operator}}, members: [{id: ada, roles: [op]}]}
verification:
  smoke: [{files: {id: one-there, exists: [one/number]}}]
checkpoints:
  restore_order: [first, second]
  kinds: {named: {on: manual, drain: [DRAIN], retention: keep}}
levels:
  only:
    rank: 1
    title: Only
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    steps: [{restore: {component: one}}]
    target: {sources: [{checkpoint: newest}]}
"""


class Pair:
    def __init__(self, folder: Path, *, drain: str = "writer") -> None:
        self.folder, self.tree = folder, folder / "tree"
        for name in ("one", "two"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "writer.py").write_text(WRITER)
        (port,) = free_ports(1)
        text = DECLARATION.replace("PORT", str(port)).replace("PYTHON", sys.executable)
        text = text.replace("DRAIN", drain)
        (folder / "rollback.yaml").write_text(text)
        with self.site() as site:
            service.start(View(site.system, site.host), "writer", within_s=10)

    def site(self, host: Host | None = None) -> Site:
        return Site.open(declare.load(self.folder / "rollback.yaml"), host or Host())

    def number(self) -> int:
        return int((self.tree / "one" / "number").read_text())

    def works(self) -> bool:
        before, end = self.number(), time.monotonic() + 3
        while time.monotonic() < end:
            if self.number() > before:
                return True
            time.sleep(0.01)
        return False

    def create(self, site: Site, name: str) -> Any:
        return cut.create(site, name, components=None, reason="", allow_partial=False,
                          drain=cut.declared(site, "manual"))  # fmt: skip


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Callable[..., Pair]]:
    yield lambda **given: Pair(tmp_path, **given)
    for pid in openers(tmp_path / "tree" / "run.lock"):
        os.kill(pid, signal.SIGKILL)


def captured(site: Site, name: str, component: str) -> bytes:
    """What was captured of the number in a component."""
    kept = site.checkpoints
    (entry,) = [e for e in kept.entries(name, component) if e.path == b"number"]
    return kept.store.get(entry.sha256)


def test_drained_everything_is_of_one_moment_and_works_again(pair: Callable[..., Pair]) -> None:
    """The two numbers, written one after the other all the time, are the same in it."""
    made = pair()
    with made.site() as site:
        for turn in range(3):
            found = made.create(site, f"c{turn}")
            assert found.target
            assert found.one_moment
            assert found.drained == ("writer",)
            assert captured(site, found.id, "one") == captured(site, found.id, "two")
        assert site.checkpoints.get(found.id).cut == found.cut
        assert cut.still_drained(site.journal.events()) == ()
    assert made.works()


def test_what_changes_though_it_was_drained_makes_it_partial(pair: Callable[..., Pair]) -> None:
    """Somebody else writes into the first component after it was captured."""
    made = pair()

    class Meddling(CountingTap):
        def change(self, call: str, where: Any, do: Any, torn: Any = None) -> Any:
            done = super().change(call, where, do, torn)
            if call == "rename" and b"two.stat" in os.fsencode(where):  # it has just been captured
                (made.tree / "two" / "number").write_text("another")
            return done

    with made.site(Host(tap=Meddling())) as site, pytest.raises(Partial) as raised:
        made.create(site, "torn")
    (line,) = raised.value.paths
    assert line.startswith("two: .: changed while the other components were captured")
    with made.site() as site:
        (found,) = site.checkpoints.list()
        assert not found.target
        assert cut.still_drained(site.journal.events()) == ()


def test_a_mixture_is_visible(pair: Callable[..., Pair]) -> None:
    """Without a drain the record says from when to when, and so does the command."""
    made = pair(drain="")
    with made.site() as site:
        found = site.checkpoints.create("mixed", allow_partial=True)
        assert not found.one_moment
    said = rollback(made.folder, "checkpoint", "show", "mixed")
    assert "with nothing drained" in said.out
    shown = rollback(made.folder, "--json", "checkpoint", "show", found.id).json
    assert shown["one_moment"] is False
    assert shown["cut"]["began"] < shown["cut"]["ended"]


@pytest.mark.long
def test_killed_while_drained_the_next_command_says_so_and_how_it_ends(
    pair: Callable[..., Pair],
) -> None:
    """The service waits; `checkpoint resume` lets it go on; the killed checkpoint is not listed."""
    made = pair()
    with made.site() as site:
        made.create(site, "first")
    counting = CountingTap()
    with made.site(Host(tap=counting)) as site:
        made.create(site, "counted")

    def create() -> None:
        (number, *_) = [n for n, point in enumerate(counting.points, 1) if point.call == "rename"
                        and b".pack" in os.fsencode(point.where)]  # fmt: skip
        tap = DyingTap(number, "before")
        with made.site(Host(tap=tap)) as site:
            made.create(site, "killed")

    assert in_child(create) == KILLED
    assert not made.works()
    said = rollback(made.folder, "status")
    assert "drained for a checkpoint and not resumed: writer" in said.err
    assert "rollback checkpoint resume" in said.err
    assert rollback(made.folder, "checkpoint", "resume").out.strip() == "resumed: writer"
    assert made.works()
    again = rollback(made.folder, "checkpoint", "resume")
    assert (again.status, again.out.strip()) == (0, "no service is drained")
    assert "not resumed" not in again.err
    with made.site() as site:
        assert [one.name for one in site.checkpoints.list()] == ["counted", "first"]


def test_a_service_that_cannot_be_resumed_is_not_drained(pair: Callable[..., Pair]) -> None:
    """Said before anything happens."""
    made = pair()
    file = made.folder / "rollback.yaml"
    lines = [one for one in file.read_text().splitlines() if not one.startswith("    resume:")]
    file.write_text("\n".join(lines))
    with made.site() as site, pytest.raises(PlanError, match="writer declares no resume check"):
        made.create(site, "x")
    assert made.works()


@pytest.mark.requirement("MB-65")
def test_a_restore_goes_class_by_class_each_shown_to_be_usable(pair: Callable[..., Pair]) -> None:
    """The order of the classes stands before that of the components; a barrier ends a class."""
    made = pair()
    with made.site() as site:
        found = made.create(site, "good")
        plan = back.restore_plan(site, found.id, (), run="r1", requester="ada", reason="")
    assert [step.id for step in plan.steps] == [
        "stop", "restore-one", "usable-one", "restore-two", "restore-app", "start",
    ]  # fmt: skip
    assert plan.steps[2].otherwise == "person"
    (made.tree / "one" / "number").rename(made.tree / "one" / "gone")
    done = rollback(made.folder, "checkpoint", "restore", "good", "--yes")
    assert done.status == 0, done
    assert made.works()


@pytest.mark.requirement("MB-65")
def test_stopped_between_two_classes_the_earlier_one_is_usable(pair: Callable[..., Pair]) -> None:
    """The check of the first class says no: the second is not begun, and a person is asked."""
    made = pair()
    with made.site() as site:
        made.create(site, "good")
    text = (made.folder / "rollback.yaml").read_text()
    (made.folder / "rollback.yaml").write_text(text.replace("[one/number]", "[one/other]"))
    (made.tree / "writer.py").write_text(WRITER + "# newer\n")
    done = rollback(made.folder, "checkpoint", "restore", "good", "--yes")
    assert done.status == 9, done
    assert (made.tree / "writer.py").read_text().endswith("# newer\n")
    (made.folder / "rollback.yaml").write_text(text)
    (made.tree / "one" / "other").write_text("")
    resumed = rollback(made.folder, "resume", "last")
    assert resumed.status == 0, resumed
    assert (made.tree / "writer.py").read_text() == WRITER
