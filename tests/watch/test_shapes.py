"""Whatever a metric's server answers that is no number of now: UNKNOWN, no action, one notice.

Each shape is served by a real server, read by the real source, and judged by every kind of condition.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollback.act.deciding import known
from rollback.act.told import tell_event
from rollback.judge.condition import evaluate
from rollback.model.finding import Answer
from tests.systems import Hands, build
from tests.watch.places import Place, runs, told

ONE = 1 << 17
LIMIT_S = 0.3
Shape = Callable[["Now"], bytes]


class Now:
    """What an answer is made of: the time of the machine that asks."""

    def __init__(self, clock: Hands) -> None:
        self.clock = clock

    @property
    def s(self) -> float:
        return self.clock.now().timestamp()


def http(status: int, body: bytes, *, more: str = "", length: int | None = None) -> bytes:
    """An answer as it goes over the wire."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n{more}Connection: close\r\n\r\n"
    return head.encode() + body


def said(value: Any, *, status: int = 200) -> Shape:
    """Any JSON value as the body."""
    return lambda _now: http(status, json.dumps(value).encode())


def result(kind: str, value: Any) -> Shape:
    """A body as the server makes it."""
    return said({"status": "success", "data": {"resultType": kind, "result": value}})


def vector(*pairs: Any) -> Shape:
    """One series for each pair; `now` in a pair is the time."""

    def made(now: Now) -> bytes:
        series = [{"metric": {}, "value": [now.s if one == "now" else one for one in pair]}
                  if isinstance(pair, list) else pair for pair in pairs]  # fmt: skip
        body = {"status": "success", "data": {"resultType": "vector", "result": series}}
        return http(200, json.dumps(body).encode())

    return made


def aged(ago_s: float, *, by: float = 1.0) -> Shape:
    """A good number of another time; `by` as if in another unit."""
    return lambda now: vector([(now.s - ago_s) * by, "9"])(now)


def raw(body: bytes, **more: Any) -> Shape:
    """These bytes as the body."""
    return lambda _now: http(200, body, **more)


def wire(sent: bytes) -> Shape:
    """These bytes, and then the connection is closed."""
    return lambda _now: sent


HANGS = b"hangs"
GOOD = vector(["now", "9"])
SHAPES: dict[str, Shape] = {
    "nobody listens": wire(b""), "no HTTP": wire(b"hello\r\n\r\n"), "never answers": wire(HANGS),
    "stops in the midst": lambda now: GOOD(now)[:-20],
    "shorter than it says": raw(b'{"status": "succ', length=4000),
    "empty body": raw(b""), "an HTML page": raw(b"<html><body>9</body></html>"),
    "a number": said(9), "a text": said("9"), "null": said(None), "true": said(True),
    "a list": said([]), "an empty map": said({}), "no JSON": raw(b"{'status': 'success'}"),
    "two documents": raw(b'{"status": "success"}{"data": 9}'), "no UTF-8": raw(b'"\xff\xfe"'),
    "nested too deep": raw(b"[" * 100_000), "a hundred megabytes": wire(b"big"),
    "an error of the query": said({"status": "error", "error": "parse error"}, status=400),
    "an error that says 200": said({"status": "error", "error": "timeout"}),
    "a good body with 500": lambda now: GOOD(now).replace(b" 200 X", b" 500 X"),
    "a good body with 404": lambda now: GOOD(now).replace(b" 200 X", b" 404 X"),
    "a redirect to itself": lambda _now: http(302, b"", more="Location: /api/v1/query\r\n"),
    "no data": said({"status": "success"}), "data that is null": said({"status": "success", "data": None}),
    "a matrix": result("matrix", [{"metric": {}, "values": [[1, "9"]]}]),
    "a text as result": result("string", [1, "9"]), "a kind nobody knows": result("table", [[1, "9"]]),
    "no series": result("vector", []), "a result that is null": result("vector", None),
    "two series": vector(["now", "9"], ["now", "8"]), "the same series twice": vector(*[["now", "9"]] * 2),
    "a series without value": vector({"metric": {}}),
    "NaN": vector(["now", "NaN"]), "infinite": vector(["now", "+Inf"]),
    "minus infinite": vector(["now", "-Inf"]),
    "beyond any number": vector(["now", "1e999"]), "less than nothing": vector(["now", "-9"]),
    "words": vector(["now", "n/a"]), "an empty text": vector(["now", ""]), "a null": vector(["now", None]),
    "a bare number": vector(["now", 9]), "a bare true": vector(["now", True]),
    "spaces around": vector(["now", " 9 "]), "underscores": vector(["now", "9_0"]),
    "hexadecimal": vector(["now", "0x9"]), "digits of another script": vector(["now", "\u0669"]),
    "a unit behind it": vector(["now", "9%"]), "a comma in it": vector(["now", "9,5"]),
    "three in a pair": vector(["now", "9", "9"]), "one in a pair": vector(["now"]),
    "a list as value": vector(["now", ["9"]]),
    "an hour old": aged(3600.0), "of 1970": vector([0, "9"]), "an hour ahead": aged(-3600.0),
    "in milliseconds": aged(0.0, by=1000.0), "the time as text": vector(["noon", "9"]),
    "the time is true": vector([True, "9"]), "no time": vector([None, "9"]),
}  # fmt: skip
CONDITIONS = (
    "{metric: m, above: 5}", "{metric: m, at_least: 5}", "{metric: m, below: 100}",
    "{metric: m, at_most: 100}",
    "{metric: m, equals: 9}", "{metric: m, above: 5, below: 100}", "{metric: m, times_normal: 2}",
    "{metric: m, above: 5, times: 2}", "{metric: m, above: 5, for: 60s}", "{not: {metric: m, below: 5}}",
    "{all: [{metric: m, above: 5}, {event: deployment}]}", "{any: [{metric: m, above: 5}, {event: veto}]}",
)  # fmt: skip


