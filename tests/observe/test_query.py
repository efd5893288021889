"""Questions in SQL about logs: what they see, what they may not touch, and when there is no number."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host.clock import iso
from rollback.model.finding import Sample
from rollback.observe.metric import read
from rollback.observe.view import View

ViewOf = Callable[..., View]
LOG = "logs/sessions.jsonl"
SHARE = "select avg((outcome = 'success')::int), count(*) from log"


def asked(view_of: ViewOf, sql: str = SHARE, *, file: str = LOG, **more: Any) -> Sample:
    declared = {name: more.pop(name) for name in ("window", "min_samples") if name in more}
    source = {"query": {"file": file, "sql": sql, **more}}
    sample = read("m", view_of(metrics={"m": {"unit": "fraction", "source": source, **declared}}))
    assert sample.known or sample.note, "a sample without a number says why"
    return sample


def ago(seconds: float) -> str:
    return iso(datetime.now(UTC) - timedelta(seconds=seconds))


def written(root: Path, *rows: dict[str, Any], torn: str = "") -> None:
    (root / LOG).parent.mkdir(exist_ok=True)
    (root / LOG).write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


@pytest.fixture
def sessions(root: Path) -> Path:
    """Ten of the last hour of which eight went well, ten older ones of which none did."""
    old = [{"at": ago(7200 + n), "outcome": "failed"} for n in range(10)]
    young = [{"at": ago(600 + n), "outcome": "success" if n > 1 else "failed"} for n in range(10)]
    written(root, *old, *reversed(young), torn='{"at": "2026-')
    return root


@pytest.mark.requirement("PM-21", "PM-23")
@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize(
    ("more", "value", "count"),
    [({}, 0.4, 20), ({"window": "1h"}, 0.8, 10), ({"newest": 5}, 0.6, 5), ({"newest": 100}, 0.4, 20),
     ({"window": "1h", "newest": 100}, 0.8, 10)],
)  # fmt: skip
def test_a_question_sees_a_window_of_time_or_the_newest_rows(
    view_of: ViewOf, more: dict[str, Any], value: float, count: int
) -> None:
    """The last hour, the last hundred; a line that is being written is none of them."""
    sample = asked(view_of, **more)
    assert (sample.value, sample.count) == (pytest.approx(value), count)


@pytest.mark.usefixtures("sessions")
@pytest.mark.parametrize(
    ("sql", "more", "why"),
    [
        ("select avg(ms) from log", {}, "ms"),
        ("select null", {}, "NULL"),
        ("select 'many'", {}, "many"),
        ("select 'nan'::double", {}, "nan"),
        ("select true", {}, "True"),
        ("select 1 where false", {}, "no row"),
        ("select 1 from log", {}, "several rows"),
        ("select 1, 'x'", {}, "no number of readings"),
        ("selec 1", {}, "syntax error"),
        (SHARE, {"time": "when"}, "there is no column when"),
        (SHARE, {"file": "logs/none.jsonl"}, "none.jsonl"),
        (SHARE, {"file": "logs/strange.txt"}, "no kind of table"),
        (SHARE, {"window": "1s"}, "NULL"),
        (SHARE, {"window": "1h", "min_samples": 11}, "too few"),
        ("select 0.5", {"min_samples": 2}, "too few"),
        ("select sum(a.range * b.range) from range(10000000) a, range(10000000) b",
         {"within": "200ms"}, "no answer within"),
    ],
)  # fmt: skip
def test_without_one_number_in_time_it_is_unknown_and_says_why(
    root: Path, view_of: ViewOf, sql: str, more: dict[str, Any], why: str
) -> None:
    """No row, NULL, too few readings, a question that fails or never ends: never a zero."""
    (root / "logs/strange.txt").write_text("1\n")
    sample = asked(view_of, sql, **more)
    assert sample.value is None
    assert why in sample.note


@pytest.mark.usefixtures("sessions")
def test_a_question_reaches_nothing_but_its_file(
    root: Path, view_of: ViewOf, tmp_path: Path
) -> None:
    """Other files, writing, attaching, extensions, settings; each works in a bare database."""
    secret, target = tmp_path / "secret.csv", tmp_path / "out.csv"
    secret.write_text("a\n7\n")
    tricks = [f"select a from read_csv('{secret}')", f"copy (select 7) to '{target}'",
              f"attach '{tmp_path}/new.db'", f"select count(*) from glob('{tmp_path}/*')",
              "set enable_external_access = true", "set allowed_paths = ['/']",
              f"export database '{tmp_path}/all'"]  # fmt: skip
    with duckdb.connect(":memory:") as bare:
        assert bare.execute(tricks[0]).fetchall() == [(7,)]
        bare.execute(tricks[1])
        assert target.exists()
    target.unlink()
    before = (root / LOG).read_bytes()
    for trick in tricks:
        assert asked(view_of, trick).value is None, trick
        assert asked(view_of, f"{trick}; select 1").value is None, trick
    assert (root / LOG).read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir() if one != root) == ["secret.csv"]


def test_a_link_is_not_followed(root: Path, view_of: ViewOf, tmp_path: Path) -> None:
    """Wherever it leads."""
    (tmp_path / "elsewhere.jsonl").write_text(
        json.dumps({"at": ago(1), "outcome": "success"}) + "\n"
    )
    (root / "logs").mkdir(exist_ok=True)
    (root / LOG).unlink(missing_ok=True)
    (root / LOG).symlink_to(tmp_path / "elsewhere.jsonl")
    assert asked(view_of).value is None


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_tables_of_other_kinds(root: Path, view_of: ViewOf, end: str) -> None:
    """By the end of the name; times as numbers count as seconds."""
    (root / "logs").mkdir(exist_ok=True)
    now = datetime.now(UTC).timestamp()
    file = root / f"logs/t.{end}"
    with duckdb.connect(":memory:") as made:
        made.execute(
            f"copy (select {now} - range * 60 as at, range % 4 as kind from range(100)) to '{file}'"
        )
    sample = asked(view_of, "select count(*) filter (kind = 1), count(*) from log",
                   file=f"logs/t.{end}", window="1h")  # fmt: skip
    assert (sample.value, sample.count) == (15, 60)
    sample = asked(view_of, "select max(kind) from log", file=f"logs/t.{end}", time=None)
    assert sample.value == 3


rows = st.lists(st.tuples(st.integers(-3, 7200), st.sampled_from(["success", "failed"])), min_size=1,
                max_size=40)  # fmt: skip


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told=rows)
def test_it_agrees_with_the_metric_that_reads_line_by_line(
    root: Path, view_of: ViewOf, told: list[tuple[int, str]]
) -> None:
    """Two readers of one log: share and count over the last hour, lines from the future left out."""
    written(
        root, *({"at": ago(age + 0.5), "outcome": how} for age, how in sorted(told, reverse=True))
    )
    source = {
        "log": {"file": LOG, "share": {"field": "outcome", "equals": "success"}, "time": "at"}
    }
    other = read(
        "m", view_of(metrics={"m": {"unit": "fraction", "source": source, "window": "1h"}})
    )
    mine = asked(view_of, window="1h")
    assert (mine.value, mine.count) == (other.value, other.count)
