"""Checks that talk to a running product: answers, silence, frozen processes, leaks, load, memory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.model.finding import Answer, Finding
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.observe.world import check, free_port, running, wait_until

ViewOf = Callable[..., View]
SERVICE = {"product": {"argv": ["unused"], "lock": "run/product.lock"}}


def told(view: View, kind: str, /, **parameters: Any) -> Finding:
    return ask(check(kind, **parameters), view)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


@pytest.fixture
def own(root: Path) -> Iterator[tuple[str, int]]:
    """A product of this test's own, holding the service's lock below the root."""
    with running(root) as (port, pid):
        yield f"http://127.0.0.1:{port}", pid


@pytest.fixture
def frozen(own: tuple[str, int]) -> Iterator[tuple[str, int]]:
    """The same, stopped: it holds its lock and its port, and does nothing."""
    url, pid = own
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T")
    yield url, pid
    os.kill(pid, signal.SIGCONT)


SHAPE = {"type": "object", "required": ["agents"], "properties": {
    "ready": {"type": "integer", "minimum": 3}, "version": {"pattern": r"^1\."},
    "agents": {"type": "array", "items": {"type": "object", "required": ["name", "state"]}}}}  # fmt: skip


@pytest.mark.requirement("QL-30", "AW-43", "AW-46", "MB-67", "MB-69")
@pytest.mark.parametrize(
    ("path", "parameters", "expected"),
    [
        ("/agents", {"pointer": {"/ready": 3, "/agents/0/name": "planner"}}, "pass"),
        ("/agents", {"pointer": {"/ready": {"above": 2}}, "schema": SHAPE}, "pass"),
        ("/agents", {"pointer": {"/ready": 4}}, "/ready: 3 is not 4"),
        ("/agents", {"pointer": {"/agents/9/name": "x"}}, "/agents/9/name is missing"),
        ("/agents", {"pointer": {"/ready": True}}, "3 is not true"),
        ("/agents", {"schema": {"required": ["missing"]}}, "missing is missing"),
        ("/agents", {"schema": {"properties": {"ready": {"maximum": 2}}}}, "above 2"),
        ("/agents", {"contains": "planner", "absent": "Traceback"}, "pass"),
        ("/agents", {"absent": ["planner"]}, "contains 'planner'"),
        ("/agents", {"method": "HEAD"}, "pass"),
        ("/commands", {"method": "POST", "json": {"text": "hi"}, "pointer": {"/output": "hi"}}, "pass"),
        ("/host", {"host": "studio.example", "pointer": {"/host": "studio.example"}}, "pass"),
        ("/status/500", {}, "status 500"),
        ("/status/409", {"status": 409}, "pass"),
        ("/page", {"pointer": {"/ready": 3}}, "no JSON"),
        ("/nan", {"pointer": {"/ready": {"above": 0}}}, "no JSON"),
        ("/slow?s=0.6", {"within": "300ms"}, "no answer"),
        ("/slow?s=0.1", {"within": "2s"}, "pass"),
    ],
)  # fmt: skip
def test_an_answer_is_what_is_declared(
    view: View, product: str, path: str, parameters: dict[str, Any], expected: str
) -> None:
    """Status, values, texts, shape and time; a failure says what was found instead."""
    finding = told(view, "http", url=product + path, **parameters)
    if expected == "pass":
        assert finding.answer is Answer.PASS, finding.evidence
    else:
        assert finding.answer is Answer.FAIL
        assert expected in finding.evidence
        assert finding.evidence.isprintable()


@pytest.mark.requirement("QL-30")
def test_nobody_answering_is_a_no(view: View, frozen: tuple[str, int]) -> None:
    """A refused connection and a frozen process both fail: silence is the answer."""
    refused = told(view, "http", url=f"http://127.0.0.1:{free_port()}/", within="1s")
    silent = told(view, "http", url=f"{frozen[0]}/agents", within="300ms")
    assert (refused.answer, silent.answer) == (Answer.FAIL, Answer.FAIL)


def test_a_frozen_process_fails_although_it_holds_port_and_lock(
    view_of: ViewOf, frozen: tuple[str, int]
) -> None:
    """The kernel accepts connections for it, and the lock is held: neither is taken for life."""
    view = view_of(services=SERVICE)
    port = int(frozen[0].rsplit(":", 1)[1])
    asked = told(view, "port", ports=[port], send="GET / HTTP/1.0\r\n\r\n", within="300ms")
    alive = told(view, "process", services=["product"])
    assert (asked.answer, alive.answer) == (Answer.FAIL, Answer.FAIL)
    assert "is stopped" in alive.evidence


def test_a_port_must_say_what_is_expected(view: View, product: str) -> None:
    """The right words pass, other words and a closed port fail, each port named."""
    port, closed = product.rsplit(":", 1)[1], free_port()
    send = "GET /agents HTTP/1.0\r\n\r\n"
    assert told(view, "port", ports=[port], send=send, expect="HTTP/1.").answer is Answer.PASS
    assert told(view, "port", ports=[port], send=send, expect="SSH-").answer is Answer.FAIL
    both = told(view, "port", ports=[port, closed], send=send, within="1s")
    assert both.answer is Answer.FAIL
    assert f"port {closed}" in both.evidence
    assert f"port {port}:" not in both.evidence


def test_an_answer_that_drips_is_cut(view: View) -> None:
    """A byte now and then keeps a socket alive, but not the check."""
    enough = threading.Event()

    def drip(server: socket.socket) -> None:
        with server.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not enough.wait(0.05):
                connection.sendall(b"X: y\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        dripping = threading.Thread(target=drip, args=(server,))
        dripping.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        began = view.host.clock.boot_s()
        finding = told(view, "http", url=url, within="300ms")
        took_s = view.host.clock.boot_s() - began
        enough.set()
        dripping.join()
    assert finding.answer is not Answer.PASS
    assert took_s < 2.0


def test_a_connection_that_is_closed_without_a_word_is_no_answer(view: View) -> None:
    """Something that only accepts and hangs up fails, even where nothing special is expected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        hanging_up = threading.Thread(target=lambda: server.accept()[0].close())
        hanging_up.start()
        finding = told(view, "port", ports=[server.getsockname()[1]], within="2s")
        hanging_up.join()
    assert finding.answer is Answer.FAIL
    assert "without a word" in finding.evidence


