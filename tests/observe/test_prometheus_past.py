"""A real Prometheus with a past: what it was at each moment, and what the present rules say to that."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback.host.clock import iso
from rollback.model.errors import HostUnreachable
from rollback.model.finding import Sample
from rollback.observe.metric import recall
from rollback.observe.view import View
from tests.cli.program import rollback
from tests.observe.test_prometheus import PROGRAM, answering
from tests.observe.world import free_port
from tests.systems import Shop, build

ViewOf = Callable[..., View]
TOOL = shutil.which("promtool")
START = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=6)
GOOD, BAD, GONE, AGAIN = (
    range(10),
    range(10, 20),
    range(20, 30),
    range(30, 40),
)  # minutes from START
RULES = """metrics:
  errors: {unit: fraction, source: {prometheus: {url: "URL", query: error_share, count: answers}}}
  other: {unit: count, source: {command: {argv: [/bin/echo, "1"], number: stdout}}}
triggers:
  - {id: many, when: {metric: errors, above: 20%}, respond: {roll_back: config}}
verification:"""

pytestmark = pytest.mark.skipif(
    PROGRAM is None or TOOL is None,
    reason="prometheus is not installed: apt-get install prometheus",
)


def share(minute: int) -> float | None:
    """What is in the server for a minute."""
    return None if minute in GONE else 0.3 if minute in BAD else 0.01


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def series() -> str:
    """The past in the format in which a server takes it."""
    lines = ["# TYPE error_share gauge"]
    lines += [
        f"error_share {share(m)} {at(m).timestamp()}" for m in range(40) if share(m) is not None
    ]
    lines += ["# TYPE answers gauge"]
    lines += [f"answers {5 if m == 35 else 100} {at(m).timestamp()}" for m in range(40)]
    lines += ["# TYPE of_two gauge"]
    lines += [f'of_two{{n="{n}"}} {n} {at(m).timestamp()}' for n in (1, 2) for m in range(40)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that knows that past, and repeats no reading for longer than half a minute."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "past.txt").write_text(series())
    (folder / "prometheus.yml").write_text("global: {}\n")
    blocks = [str(TOOL), "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"]
    subprocess.run(blocks, cwd=folder, check=True, capture_output=True, timeout=120)
    port = free_port()
    argv = [str(PROGRAM), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
            "--query.lookback-delta=30s"]  # fmt: skip
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _until_it_answers(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _until_it_answers(url: str) -> None:
    asked = {"query": "error_share", "time": f"{START.timestamp():.0f}"}
    deadline = time.monotonic() + 60.0
    while True:
        try:
            where = f"{url}/api/v1/query?{urllib.parse.urlencode(asked)}"
            with urllib.request.urlopen(where, timeout=2) as answer:
                if json.load(answer)["data"]["result"]:
                    return
        except OSError:
            pass
        assert time.monotonic() < deadline, "prometheus does not know its past in time"
        time.sleep(0.1)


def recalled(
    view_of: ViewOf, url: str, query: str, *, unit: str = "fraction", **more: Any
) -> list[Sample]:
    """What a metric with this query was, minute by minute."""
    kept = {key: more.pop(key) for key in ("min_samples",) if key in more}
    source = {"prometheus": {"url": url, "query": query, **more}}
    view = view_of(metrics={"m": {"unit": unit, "source": source, **kept}})
    return list(recall("m", view, [at(minute) for minute in range(40)]))


def test_each_moment_has_its_reading_and_one_that_is_not_there_is_unknown(
    view_of: ViewOf, url: str
) -> None:
    """Never the one before it, never zero; with the time of the moment and where it comes from."""
    found = recalled(view_of, url, "error_share")
    assert [one.value for one in found] == [share(minute) for minute in range(40)]
    assert [one.at for one in found] == [at(minute) for minute in range(40)]
    assert {one.note for one in found if one.value is None} == {"no data"}
    assert {(one.metric, one.source, one.unit) for one in found} == {
        ("m", "prometheus", "fraction")
    }


def test_the_past_is_read_as_the_present_is(view_of: ViewOf, url: str) -> None:
    """Several series, too few readings, no number: the same reasons, moment by moment."""
    two = recalled(view_of, url, "of_two", unit="count")
    assert {(one.value, one.note) for one in two} == {
        (None, "2 series answer; say which counts with of: max")
    }
    assert {one.value for one in recalled(view_of, url, "of_two", unit="count", of="sum")} == {3.0}
    few = recalled(view_of, url, "error_share", count="answers", min_samples=50)
    assert [(one.value, one.count) for one in (few[34], few[35])] == [(0.01, 100), (None, 5)]
    assert "too few" in few[35].note
    for query, said in (("error_share / 0", "inf is no number"), ("error_share * NaN", "NaN"),
                        ("error_share - 1", "less than nothing")):  # fmt: skip
        found = recalled(view_of, url, query, unit="count")
        assert found[0].value is None
        assert said in found[0].note


@pytest.fixture
def shop(tmp_path: Path, url: str) -> Shop:
    """The shop with a rule on what that server measures."""
    made = build(tmp_path)
    made.edit("verification:", RULES.replace("URL", url))
    return made


def what_if(shop: Shop, *argv: str) -> Any:
    return rollback(shop.folder, "--json", "what-if", "--prometheus", *argv).json


def test_the_range_of_a_server_is_replayed_through_the_present_rules(shop: Shop) -> None:
    """It would have fired while the share was high; the minutes that are gone are UNKNOWN."""
    span = ("--since", iso(at(0)), "--until", iso(at(39)), "--step", "1m")
    told = what_if(shop, *span)
    (alert,) = told["alerts"]
    late = shop.system.monitor.threshold - 1
    assert (alert["trigger"], alert["level"]) == ("many", "config")
    assert datetime.fromisoformat(alert["since"]) == at(BAD[0] + late)
    assert datetime.fromisoformat(alert["until"]) == at(BAD[-1])
    assert (told["moments"], told["unknown"], told["span_s"]) == (40, len(GONE), 39 * 60.0)
    assert told["precision"] is None
    assert not (shop.folder / ".rollback").exists()
    shop.edit("above: 20%", "above: 50%")
    assert what_if(shop, *span)["alerts"] == []


def test_a_range_longer_than_a_server_gives_at_once_is_asked_in_pieces(shop: Shop) -> None:
    """It gives 11,000 points of a series at most."""
    span = ("--since", iso(at(0)), "--until", iso(at(210)), "--step", "1s")
    told = what_if(shop, *span)
    assert told["moments"] == 210 * 60 + 1
    assert len(told["alerts"]) == len(BAD), "each minute's reading is repeated for half a minute"


@pytest.mark.parametrize(
    ("argv", "status", "said"),
    [
        (("--since", "soon"), 2, "--since soon is no UTC time"),
        (("--until", "2026-01-01"), 2, "no UTC time"),
        (("--step", "fast"), 2, "--step fast"), (("--step", "0s"), 2, "--step 0s is no time"),
        (("--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"), 2, "is no time"),
        (("--since", "2016-01-02T00:00:00Z", "--step", "1s"), 2, "more than 1,000,000 moments"),
        (("past.csv",), 2, "a table is replayed whole"),
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_refused_in_a_line(
    shop: Shop, argv: tuple[str, ...], status: int, said: str
) -> None:
    """With what to type."""
    ended = rollback(shop.folder, "what-if", "--prometheus", *argv)
    assert (ended.status, ended.out) == (status, "")
    assert said in ended.err
    assert "  try: " in ended.err


def test_without_a_server_to_ask_it_is_said_what_is_missing(shop: Shop, tmp_path: Path) -> None:
    """None answers; none is declared; a step of nothing means nothing."""
    alone = rollback(shop.folder, "what-if", "--step", "1m")
    assert (alone.status, "are for --prometheus" in alone.err) == (2, True)
    url = shop.system.metrics["errors"].source.url  # type: ignore[attr-defined]
    shop.edit(url, f"http://127.0.0.1:{free_port()}")
    gone = rollback(shop.folder, "what-if", "--prometheus")
    assert (gone.status, gone.out) == (6, "")
    assert "metric errors: no answer" in gone.err
    assert "see that the source of errors answers" in gone.err
    (tmp_path / "bare").mkdir()
    bare = rollback(build(tmp_path / "bare").folder, "what-if", "--prometheus")
    assert (bare.status, bare.out) == (2, "")
    assert "no declared metric comes from prometheus" in bare.err
    assert "rollback what-if FILE.csv" in bare.err


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"{}", "answered 500"), (200, b"<html>", "no JSON"), (200, b'{"status": "success"}', "range"),
        (200, b'{"status": "success", "data": {"resultType": "vector", "result": []}}', "range"),
        (200, b'{"status": "success", "data": {"resultType": "matrix", "result": [{}]}}', "range"),
        (400, b'{"status": "error", "error": "parse error"}', "parse error"),
    ],
)  # fmt: skip
def test_a_server_that_says_something_else_about_the_past_is_an_error(
    view_of: ViewOf, status: int, body: bytes, said: str
) -> None:
    """Not a past in which nothing was: that would be replayed as one."""
    with answering(lambda: (status, body)) as port, pytest.raises(HostUnreachable, match=said):
        recalled(view_of, f"http://127.0.0.1:{port}", "ready")
