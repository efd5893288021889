"""Metric sources: a number where there is one, and a reason where there is none."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rollback.host import net
from rollback.host.clock import iso
from rollback.model.errors import PlanError
from rollback.model.finding import Sample
from rollback.observe.measure import percentile, slope, spread_out
from rollback.observe.metric import read, read_all
from rollback.observe.view import View
from tests.observe.world import free_port, running

ViewOf = Callable[..., View]


def sample_of(view_of: ViewOf, source: dict[str, Any], **declared: Any) -> Sample:
    view = view_of(metrics={"m": {"unit": "count", "source": source, **declared}})
    sample = read("m", view)
    assert sample.metric == "m"
    assert sample.known or sample.note, "a sample without a number says why"
    return sample


def write_log(root: Path, *rows: dict[str, Any], torn: str = "") -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "logs/access.jsonl").write_text(text + torn)


def ago(seconds: float) -> str:
    return iso(datetime.now(UTC) - timedelta(seconds=seconds))


LOG = {"file": "logs/access.jsonl", "time": "at"}
SHARE = {"log": {**LOG, "share": {"field": "status", "above": 499}}}
MEAN = {"log": {**LOG, "mean": {"field": "ms"}}}


@pytest.mark.parametrize(
    ("source", "value", "count"),
    [
        ({"share": {"field": "status", "above": 499}}, 0.25, 4),
        ({"share": {"field": "status", "equals": 429}}, 0.25, 4),
        ({"mean": {"field": "ms"}}, 25.0, 4),
        ({"mean": {"field": "ms", "and": {"status": 200}}}, 15.0, 2),
        ({"count": {"field": "status", "equals": 200, "and": {"path": "/b"}}}, 1.0, 4),
        ({"count": {"field": "status", "equals": 418}}, 0.0, 4),
        ({"last": {"field": "ms"}}, 40.0, 1),
        ({"last": {"field": "ms", "below": 20}}, 10.0, 1),
    ],
)
def test_the_window_of_a_log_gives_a_share_a_mean_a_count_or_the_last(
    view_of: ViewOf, root: Path, source: dict[str, Any], value: float, count: int
) -> None:
    """Old and future lines are left out, broken ones are counted, a torn last line is not."""
    write_log(
        root,
        {"at": ago(3600), "status": 500, "ms": 9000, "path": "/a"},
        {"at": ago(4), "status": 200, "ms": 10, "path": "/a"},
        {"at": ago(3), "status": 200, "ms": 20, "path": "/b"},
        {"at": "yesterday", "status": 500, "ms": 9000},
        {"at": "2026-01-01T00:00:00", "status": 500, "ms": 9000},
        {"at": ago(-3600), "status": 500, "ms": 9000},
        {"at": ago(2), "status": 429, "ms": 30, "path": "/b"},
        {"at": ago(1), "status": 503, "ms": 40, "path": "/b"},
        torn='{"at": "2026-01-01T00:0',
    )
    with (root / "logs/access.jsonl").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write('not json\n{"ms": NaN}\n' + text)
    sample = sample_of(view_of, {"log": {**LOG, **source}}, window="10s")
    assert sample.value == pytest.approx(value)
    if "last" not in source:  # the last value is found before the older lines are looked at
        assert sample.count == count
        assert "2 without a usable time" in sample.note


def test_without_a_window_the_whole_log_is_read_and_broken_lines_are_shown(
    view_of: ViewOf, root: Path
) -> None:
    """The share is over every readable line."""
    write_log(root, {"status": 500}, {"status": 200}, torn='{"stat\n["no record"]\n')
    sample = sample_of(view_of, SHARE)
    assert (sample.value, sample.count) == (0.5, 2)
    assert "2 malformed" in sample.note


@pytest.mark.requirement("C-38")
@pytest.mark.parametrize(
    ("rows", "declared", "why"),
    [
        (None, {}, "no such file"),
        ([], {}, "no line says it"),
        ([{"at": ago(86400), "ms": 5}], {"window": "1h"}, "in the last 1 h"),
        ([{"ms": "n/a"}, {"ms": True}, {"ms": None}], {}, "no line says it"),
        ([{"at": ago(1), "ms": 5}] * 19, {"window": "1h", "min_samples": 20}, "19 readings are too few"),
        ([{"at": ago(-3600), "ms": 5}], {"window": "10s"}, "no line says it"),
    ],
)  # fmt: skip
def test_absent_stale_senseless_or_too_few_is_no_number(
    view_of: ViewOf, root: Path, rows: Any, declared: dict[str, Any], why: str
) -> None:
    """Absence never becomes a zero, and the note says what was missing."""
    if rows is None:
        (root / "logs/access.jsonl").unlink()
    else:
        write_log(root, *rows)
    sample = sample_of(view_of, MEAN, **declared)
    assert sample.value is None
    assert why in sample.note


def test_a_quiet_log_counts_zero_but_a_missing_one_counts_nothing(
    view_of: ViewOf, root: Path
) -> None:
    """No violation in the window is a zero; no log at all is unknown."""
    counting = {"log": {**LOG, "count": {"field": "event", "equals": "SECURITY_VIOLATION"}}}
    write_log(root, {"at": ago(3600), "event": "SECURITY_VIOLATION"})
    assert sample_of(view_of, counting, window="60s").value == 0.0
    (root / "logs/access.jsonl").unlink()
    assert sample_of(view_of, counting, window="60s").value is None


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_what_a_log_was_rotated_into_within_the_window_counts(view_of: ViewOf, root: Path) -> None:
    """Read where it lies beside it; unknown where it is packed; left alone where it is older."""
    counting = {"log": {**LOG, "count": {"field": "event", "equals": "SECURITY_VIOLATION"}}}
    path = root / "logs/access.jsonl"
    first = [{"at": ago(age_s), "event": "SECURITY_VIOLATION"} for age_s in (3000, 900)]
    write_log(root, *first, {"at": ago(800), "event": "ROUND"})
    rotated = path.rename(root / "logs/access.jsonl-20261128")
    write_log(root, {"at": ago(10), "event": "SECURITY_VIOLATION"})
    assert sample_of(view_of, counting, window="1h").value == 3
    assert sample_of(view_of, counting, window="20m").value == 2
    packed = rotated.rename(root / "logs/access.1.jsonl.gz")
    sample = sample_of(view_of, counting, window="20m")
    assert (sample.value, "access.1.jsonl.gz" in sample.note) == (None, True)
    os.utime(packed, (time.time() - 7200,) * 2)
    assert sample_of(view_of, counting, window="20m").value == 1


def test_only_the_tail_of_a_large_log_is_read(view_of: ViewOf, root: Path) -> None:
    """A window of seconds costs kilobytes, however long the log is."""
    old = json.dumps({"at": ago(7200), "status": 500, "ms": 1, "text": "x" * 200}) + "\n"
    path = root / "logs/access.jsonl"
    path.write_text(old * 80_000)
    with path.open("a") as file:
        file.write("".join(json.dumps({"at": ago(1), "status": 200}) + "\n" for _ in range(100)))
    size = path.stat().st_size
    before = bytes_read()
    sample = sample_of(view_of, SHARE, window="10s")
    assert (sample.value, sample.count) == (0.0, 100)
    assert size > 20_000_000
    assert bytes_read() - before < 1_000_000


def test_lines_out_of_order_within_a_minute_are_still_found(view_of: ViewOf, root: Path) -> None:
    """A line written late does not hide the newer ones above it."""
    write_log(root, {"at": ago(2), "ms": 10}, {"at": ago(40), "ms": 999}, {"at": ago(1), "ms": 20})
    assert sample_of(view_of, MEAN, window="10s").value == 15.0


def printing(code: str, **more: Any) -> dict[str, Any]:
    return {"command": {"argv": [sys.executable, "-I", "-c", code], "number": "stdout", **more}}


@pytest.mark.parametrize(
    ("source", "value", "why"),
    [
        (printing("print(' 3 ')"), 3.0, ""),
        (printing("print('nan')"), None, "no number"),
        (printing("print('lots')"), None, "no number"),
        (printing("print('true')"), None, "no number"),
        (printing("pass"), None, "printed nothing"),
        (printing("print(1); raise SystemExit(2)"), None, "ended with 2"),
        (printing("import time; time.sleep(9)", within="300ms"), None, "no answer within"),
        ({"command": {"argv": ["/no/such/program"]}}, None, "cannot be started"),
        ({"sql": {"database": "data/state.db", "query": "select count(*) from sessions"}}, 2.0, ""),
        ({"sql": {"database": "data/state.db", "query": "select x from y"}}, None, "no such table"),
        ({"sql": {"database": "data/state.db", "query": "select state from sessions"}}, None,
         "no number"),
        ({"sql": {"database": "data/state.db", "query": "select 1 where 0"}}, None, "no row"),
        ({"sql": {"database": "data/gone.db", "query": "select 1"}}, None, "no such file"),
        ({"check": {"files": {"exists": ["logs"]}}}, 1.0, ""),
        ({"check": {"files": {"exists": ["gone"]}}}, 0.0, ""),
        ({"check": {"command": {"argv": ["/no/such/program"]}}}, None, "cannot be started"),
        ({"check": {"metric": {"name": "m", "above": 0}}}, None, "made of itself"),
    ],
)  # fmt: skip
def test_programs_queries_and_checks_give_a_number_or_a_reason(
    view_of: ViewOf, source: dict[str, Any], value: float | None, why: str
) -> None:
    """Whatever cannot be read as a number, for whatever reason, is unknown."""
    sample = sample_of(view_of, source)
    assert sample.value == value
    assert why in sample.note


WAITING = {"directory": "data/queue", "pattern": "*/*.json"}
ILL = {"where": {"status": 500}, "count": 0}


@pytest.mark.parametrize(
    ("check", "unit", "value"),
    [
        ({"queue": {**WAITING, "depth": {"below": 2}}}, "count", 4.0),
        ({"queue": {**WAITING, "depth": {"below": 9}}}, "count", 4.0),
        ({"queue": {**WAITING, "depth": {"below": 2}}}, "boolean", 0.0),
        ({"queue": {"directory": "data/none", "depth": {"below": 9}}}, "count", None),
        ({"sql": {"database": "data/state.db", "query": "select count(*) * 7 from sessions"}}, "count", 14.0),
        ({"sql": {"database": "data/gone.db", "query": "select 1"}}, "count", None),
        ({"command": {"argv": ["/bin/echo", "0.25"], "number": "stdout", "above": 1}}, "fraction", 0.25),
        ({"command": {"argv": ["/bin/echo", "0.25"]}}, "boolean", 1.0),
        ({"command": {"argv": ["/bin/echo", "ill"], "number": "stdout", "above": 1}}, "fraction", None),
        ({"files": {"count": {"data/queue/builder/*.json": {"below": 3}}}}, "count", 4.0),
        ({"results": {"file": "results.tap"}}, "count", 2.0),
        ({"log": {"file": "logs/access.jsonl", "records": ILL}}, "count", 3.0),
        ({"metric": {"name": "five", "below": 3}}, "milliseconds", 5.0),
    ],
)  # fmt: skip
def test_what_a_check_measures_is_the_number_of_the_metric(
    view_of: ViewOf, root: Path, check: dict[str, Any], unit: str, value: float | None
) -> None:
    """Whether it passes or not; its yes or no only with unit boolean; nothing measured is unknown."""
    for number in range(4):
        (root / f"data/queue/builder/{number}.json").write_text("{}")
    (root / "results.tap").write_text("1..3\nok 1 - a\nnot ok 2 - b\nnot ok 3 - c\n")
    write_log(root, *[{"at": ago(1), "status": 500}] * 3)
    metrics = {"m": {"unit": unit, "source": {"check": check}},
               "five": {"unit": "milliseconds", "source": printing("print(5)")}}  # fmt: skip
    sample = read("m", view_of(metrics=metrics))
    assert sample.value == value, sample.note
    assert sample.note


def test_how_long_a_request_takes_is_a_number_too(view_of: ViewOf, product: str) -> None:
    """In milliseconds, whatever it was answered; nobody there is unknown, and no number of 0."""

    def took(url: str) -> Sample:
        return sample_of(
            view_of, {"check": {"http": {"url": url, "within": "3s"}}}, unit="milliseconds"
        )

    slow = took(f"{product}/slow?s=0.3").value
    assert slow is not None
    assert slow >= 300.0
    assert (took(f"{product}/status/500").value or 0) > 0
    assert took(f"http://127.0.0.1:{free_port()}/").value is None


WORK = [{"post": "URL/sessions", "json": {"task": "t"}, "save": {"id": "/id"}},
        {"get": "URL/sessions/{id}", "until": {"/state": "done"}}]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "unit"),
    [
        ({"load": {"url": "URL/decide", "rate": 10, "users": 1, "duration": "1s", "p95": {"below": "1ms"},
                   "min_samples": 1, "within": "60s"}}, "milliseconds"),
        ({"load": {"url": "URL/status/500", "rate": 10, "users": 1, "duration": "1s",
                   "errors": {"below": "1%"}, "min_samples": 1, "within": "60s"}}, "fraction"),
        ({"workflow": {"steps": WORK, "within": "20s"}}, "seconds"),
    ],
)  # fmt: skip
def test_what_load_and_work_cost_are_numbers(
    view_of: ViewOf, product: str, check: dict[str, Any], unit: str
) -> None:
    """The time that most requests keep, the share that went wrong, how long the work took."""
    written = json.loads(json.dumps(check).replace("URL", product))
    sample = read("m", view_of(metrics={"m": {"unit": unit, "source": {"check": written}}}))
    assert sample.value is not None, sample.note
    assert sample.value == 1.0 if unit == "fraction" else 0.0 < sample.value < 60_000.0


def test_a_unit_in_which_a_check_measures_nothing_is_refused(view_of: ViewOf) -> None:
    """With the units that it has: a yes is no second and no byte."""
    source = {"check": {"queue": {"directory": "data/queue", "depth": {"below": 9}}}}
    with pytest.raises(ValidationError, match="no number in seconds; write unit: boolean or"):
        view_of(metrics={"m": {"unit": "seconds", "source": source}})


def test_a_probe_counts_what_is_answered_in_time(view_of: ViewOf, product: str) -> None:
    """2xx counts; an error, a late answer and silence do not; silence is 0 and not unknown."""

    def share(url: str) -> float | None:
        return sample_of(view_of, {"probe": {"url": url, "probes": 3, "timeout": "400ms"}}).value

    assert share(f"{product}/agents") == 1.0
    assert share(f"{product}/status/500") == 0.0
    assert share(f"{product}/slow?s=2") == 0.0
    assert share(f"http://127.0.0.1:{free_port()}/") == 0.0


def test_a_probe_may_speak_tcp_or_be_a_program(view_of: ViewOf, product: str, root: Path) -> None:
    """Any check is asked as often: its passes are the share."""
    port = int(product.rpartition(":")[2])
    hello = {"send": "GET /agents HTTP/1.0\r\n\r\n"}

    def share(check: dict[str, Any]) -> float | None:
        return sample_of(view_of, {"probe": {"check": check, "probes": 4, "timeout": "2s"}}).value

    assert share({"port": {"ports": [port], **hello, "expect": "HTTP/1."}}) == 1.0
    assert share({"port": {"ports": [port], **hello, "expect": "SSH-"}}) == 0.0
    assert share({"port": {"ports": [free_port()], **hello}}) == 0.0
    for unmade in ({"queue": {"directory": "none", "depth": {"below": 9}}},
                   {"command": {"argv": ["/no/such/program"]}}):  # fmt: skip
        source = {"probe": {"check": unmade, "probes": 2}}
        found = sample_of(view_of, source)
        assert (found.value, found.note[:31]) == (None, "2 of 2 probes could not be made"), found
    hangs = [sys.executable, "-I", "-c", "import time; time.sleep(9)"]
    late = {"check": {"command": {"argv": hangs}}, "probes": 2, "timeout": "300ms"}
    assert sample_of(view_of, {"probe": late}).value == 0.0
    turns = "import os; os.mkdir(next(n for n in 'ab' if not os.path.isdir(n)))"
    argv = [sys.executable, "-I", "-c", turns]  # the first two succeed, whoever is first
    assert share({"command": {"argv": argv}}) in (0.25, 0.5)
    assert (root / "a").is_dir()


def test_how_long_probes_take_is_a_percentile_of_all_of_them(
    view_of: ViewOf, product: str, root: Path
) -> None:
    """In the unit of the metric; spread over a while, they are not all asked at once."""

    def took(unit: str, **probe: Any) -> Sample:
        return sample_of(view_of, {"probe": {"timeout": "5s", **probe}}, unit=unit)

    slow = f"{product}/slow?s=0.3"
    median, seconds = (
        took("milliseconds", url=slow, latency="median"),
        took("seconds", url=slow, latency="max"),
    )
    assert (median.count, seconds.count) == (3, 3)
    assert median.value is not None
    assert seconds.value is not None
    assert 300.0 <= median.value < 5000.0
    assert 0.3 <= seconds.value < 5.0
    stamp = [
        sys.executable,
        "-I",
        "-c",
        "import os, time; open('at', 'a').write(f'{time.time()}\\n')",
    ]
    began = time.monotonic()
    took("seconds", check={"command": {"argv": stamp}}, probes=3, over="900ms", latency="p95")
    assert time.monotonic() - began >= 0.6
    times = sorted(map(float, (root / "at").read_text().split()))
    assert times[-1] - times[0] >= 0.3


def test_a_probe_that_is_not_answered_is_slower_than_any_that_is(
    view_of: ViewOf, product: str, root: Path
) -> None:
    """Out of time, refused or answered badly: where the figure rests on it, there is none."""

    def took(latency: str, **probe: Any) -> Sample:
        source = {"probe": {"timeout": "400ms", "latency": latency, **probe}}
        return sample_of(view_of, source, unit="milliseconds")

    late = took("median", url=f"{product}/slow?s=2")
    assert late.value is None
    assert late.note == "no median: 3 not answered within 0.4 s, of 3 probes"
    for url in (f"http://127.0.0.1:{free_port()}/", f"{product}/status/500"):
        assert took("median", url=url).value is None
        assert took("max", url=url).note == "no max: 3 refused or answered badly, of 3 probes"
    once = "import os; os.mkdir('only')"  # one of three succeeds
    argv = [sys.executable, "-I", "-c", once]
    ill = took("median", check={"command": {"argv": argv}}, timeout="5s")
    assert (ill.value, ill.note) == (None, "no median: 2 refused or answered badly, of 3 probes")


def test_a_latency_is_a_time(view_of: ViewOf) -> None:
    """In another unit it is refused, with those that it can have."""
    source = {"probe": {"url": "http://127.0.0.1:1/", "latency": "p95"}}
    with pytest.raises(ValidationError, match="write unit: milliseconds or seconds"):
        view_of(metrics={"m": {"unit": "fraction", "source": source}})


def test_all_metrics_are_read_at_once_and_one_that_hangs_spoils_no_other(
    view_of: ViewOf, root: Path
) -> None:
    """Each has its own deadline; names that are not declared are refused."""
    view = view_of(metrics={
        "good": {"unit": "count", "source": printing("print(1)")},
        "hangs": {"unit": "count", "source": printing("import time; time.sleep(9)", within="1s")},
    })  # fmt: skip
    samples = read_all(view, ["good", "hangs"])
    assert (samples["good"].value, samples["hangs"].value) == (1.0, None)
    assert read_all(view, []) == {}
    with pytest.raises(PlanError, match="no metric god"):
        read_all(view, ["god"])


def test_a_number_is_read_while_the_database_is_written(view_of: ViewOf, root: Path) -> None:
    """In write-ahead mode a reader sees the last commit and disturbs nobody."""
    path = root / "data/state.db"
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("pragma journal_mode=wal")
        writer.execute("begin immediate")
        writer.execute("insert into sessions values ('c', 'running')")
        source = {"sql": {"database": "data/state.db", "query": "select count(*) from sessions"}}
        assert sample_of(view_of, source).value == 2.0
        writer.execute("commit")
        assert sample_of(view_of, source).value == 3.0
    writer.close()


# -- what a service uses -----------------------------------------------------------------------


def used(service: str, **more: Any) -> dict[str, Any]:
    return {"process": {"service": service, **more}}


def services() -> dict[str, Any]:
    by_lock = {"argv": ["unused"], "lock": "run/product.lock"}
    return {"product": by_lock, "unit": {"manager": "systemd", "unit": "web.service"}}


def test_what_a_service_uses_is_read_from_the_process_that_holds_its_lock(
    view_of: ViewOf, root: Path
) -> None:
    """Memory agrees with what the kernel says of that very process, and grows when it grows."""

    def read_now(**more: Any) -> Sample:
        source = used("product", **more)
        metrics = {"m": {"unit": "bytes" if not more else "count", "source": source}}
        return read("m", view_of(services=services(), metrics=metrics))

    with running(root) as (port, pid):
        before = read_now()
        status = Path(f"/proc/{pid}/status").read_text()
        kernel = int(status.split("VmRSS:")[1].split()[0]) * 1024
        assert before.value == pytest.approx(kernel, rel=0.05)
        assert (before.unit, before.count) == ("bytes", 1)
        assert f"process {pid}" in before.note
        for _ in range(400):
            assert net.request(f"http://127.0.0.1:{port}/grow", timeout_s=5.0).status == 200
        after = read_now()
        assert after.value is not None
        assert before.value is not None
        assert after.value - before.value > 400 * 40_000
        assert read_now(uses="processes").value == 1.0
        descriptors = read_now(uses="descriptors").value
        assert descriptors is not None
        assert 3 <= descriptors < 50


def test_what_a_service_uses_is_unknown_unless_its_one_process_answers_for_it(
    view_of: ViewOf, root: Path
) -> None:
    """Not running, no lock, not declared: a reason, and never a zero that looks like health."""

    def why(source: dict[str, Any], **sections: Any) -> str:
        metrics = {"m": {"unit": "bytes", "source": source}}
        sample = read("m", view_of(metrics=metrics, **sections))
        assert sample.value is None
        return sample.note

    assert why(used("product"), services=services()) == "product does not run"
    assert "has no lock" in why(used("unit"), services=services())
    assert "no service produkt" in why(used("produkt"), services=services())


# -- figures ---------------------------------------------------------------------------------------


def test_a_percentile_is_the_nearest_rank() -> None:
    """p95 of 1..100 is 95; thinning keeps the range even."""
    histogram = {float(n): 1 for n in range(1, 101)}
    assert percentile(histogram, 0.95) == 95.0
    assert percentile({7.0: 3}, 0.99) == 7.0
    assert spread_out(histogram, 10) == tuple(float(n) for n in range(6, 106, 10))


def test_a_slope_ignores_one_jump_and_its_interval_holds_the_truth() -> None:
    """A line is found exactly, one arena's jump at the start hardly moves it, noise widens it."""
    xs = [float(n * 100) for n in range(12)]
    exact = slope(xs, [5 * x + 3 for x in xs])
    assert exact is not None
    assert exact.estimate == pytest.approx(5)
    jump = slope(xs, [1e6 if x > 100 else 0.0 for x in xs])
    assert jump is not None
    assert jump.estimate == 0
    assert slope(xs[:5], xs[:5]) is None


def test_the_interval_of_a_slope_holds_the_true_one_nearly_always() -> None:
    """Of 300 noisy lines with a known slope, the interval misses it in few, and is not endless."""
    chance = random.Random(1)
    xs = [float(n) for n in range(12)]
    missed = 0
    for _ in range(300):
        found = slope(xs, [2 * x + chance.gauss(0, 3) for x in xs])
        assert found is not None
        missed += not found.low <= 2 <= found.high
        assert found.high - found.low < 5
    assert missed <= 24
