"""What an Allure report shows of a check and of a run; and that its page is never a condition."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.host import Host
from rollback.prove import allure, exhibit
from rollback.prove.trend import LINES_MAX, Dated, Trend
from tests.prove.conftest import Little

LOG = "- log: {id: quiet, item: MB-67.4, file: app.log, lacks: [ERROR]}"
SECRET = "hunter2-hunter2"
REPORTER = """#!/bin/sh
echo "$@" >> "$CALLS"
shift; what=$1; for one in "$@"; do
  case $last in --output) out=$one;; --history-path) history=$one;; --report-name) name=$one;; esac
  last=$one
done
if [ "$what" != history ]; then
  mkdir "$out" && printf 'a page after %s\\n<script src="//googletagmanager.com">\\nits end\\n' \
    "$(wc -l < "$history")" > "$out/index.html"
fi
printf '{"uuid": "made up", "name": "%s", "timestamp": 1, "testResults": {}}\\n' "$name" >> "$history"
"""
NUMBERS = st.lists(st.floats(-1e12, 1e12), min_size=3, max_size=50)


def results(folder: Path) -> dict[str, Any]:
    found = [json.loads(file.read_text()) for file in folder.glob("*-result.json")]
    return {one["name"]: one for one in found}


def attached(folder: Path, result: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: (folder / one["source"]).read_text() for one in result["attachments"]}


def test_a_check_shows_its_steps_and_the_end_of_its_log_without_secrets(
    little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked, answered; a red check fails in the step that answers, and its log is there."""
    monkeypatch.setenv("APP_SECRET", SECRET)
    little.checks = {"smoke": [LOG]}
    little.extra = "environment: {variables: {APP_SECRET: {}}}\n"
    lines = [f"line {number}" for number in range(5000)]
    (little.folder / "app" / "app.log").write_text("\n".join([*lines, f"ERROR {SECRET}\n"]))
    assert not little.run(leaves=tmp_path).open
    found = results(tmp_path / "allure-results")["quiet"]
    asked, answered = found["steps"]
    assert (asked["name"], asked["status"]) == ("Ask: log app.log", "passed")
    assert answered["name"].startswith("Answer: fail, wanted pass: app.log: ")
    assert answered["status"] == "failed"
    log = attached(tmp_path / "allure-results", found)["the end of app.log"].splitlines()
    assert log[-2:] == ["line 4999", "ERROR ***REDACTED***"]
    assert len(log) == exhibit.LOG_LINES_MAX
    assert {"name": "tag", "value": "MB-67.4"} in found["labels"]


def test_no_nameless_teardown_is_left_in_the_results(little: Little, tmp_path: Path) -> None:
    """Pytest's own clearing up has no outcome, and would stand there with a question mark."""
    assert little.run(leaves=tmp_path).open
    containers = [*(tmp_path / "allure-results").glob("*-container.json")]
    afters = [one for file in containers for one in json.loads(file.read_text())["afters"]]
    assert containers
    assert [one["name"] for one in afters if "<lambda>" in one["name"]] == []


def dated(folder: Path, number: int = 1) -> Dated:
    """A run of that minute, with results."""
    found = folder / f"results-{number}"
    found.mkdir(exist_ok=True)
    (found / "x-result.json").write_text("{}")
    return Dated(f"r000{number}", f"2026-11-20T12:0{number}:00.000000Z", f"run {number}", found)


@given(NUMBERS)
def test_a_series_is_drawn_whole_and_summed_up_in_order(values: list[float]) -> None:
    """The chart is an SVG with one point a reading; the figures never fall from left to right."""
    svg = ET.fromstring(exhibit.chart("a <b>", values))
    line = svg.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    assert len(line.attrib["points"].split(" ")) == len(values)
    _, (name, count, *figures) = csv.reader(exhibit.table({"a,b": values}).splitlines())
    assert (name, int(count)) == ("a,b", len(values))
    assert [float(one) for one in figures] == sorted(map(float, figures))


