"""A real Prometheus on loopback: numbers, and every way of there being none."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollback.model.finding import Sample
from rollback.observe.metric import read
from rollback.observe.view import View
from tests.observe.world import free_port

ViewOf = Callable[..., View]
PROGRAM = shutil.which("prometheus")
EXPOSED = 'answers_total{code="200"} 90\nanswers_total{code="500"} 10\nnothing NaN\nready 1\n'
CONFIG = """global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - {{job_name: product, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
"""

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="prometheus is not installed: apt-get install prometheus"
)


@contextmanager
def answering(answer: Callable[[], tuple[int, bytes]]) -> Iterator[int]:
    """A server on loopback that says this to every question; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has scraped the product."""
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    with answering(lambda: (200, EXPOSED.encode())) as product:
        (folder / "prometheus.yml").write_text(CONFIG.format(port=product))
        argv = [str(PROGRAM), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                _until_scraped(f"http://127.0.0.1:{port}")
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()


def _until_scraped(url: str) -> None:
    deadline = time.monotonic() + 60.0
    asked = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': 'ready == 1'})}"
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=2) as answer:
                if json.load(answer)["data"]["result"]:
                    return
        except OSError:
            pass
        assert time.monotonic() < deadline, "prometheus has scraped nothing in time"
        time.sleep(0.1)


def asked(
    view_of: ViewOf, url: str, query: str, *, declared: dict[str, Any] | None = None, **more: Any
) -> Sample:
    """One reading of a metric with this query."""
    source = {"prometheus": {"url": url, "query": query, **more}}
    return read(
        "m", view_of(metrics={"m": {"unit": "fraction", "source": source, **(declared or {})}})
    )


def test_a_query_gives_a_number_with_what_it_rests_on(view_of: ViewOf, url: str) -> None:
    """A share of counters; the number of answers is a query of its own."""
    share = 'sum(answers_total{code="500"}) / sum(answers_total)'
    found = asked(view_of, url, share, count="sum(answers_total)", declared={"min_samples": 100})
    assert (found.value, found.count, found.source) == (0.1, 100, "prometheus")
    few = asked(view_of, url, share, count="sum(answers_total)", declared={"min_samples": 101})
    assert (few.value, "too few" in few.note) == (None, True)
    assert asked(view_of, url, "scalar(ready)").value == 1.0


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("absent_metric", "no data"), ("answers_total", "2 series"), ("nothing", "NaN"),
        ("1 +", "parse error"), ("ready / 0", "inf is no number"),
        ("answers_total[5m]", "not one of an instant"),
    ],
)  # fmt: skip
def test_every_way_of_no_number_is_unknown_with_the_reason(
    view_of: ViewOf, url: str, query: str, said: str
) -> None:
    """Empty, ambiguous, NaN, wrong, infinite, and a range."""
    found = asked(view_of, url, query)
    assert found.value is None
    assert said in found.note


@pytest.mark.parametrize(("of", "value"), [("max", 90.0), ("min", 10.0), ("sum", 100.0)])
def test_of_several_series_the_declared_one_counts(
    view_of: ViewOf, url: str, of: str, value: float
) -> None:
    """Said in the declaration, never picked."""
    assert asked(view_of, url, "answers_total", of=of).value == value


def test_a_reading_of_another_time_is_not_taken(view_of: ViewOf, url: str) -> None:
    """Fresh enough it counts; an hour ago there was none."""
    old = asked(view_of, url, "ready", fresh="1s")
    assert old.value == 1.0
    gone = asked(view_of, url, "ready offset 1h")
    assert (gone.value, gone.note) == (None, "no data")


def vector(pair: str) -> bytes:
    """An answer with one series."""
    data = f'{{"resultType": "vector", "result": [{{"value": {pair}}}]}}'
    return f'{{"status": "success", "data": {data}}}'.encode()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"{}", "answered 500"), (200, b"<html>", "no JSON"), (200, b"[]", "answered 200"),
        (200, b'{"status": "success"}', "not one of an instant"), (200, vector("[1]"), "not one"),
        (200, vector('[true, "1"]'), "not one"), (200, vector('[1.0, "1"]'), "old"),
        (200, vector('[9e12, "1"]'), "future"),
    ],
)  # fmt: skip
def test_a_server_that_says_something_else_is_not_believed(
    view_of: ViewOf, status: int, body: bytes, said: str
) -> None:
    """Whatever answers on that port."""
    with answering(lambda: (status, body)) as port:
        found = asked(view_of, f"http://127.0.0.1:{port}", "ready")
    assert found.value is None
    assert said in found.note


def test_nobody_there_is_unknown(view_of: ViewOf, tmp_path: Path) -> None:
    """In time."""
    found = asked(view_of, f"http://127.0.0.1:{free_port()}", "ready", within="1s")
    assert (found.value, bool(found.note)) == (None, True)