@pytest.mark.requirement("MB-70")
def test_a_process_is_known_by_its_lock_and_held_to_its_limits(
    view_of: ViewOf, own: tuple[str, int], root: Path
) -> None:
    """A live one passes, one over its limits fails, a foreign holder of the lock is unknown."""
    view = view_of(services={**SERVICE, "gone": {"argv": ["x"], "lock": "run/gone.lock"}})
    within = {"memory": {"below": "256 MiB"}, "descriptors": {"below": 400}}
    alive = told(view, "process", services=["product"], **within)
    assert (alive.answer, alive.details["product.pid"]) == (Answer.PASS, own[1])
    fat = told(view, "process", services=["product"], memory={"below": "1 MiB"})
    assert fat.answer is Answer.FAIL
    assert told(view, "process", services=["gone"]).answer is Answer.FAIL
    assert told(view, "process", services=["gone"], alive=False).answer is Answer.PASS
    assert told(view, "process", services=["misspelt"]).answer is Answer.UNKNOWN
    (root / "run/product.lock").write_text('{"pid": 1, "started": 1, "boot": "x"}\n')
    known = told(view, "process", services=["product"])  # the kernel says who carries the lock
    assert (known.answer, known.details["product.pid"]) == (Answer.PASS, own[1])


def session(url: str, query: str = "", **last: Any) -> list[dict[str, Any]]:
    return [
        {"post": f"{url}/sessions{query}", "json": {"task": "carry {token}"}, "status": 201,
         "save": {"id": "/id"}},
        {"get": f"{url}/sessions/{{id}}", "until": {"/state": "done"}, "within": "2s",
         "contains": ["{token}"], **last},
    ]  # fmt: skip


@pytest.mark.requirement("MB-68")
def test_work_is_followed_to_its_end(view: View, product: str) -> None:
    """It passes when the end is seen with its own token; stuck work and a wrong end fail."""

    def workflow(steps: list[dict[str, Any]], within: str = "5s") -> Finding:
        return told(view, "workflow", steps=steps, token=True, within=within)

    assert workflow(session(product, tokens="only-own")).answer is Answer.PASS
    stuck = workflow(session(product, "?stuck", within="400ms"))
    assert stuck.answer is Answer.FAIL
    assert "running is not done" in stuck.evidence
    assert workflow(session(product, pointer={"/text": "another"})).answer is Answer.FAIL
    assert workflow(session(product, "?stuck"), within="300ms").answer is Answer.FAIL


@pytest.mark.requirement("MB-68")
def test_what_goes_in_must_come_out_at_the_end_and_not_only_on_the_way(
    view: View, product: str
) -> None:
    """Dropped between two rounds, or exchanged for what another session put in: not passed."""

    def flow(query: str = "") -> Finding:
        steps = session(product, query, contains={"/result": "{token}"})
        return told(view, "workflow", steps=steps, token=True, within="5s")

    assert flow().answer is Answer.PASS
    for query, held in (
        ("drops", "nothing of it"),
        ("others", "carry tok-"),
        ("number", "no text"),
    ):
        finding = flow(f"?{query}")
        assert finding.answer is Answer.FAIL, query
        assert "/result does not contain 'tok-" in finding.evidence
        assert held in finding.evidence
    blind = told(view, "workflow", steps=session(product, "?drops"), token=True, within="5s")
    assert blind.answer is Answer.PASS  # anywhere in the answer is not at its end