REPORT: dict[str, Any] = {
    "run_id": "r0001", "title": "Back", "system": "little", "level": "back", "state": "COMPLETE",
    "stopped_for": "", "gate": {}, "requester": "one", "reason": "",
    "phases": [{"phase": "steps", "took_s": 1.5}],
    "timeline": [
        {"at": "2026-11-20T12:00:00.000000Z", "event": "run.planned", "said": ""},
        {"at": "2026-11-20T12:00:01.000000Z", "event": "step.began", "said": "stop"},
        {"at": "2026-11-20T12:00:03.000000Z", "event": "gate.opened", "said": ""},
    ],
    "steps": [
        {"index": "1", "id": "stop", "kind": "service", "says": ["stop it"], "status": "ended",
         "took_s": 0.5, "error": "", "evidence": {"pid": 7}},
        {"index": "2", "id": "never", "kind": "wait", "says": [], "status": "", "took_s": None,
         "error": "", "evidence": {}},
    ],
}  # fmt: skip


def test_a_run_stands_once_among_the_results_however_often_it_is_reported(tmp_path: Path) -> None:
    """It passes only as COMPLETE; a step that was not reached is skipped."""
    for state in ("NEEDS_OPERATOR", "COMPLETE"):
        allure.tell_run(tmp_path, Host(), "Little", {**REPORT, "state": state}, "# text")
        (one,) = results(tmp_path).values()
        assert one["status"] == ("passed" if state == "COMPLETE" else "failed")
    assert one["stop"] - one["start"] == 3000
    assert [(step["name"], step["status"]) for step in one["steps"]] == [
        ("Where the time went", "passed"),
        ("1. stop (service): stop it", "passed"),
        ("2. never (wait): ", "skipped"),
    ]
    assert attached(tmp_path, one)["report"] == "# text"


def reporter(folder: Path, script: str) -> Path:
    """A checkout's reports folder, and a `node` that behaves as the script says, first in PATH."""
    programs = folder / "bin"
    programs.mkdir()
    node = programs / "node"
    node.write_text(script.replace("$CALLS", str(folder / "calls")))
    node.chmod(node.stat().st_mode | stat.S_IXUSR)
    installed = folder / "reports" / "node_modules" / ".bin"
    installed.mkdir(parents=True)
    (installed / "allure").touch()
    (folder / "reports" / "package-lock.json").write_text("{}")
    return programs


def test_the_page_asks_nobody_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file; the line that calls home is not in it."""
    programs = reporter(tmp_path, REPORTER)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    out = tmp_path / "run" / "allure.html"
    out.parent.mkdir()
    made = allure.page(dated(tmp_path), Host(), out, system="s", reports=tmp_path / "reports")
    assert made == allure.Page(out)
    assert out.read_text() == "a page after 0\nits end\n"
    assert os.listdir(out.parent) == ["allure.html"]
    (call,) = (tmp_path / "calls").read_text().splitlines()
    words = call.split(" ")
    assert words[0] == str(tmp_path / "reports/node_modules/allure/cli.js")
    assert words[1:3] == ["awesome", str(dated(tmp_path).results)]
    assert "--single-file" in words
    assert {"--config", "--output", "--history-path", "--report-name", "--group-by"} < {*words}


def test_trends_hold_each_run_of_a_system_once_and_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page shows the runs before it: also those without a page, never itself or what came after."""
    programs = reporter(tmp_path, REPORTER)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    reports, out = tmp_path / "reports", tmp_path / "allure.html"
    runs = [dated(tmp_path, number) for number in (1, 2, 3, 4)]

    def page(number: int, system: str = "s") -> str:
        made = allure.page(runs[number], Host(), out, system=system, earlier=runs[:number],
                           reports=reports)  # fmt: skip
        assert made == allure.Page(out)
        return out.read_text().splitlines()[0]

    assert page(2) == "a page after 2"
    assert page(0) == "a page after 0"
    assert page(3) == "a page after 3"
    assert page(3) == "a page after 3"  # again: nothing more
    assert page(0, "another") == "a page after 0"
    kept = [json.loads(line) for line in (reports / "history/s.jsonl").read_text().splitlines()]
    assert [one["uuid"] for one in kept] == [run.key for run in runs]
    assert [one["name"] for one in kept] == ["run 1", "run 2", "run 3", "run 4"]
    assert (tmp_path / "calls").read_text().count(" history ") == 2