class Server(socketserver.ThreadingTCPServer):
    """Says one shape to everybody who asks."""

    allow_reuse_address = True
    daemon_threads = True
    shape: Shape
    now: Now
    over: threading.Event


class Talk(socketserver.StreamRequestHandler):
    """One question, one answer."""

    server: Server

    def handle(self) -> None:
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        sent = self.server.shape(self.server.now)
        try:
            if sent == HANGS:
                self.server.over.wait(5.0)
            elif sent == b"big":
                self.wfile.write(http(200, b"", length=100 * 2**20))
                for _ in range(800):
                    self.wfile.write(b" " * ONE)
            else:
                self.wfile.write(sent)
        except OSError:
            return  # whoever asked has left


@contextmanager
def serving(clock: Hands) -> Iterator[Server]:
    """A server on loopback; what it says can be changed."""
    with Server(("127.0.0.1", 0), Talk) as server:
        server.now, server.shape, server.over = Now(clock), GOOD, threading.Event()
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def watched(folder: Path, port: int, conditions: tuple[str, ...] = CONDITIONS) -> Place:
    """The shop that goes back by itself for any of these, with a bad release."""
    shop = build(folder)
    rules = "".join(
        f"  - {{id: rule-{n}, when: {one}, respond: {{roll_back: config}}, automatic: true}}\n"
        for n, one in enumerate(conditions, start=1)
    )
    shop.edit("verification:", f"""events: {{deployment: {{title: D}}, veto: {{title: V}}}}
metrics:
  m:
    unit: count
    normal: 1
    source: {{prometheus: {{url: "http://127.0.0.1:{port}", query: up, within: {LIMIT_S}s}}}}
triggers:
{rules}monitor: {{interval: 60s, threshold: 1}}
verification:""")  # fmt: skip
    here = Place(shop)
    with shop.site() as site:
        site.checkpoints.create("good")
        tell_event(site, "deployment", {}, by="ada")
    here.break_it()
    return here


def test_as_many_shapes_and_conditions_as_promised() -> None:
    """Four hundred and eighty pairs, each another one."""
    assert len(SHAPES) * len(CONDITIONS) >= 480
    assert len(SHAPES) >= 40
    assert len(set(CONDITIONS)) == len(CONDITIONS) == 12


def test_a_good_answer_makes_every_one_of_the_conditions_fire(tmp_path: Path) -> None:
    """So that what follows is no empty promise: nine is above five, twice, for a minute."""
    clock = Hands()
    with serving(clock) as server:
        here = watched(tmp_path, server.server_address[1])
        here.shop.clock = clock
        with here.agent() as agent:
            looked = here.tick(agent)
            assert len(looked.decision.matches) == 10  # two of them have to last
            assert len(runs(agent.site)) == 1
            looked = here.tick(agent)
            assert len(looked.decision.matches) == len(CONDITIONS)


@pytest.mark.requirement("C-38")
@pytest.mark.parametrize("name", list(SHAPES))
def test_what_is_no_number_of_now_is_unknown_to_every_condition_and_moves_nothing(
    name: str, tmp_path: Path
) -> None:
    """Twelve automatic rules on it, three looks: no run, no byte, and a person is called once."""
    clock = Hands()
    with serving(clock) as server:
        server.shape = SHAPES[name]
        port = server.server_address[1] if name != "nobody listens" else 1
        here = watched(tmp_path, port)
        here.shop.clock = clock
        before = here.shop.bytes()
        with here.agent() as agent:
            looked = here.tick(agent, 2 if name in ("never answers", "a hundred megabytes") else 3)
            sample = looked.decision.samples[0]
            assert (sample.value, bool(sample.note)) == (None, True)
            assert "\n" not in sample.note
            assert len(sample.note) < 500
            assert looked.decision.unknown == ("m",)
            knows = known(agent.site, {"m": sample}, {})
            for trigger in agent.site.system.triggers:
                answer, because = evaluate(trigger.when, knows)
                assert (answer, "m is unknown" in because) == (Answer.UNKNOWN, True), trigger.id
            assert (looked.decision.respond, looked.decision.matches) == ("escalate", ())
            assert not looked.failed
            assert runs(agent.site) == []
            assert len(told(agent.site, "agent.held")) == 1
        assert here.shop.bytes() == before