@pytest.mark.requirement("MB-68")
def test_a_text_of_another_session_is_a_leak(view: View, product: str) -> None:
    """Two sessions run at once; where an answer holds the other's token, the check fails."""
    leaky = session(product, "?leaks", tokens="only-own")
    finding = told(view, "workflow", steps=leaky, token=True, within="5s")
    assert finding.answer is Answer.FAIL
    assert "the token of another session" in finding.evidence
    blind = told(view, "workflow", steps=session(product, "?leaks"), token=True, within="5s")
    assert blind.answer is Answer.PASS  # nobody looked for foreign tokens


@pytest.mark.requirement("MB-68")
def test_the_same_question_gets_the_same_answer(view: View, product: str) -> None:
    """A steady product passes, a moody one fails, one that refuses everything fails."""
    inputs = {"task": {"text": 60}, "urgency": {"integer": [1, 5]}, "kind": {"one_of": ["a", "b"]}}
    asked: dict[str, Any] = {"inputs": inputs, "pointer": ["/route", "/agents"], "within": "20s"}
    steady = check("consistent", url=f"{product}/decide", examples=15, **asked)
    assert ask(steady, view).answer is Answer.PASS
    assert list(steady.questions()) == list(steady.questions())  # type: ignore[attr-defined]
    given = steady.ask_with(view, {"task": "x", "urgency": 2})  # type: ignore[attr-defined]
    assert given.answer is Answer.PASS
    moody = told(view, "consistent", url=f"{product}/moody", examples=15, **asked)
    assert moody.answer is Answer.FAIL
    refused = told(view, "consistent", url=f"{product}/nothing", examples=5, **asked)
    assert "refused all" in refused.evidence
    short = {**asked, "within": "50ms"}
    assert told(view, "consistent", url=f"{product}/decide", examples=9999, **short).answer is (
        Answer.UNKNOWN
    )


@pytest.mark.requirement("MB-70")
def test_a_paced_load_is_measured_and_compared(view_of: ViewOf, product: str) -> None:
    """Quick answers pass; slower than the seal beyond share and floor fails; samples are kept."""
    asked: dict[str, Any] = {
        "id": "times", "rate": 40, "users": 4, "duration": "2s", "errors": {"below": "1%"},
        "min_samples": 40, "within": "40s", "baseline": {"p95": "<=+100%", "floor": "50ms"},
    }  # fmt: skip
    fast = told(view_of(), "load", url=f"{product}/decide", p95={"below": "250ms"}, **asked)
    assert fast.answer is Answer.PASS, fast.evidence
    assert "no baseline" in fast.evidence
    assert len(fast.samples["response_ms"]) >= 40
    sealed = view_of(baseline={"times": {"p95_ms": (10.0,)}})
    slow = told(sealed, "load", url=f"{product}/slow?s=0.1", **asked)
    assert slow.answer is Answer.FAIL
    assert "more than <=+100% slower" in slow.evidence
    few = {**asked, "min_samples": 80, "rate": 40}
    assert told(view_of(), "load", url=f"{product}/slow?s=0.7", **few).answer is Answer.UNKNOWN


def test_a_load_that_nobody_answers_fails(view: View) -> None:
    """Every request counts as an error."""
    finding = told(
        view, "load", url=f"http://127.0.0.1:{free_port()}/", rate=20, users=2, duration="1s",
        errors={"below": "1%"}, min_samples=10, within="30s",
    )  # fmt: skip
    assert finding.answer is not Answer.PASS


@pytest.mark.requirement("MB-70")
def test_memory_that_grows_with_work_is_told_from_memory_that_does_not(
    view_of: ViewOf, own: tuple[str, int]
) -> None:
    """50 kB kept per request fails; answering and forgetting passes; refused work proves nothing."""
    view = view_of(services=SERVICE)
    asked: dict[str, Any] = {"service": "product", "requests": 360, "samples": 12,
                             "slope": {"below": "16 KiB"}, "within": "30s"}  # fmt: skip
    steady = told(view, "memory", url=f"{own[0]}/agents", **asked)
    assert steady.answer is Answer.PASS, steady.evidence
    leaky = told(view, "memory", url=f"{own[0]}/grow", **asked)
    assert leaky.answer is Answer.FAIL, leaky.evidence
    assert 40_000 < float(str(leaky.details["bytes_per_request"])) < 60_000
    assert told(view, "memory", url=f"{own[0]}/status/500", **asked).answer is Answer.UNKNOWN


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