def test_a_history_that_cannot_be_read_or_written_costs_the_trend_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torn lines are passed over and let go; with something in its place there is still a page."""
    programs = reporter(tmp_path, REPORTER)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    reports, out = tmp_path / "reports", tmp_path / "allure.html"
    history = reports / "history" / "s.jsonl"
    history.parent.mkdir()
    history.write_text('{"uuid": "torn", "timest\n[]\n"text"\n\xff\n')
    page = allure.page(dated(tmp_path), Host(), out, system="s", reports=reports)
    assert page == allure.Page(out)
    assert len(history.read_text().splitlines()) == 1
    history.unlink()
    history.mkdir()
    assert allure.page(dated(tmp_path), Host(), out, system="s", reports=reports) == page


def test_a_history_does_not_grow_for_ever(tmp_path: Path) -> None:
    """The newest runs are kept."""
    trend = Trend(tmp_path, Host(), "s")
    line = b'{"uuid": "", "timestamp": 0, "testResults": {}}\n'
    for number in range(LINES_MAX + 3):
        at = f"2026-11-20T12:{number:02}:00.000000Z"
        trend.keep(Dated(f"r{number}", at, "", tmp_path), line)
    kept = (tmp_path / "history/s.jsonl").read_text().splitlines()
    assert len(kept) == LINES_MAX
    assert json.loads(kept[0])["uuid"].startswith("r3@")


@pytest.mark.parametrize(
    ("script", "path", "missing"),
    [
        (REPORTER, "", "Node.js 20 or newer is not installed here"),
        ("#!/bin/sh\necho 'cannot' >&2; exit 3\n", None, "allure ended with status 3: cannot"),
        ("#!/bin/sh\nexit 0\n", None, "allure wrote no page"),
        ("#!/nowhere/sh\n", None, "cannot be started"),
    ],
)
def test_without_a_page_it_is_said_in_one_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, path: str | None, missing: str
) -> None:
    """Never an error: the results are complete without the page."""
    programs = reporter(tmp_path, script)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}" if path is None else path)
    out = tmp_path / "allure.html"
    made = allure.page(dated(tmp_path), Host(), out, system="s", reports=tmp_path / "reports")
    assert made.path is None
    assert missing in made.missing
    assert "\n" not in made.missing
    assert not out.exists()


def test_outside_a_checkout_nothing_is_fetched(tmp_path: Path) -> None:
    """Only what a lock file pins is installed."""
    made = allure.page(
        dated(tmp_path), Host(), tmp_path / "allure.html", system="s", reports=tmp_path
    )
    assert made.missing == "the pinned Allure lies in reports/ of a checkout, and this is none"


@pytest.mark.parametrize(
    ("status", "message", "category"),
    [("failed", "AssertionError: check a answered FAIL, wanted pass: x\ny", "Not well"),
     ("failed", "AssertionError: check a answered UNKNOWN, wanted pass: x", "Not known"),
     ("failed", "AssertionError: check a answered PASS, wanted fail: x", "Red on purpose"),
     ("failed", "NEEDS_OPERATOR: smoke: check a answered FAIL, wanted pass: x", "The run did not end"),
     ("failed", "AssertionError: one is not two", "A test of the team failed"),
     ("broken", "OSError: no", "A test could not be carried out"), ("skipped", "", "Nothing was asked")],
)  # fmt: skip
def test_failures_of_different_kinds_stand_apart(
    little: Little, tmp_path: Path, status: str, message: str, category: str
) -> None:
    """The first category that fits, for an Allure that matches the whole message or a part of it."""
    assert little.run(leaves=tmp_path).open
    found = json.loads((tmp_path / "allure-results" / "categories.json").read_text())
    for match in (re.search, re.fullmatch):
        first = next(one for one in found if status in one["matchedStatuses"]
                     and match(one.get("messageRegex", r"[\s\S]*"), message))  # fmt: skip
        assert first["name"].startswith(category)


def test_what_is_installed_at_the_first_page_is_said_before_it_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: where it is there already nothing is said."""
    programs = reporter(tmp_path, REPORTER)
    installed = tmp_path / "reports" / "node_modules" / ".bin" / "allure"
    installed.unlink()
    npm, said = programs / "npm", tmp_path / "said"
    npm.write_text(f"#!/bin/sh\ntest -s {said} && touch {installed}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def say(line: str) -> None:
        with said.open("a") as file:
            file.write(f"{line}\n")

    for _ in range(2):
        allure.page(dated(tmp_path), Host(), tmp_path / "allure.html", system="s",
                    reports=tmp_path / "reports", say=say)  # fmt: skip
    (line,) = said.read_text().splitlines()
    assert line.startswith(f"Allure is installed into {tmp_path / 'reports/node_modules'}, once;")
    assert installed.exists()
