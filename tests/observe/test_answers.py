"""Checks of files, configuration, logs, databases, queues, flags and programs: each way to answer."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from rollback.host.clock import iso
from rollback.model.finding import Answer, Finding
from rollback.observe.check import ask, wait_for
from rollback.observe.view import View
from tests.observe.world import check, free_port

NOW = datetime.now(UTC)
ViewOf = Callable[..., View]


def answer_of(view: View, kind: str, /, **parameters: Any) -> str:
    finding = ask(check(kind, **parameters), view)
    assert finding.evidence
    return finding.answer.value


def told(view: View, kind: str, /, **parameters: Any) -> Finding:
    return ask(check(kind, **parameters), view)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.requirement("AW-40", "AW-41", "PM-51")
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"exists": ["config/config.yaml", "**/*.csv", "data/*/builder"]}, "pass"),
        ({"exists": ["config/gone.yaml"]}, "fail"),
        ({"exists": ["config/*.toml"]}, "fail"),
        ({"absent": ["config/gone.yaml", "data/**/*.json"]}, "pass"),
        ({"absent": ["logs/*"]}, "fail"),
        ({"contains": {"logs/out.txt": "well"}, "lacks": {"logs/*": ["ERROR"]}}, "pass"),
        ({"contains": {"logs/out.txt": ["well", "ill"]}}, "fail"),
        ({"lacks": {"logs/out.txt": "well"}}, "fail"),
        ({"count": {"logs/*": 2, "config/*": {"at_least": 2}}}, "pass"),
        ({"count": {"logs/*": {"below": 2}}}, "fail"),
        ({"equal": {"logs/out.txt": "logs/out.txt"}}, "pass"),
        ({"equal": {"logs/out.txt": "config/team.csv"}}, "fail"),
        ({"equal": {"logs/out.txt": "sha256:" + "0" * 64}}, "fail"),
        ({"contains": {"link.txt": "well"}}, "unknown"),
    ],
)
def test_files_are_there_gone_equal_or_hold_a_text(
    view: View, root: Path, parameters: dict[str, Any], expected: str
) -> None:
    """Each demand is answered; a link is not followed, so what stands behind it is unknown."""
    (root / "link.txt").symlink_to("logs/out.txt")
    assert answer_of(view, "files", **parameters) == expected


@pytest.mark.requirement("AW-38")
def test_a_missing_file_is_named(view: View) -> None:
    """The evidence of a failure says which path it is about."""
    finding = told(view, "files", exists=["config/config.yaml", "agents/dev.md", "agents/x.md"])
    assert finding.evidence == "agents/dev.md is missing; agents/x.md is missing"


# -- config --------------------------------------------------------------------------------------


@pytest.mark.requirement("PM-36", "AW-39", "AW-42", "AW-48")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", "pass"),
        ("maxAgents: 3", "maxRobots: 3", "party.maxAgents is missing"),
        ("6000", "60", "limits.requests_per_minute: 60 is not above 1000"),
        ("6000", "lots", "lots is not a number"),
        ("enabled: true", "enabled: false", "party.enabled: false is not true"),
        ("data/state.db", "data/gone.db", "data/gone.db does not exist"),
        ("data/state.db", "/etc/passwd", "an absolute path"),
        ("data/state.db", "../root/data/state.db", "'..'"),
        ("party:", "party: [", "does not parse"),
        ("  maxAgents: 3\n", "  maxAgents: 3\n  maxAgents: 4\n", "does not parse"),
    ],
)
def test_a_configuration_parses_and_holds_keys_values_and_paths(
    view: View, root: Path, old: str, new: str, expected: str
) -> None:
    """Dropping a key, a wrong value, a dangling path or broken YAML each fails, and says which."""
    path = root / "config/config.yaml"
    path.write_text(path.read_text().replace(old, new, 1) if old else path.read_text())
    finding = told(
        view, "config", file="config/config.yaml", keys=["party.maxAgents"],
        values={"limits.requests_per_minute": {"above": 1000}, "party.enabled": True},
        paths=["knowledge.file"],
    )  # fmt: skip
    if expected == "pass":
        assert finding.answer is Answer.PASS, finding.evidence
    else:
        assert finding.answer is Answer.FAIL
        assert expected in finding.evidence


def test_tables_json_and_env_files_are_read_too(view: View, root: Path) -> None:
    """Columns and rows of CSV, dotted keys of JSON, names of env files; a torn row does not parse."""
    (root / "a.json").write_text('{"agents": [{"name": "planner"}]}')
    (root / ".env").write_text("# switch\nexport PARTY_MODE='false'\n")
    (root / "torn.csv").write_text("name,role\nplanner\n")
    team = {"file": "config/team.csv", "columns": ["name", "role"]}
    assert answer_of(view, "config", **team, rows={"name": ["planner"]}) == "pass"
    assert answer_of(view, "config", **team, rows={"name": ["reviewer"]}) == "fail"
    assert answer_of(view, "config", file="config/team.csv", columns=["module"]) == "fail"
    assert answer_of(view, "config", file="torn.csv") == "fail"
    assert answer_of(view, "config", file="a.json", values={"agents.0.name": "planner"}) == "pass"
    assert answer_of(view, "config", file=".env", values={"PARTY_MODE": "false"}) == "pass"
    assert answer_of(view, "config", file="gone.json") == "fail"
    (root / "bad.yaml").symlink_to("a.json")
    assert answer_of(view, "config", file="bad.yaml") == "unknown"


# -- log -----------------------------------------------------------------------------------------


@pytest.mark.requirement("PM-30")
def test_lines_with_times_are_judged_by_them(view_of: ViewOf, root: Path) -> None:
    """An error before the mitigation is old; one after it fails; its traceback belongs to it."""
    before, since, after = (iso(NOW + timedelta(seconds=s)) for s in (-20, -10, -5))
    view = view_of(since=datetime.fromisoformat(since))
    log = root / "logs/out.txt"
    log.write_text(f"{before} ERROR old\nTraceback of the old one\n{after} fine\n")
    asked = {"file": "logs/out.txt", "lacks": ["ERROR", "Traceback"], "since": "mitigation"}
    assert answer_of(view, "log", **asked) == "pass"
    log.write_text(log.read_text() + f"[{after}] worker: ERROR new\n")
    finding = told(view, "log", **asked)
    assert finding.answer is Answer.FAIL
    assert "ERROR new" in finding.evidence
    assert "ERROR old" not in finding.evidence


def test_bad_lines_are_shown_once_each_the_newest_first(view_of: ViewOf, root: Path) -> None:
    """A hundred tracebacks that begin alike leave room for what says what was wrong."""
    lines = [f"ERROR kind {n % 2}\nTraceback (most recent call last):\n" for n in range(100)]
    (root / "logs/out.txt").write_text("".join(lines))
    finding = told(view_of(), "log", file="logs/out.txt", lacks=["ERROR", "Traceback"])
    assert finding.evidence.endswith(
        "“Traceback (most recent call last):”; “ERROR kind 1”; “ERROR kind 0”"
    )


def test_lines_without_times_count_from_the_held_length(view_of: ViewOf, root: Path) -> None:
    """Without times, what a checkpoint holds is left out; where none holds it, all counts."""
    log = root / "logs/out.txt"
    log.write_text("ERROR old\n")
    component = {"out": {"path": "logs/out.txt", "content": "append-only"}}
    held = {"out": {"size_bytes": log.stat().st_size, "sha256": "0" * 64}}
    asked = {"file": "logs/out.txt", "lacks": ["ERROR"], "since": "mitigation"}
    since = NOW - timedelta(seconds=10)
    log.write_text("ERROR old\nfine\n")
    assert (
        answer_of(view_of(since=since, held=held, components=component), "log", **asked) == "pass"
    )
    assert answer_of(view_of(since=since, components=component), "log", **asked) == "fail"
    log.write_text("ERROR old\nfine\nERROR new\n")
    assert (
        answer_of(view_of(since=since, held=held, components=component), "log", **asked) == "fail"
    )
    os.utime(log, (NOW.timestamp() - 60,) * 2)
    assert answer_of(view_of(since=since), "log", **asked) == "pass"  # not written since
    assert answer_of(view_of(), "log", file="logs/gone.txt", lacks=["ERROR"]) == "unknown"


@pytest.mark.requirement("PM-27", "PM-92")
def test_starts_without_an_end_are_found_beside_broken_lines(view: View, root: Path) -> None:
    """Three starts, one end, one malformed line: two sessions are named and nothing crashes."""
    old = iso(NOW - timedelta(minutes=5))
    lines = [json.dumps({"event": "SESSION_START", "sessionId": s, "at": old}) for s in "abc"]
    lines += ['{"event": "SESSION_ST', json.dumps({"event": "SESSION_END", "sessionId": "b"})]
    (root / "logs/audit.jsonl").write_text("\n".join(lines) + '\n{"event": "SESSION_START", "sess')
    pairs = {"field": "event", "start": "SESSION_START", "end": "SESSION_END",
             "key": "sessionId", "older_than": "30s"}  # fmt: skip
    finding = told(view, "log", file="logs/audit.jsonl", pairs=pairs)
    assert finding.answer is Answer.FAIL
    assert finding.details["lost"] == ["a", "c"]
    assert "1 malformed" in finding.evidence
    assert answer_of(
        view, "log", file="logs/audit.jsonl", pairs={**pairs, "older_than": "10m"}
    ) == "pass"  # fmt: skip


def test_records_are_counted_by_their_fields(view: View, root: Path) -> None:
    """A record counts when every field is as wanted."""
    rows = [{"event": "START", "mode": "party"}, {"event": "START", "mode": "single"}]
    (root / "logs/audit.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = {"event": "START", "mode": "party"}
    for count, expected in ((1, "pass"), (0, "fail"), ({"at_least": 2}, "fail")):
        asked = {"where": where, "count": count}
        assert answer_of(view, "log", file="logs/audit.jsonl", records=asked) == expected


@pytest.mark.requirement("PM-75")
def test_an_append_only_file_still_begins_with_what_was_held(view_of: ViewOf, root: Path) -> None:
    """Growing is fine; a changed or missing byte of what was held fails; nothing held is unknown."""
    log = root / "logs/audit.jsonl"
    log.write_bytes(b"one\ntwo\n")
    held = {"audit": {"size_bytes": 8, "sha256": hashlib.sha256(b"one\ntwo\n").hexdigest()}}
    asked = {"file": "logs/audit.jsonl", "append_only": "audit"}
    assert answer_of(view_of(), "log", **asked) == "unknown"
    for content, expected in ((b"one\ntwo\nthree", "pass"), (b"one\ntwO\nthree\n", "fail"),
                              (b"one\n", "fail")):  # fmt: skip
        log.write_bytes(content)
        assert answer_of(view_of(held=held), "log", **asked) == expected
    log.unlink()
    assert answer_of(view_of(held=held), "log", **asked) == "fail"


# -- sql -----------------------------------------------------------------------------------------


def test_a_database_in_use_is_asked_and_a_damaged_one_fails(view: View, root: Path) -> None:
    """Rows are read beside a writer; missing and damaged fail; a locked one is unknown."""
    asked: dict[str, Any] = {
        "database": "data/state.db", "within": "500ms",
        "query": "select count(*) from sessions where state = 'running'",
    }  # fmt: skip
    assert answer_of(view, "sql", **asked, equals=1, integrity=True) == "pass"
    assert answer_of(view, "sql", **asked, equals=2) == "fail"
    assert answer_of(view, "sql", **asked, above=0, at_most=1) == "pass"
    assert answer_of(view, "sql", database="data/state.db", query="select x from y") == "unknown"
    assert answer_of(view, "sql", database="data/gone.db", query="select 1") == "fail"
    with closing(sqlite3.connect(root / "data/state.db", isolation_level=None)) as writer:
        writer.execute("begin immediate")
        writer.execute("insert into sessions values ('c', 'running')")
        assert answer_of(view, "sql", **asked, equals=1) == "pass"  # not committed yet
        writer.execute("commit")
        writer.execute("begin exclusive")
        assert answer_of(view, "sql", **asked, equals=2) == "unknown"
        writer.execute("rollback")
    path = root / "data/state.db"
    path.write_bytes(path.read_bytes()[:1000] + os.urandom(3096) + path.read_bytes()[4096:])
    assert answer_of(view, "sql", database="data/state.db", integrity=True) == "fail"
    path.write_bytes(b"not a database at all" * 500)
    assert answer_of(view, "sql", database="data/state.db", integrity=True) == "fail"


# -- queue ---------------------------------------------------------------------------------------


def test_what_waits_in_a_queue_must_leave(view: View, root: Path) -> None:
    """A deep queue fails, a stuck one fails and says how many, a moving one passes."""
    folder = root / "data/queue/builder"
    asked: dict[str, Any] = {"directory": "data/queue", "pattern": "*/*.json"}
    files = [folder / f"{n}.json" for n in range(4)]
    for file in files:
        file.write_text("{}")
    assert answer_of(view, "queue", **asked, depth={"below": 4}) == "fail"
    stuck = told(view, "queue", **asked, depth={"below": 9}, drains_within="300ms")
    assert (stuck.answer, stuck.details["stuck"]) == (Answer.FAIL, 4)
    assert told(view, "queue", **asked, depth={"at_least": 0}).details["value"] == 4
    worker = threading.Thread(target=lambda: [file.unlink() for file in files])
    (folder / "text.txt").write_text("no work")
    worker.start()
    assert answer_of(view, "queue", **asked, depth={"below": 9}, drains_within="5s") == "pass"
    worker.join()
    assert answer_of(view, "queue", directory="data/none", depth={"below": 9}) == "unknown"
    assert answer_of(view, "queue", **asked, drains_within="5s") == "pass"


# -- flag, command, metric -----------------------------------------------------------------------


def test_a_flag_is_what_its_reader_says(view_of: ViewOf, product: str) -> None:
    """The value and its type must match; a silent reader, or none, is unknown."""
    reader = {"http": {"url": f"{product}/flags/party", "pointer": "/value"}}
    silent = {"http": {"url": f"http://127.0.0.1:{free_port()}/", "pointer": "/value"}}
    printed = {"command": {"argv": [sys.executable, "-c", "print('true')"]}}
    view = view_of(flags={
        "party": {"layered": {"default": True}, "reader": reader},
        "silent": {"layered": {"default": True}, "reader": silent},
        "printed": {"layered": {"default": True}, "reader": printed},
        "none": {"layered": {"default": True}},
    })  # fmt: skip
    assert answer_of(view, "flag", **{"flag": "party", "is": False}) == "pass"
    assert answer_of(view, "flag", **{"flag": "party", "is": True}) == "fail"
    assert answer_of(view, "flag", **{"flag": "party", "is": 0}) == "fail"
    assert answer_of(view, "flag", **{"flag": "printed", "is": True}) == "pass"
    for name in ("silent", "none", "misspelt"):
        assert answer_of(view, "flag", **{"flag": name, "is": False}) == "unknown"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


@pytest.mark.requirement("PM-48", "PM-61")
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"argv": python("print('74 passed')"), "counts": {r"(\d+) passed": 74}}, "pass"),
        ({"argv": python("print('73 passed')"), "counts": {r"(\d+) passed": 74}}, "fail"),
        ({"argv": python("print('a\\na\\n')"), "counts": {r"^a$": {"at_least": 2}}}, "pass"),
        ({"argv": python("raise SystemExit(3)"), "exit": 3}, "pass"),
        ({"argv": python("raise SystemExit(3)")}, "fail"),
        ({"argv": python("print('ok')"), "contains": "ok", "absent": ["bad"]}, "pass"),
        ({"argv": python("print('bad')"), "absent": "bad"}, "fail"),
        ({"argv": python("print(0)"), "number": "stdout", "equals": 0}, "pass"),
        ({"argv": python("print('nan')"), "number": "stdout", "below": 5}, "fail"),
        ({"argv": python("import time; time.sleep(9)"), "within": "300ms"}, "unknown"),
        ({"argv": ["/no/such/program"]}, "unknown"),
        ({"argv": python("pass"), "cwd": "no/such/folder"}, "unknown"),
    ],
)
def test_a_program_ends_and_says_as_declared(
    view: View, parameters: dict[str, Any], expected: str
) -> None:
    """Exit status, texts and counted numbers; a program that cannot answer is unknown."""
    assert answer_of(view, "command", **parameters) == expected


def test_a_metric_within_limits(view_of: ViewOf) -> None:
    """A number in the limits passes, out of them fails, and none is unknown."""

    def source(code: str) -> dict[str, Any]:
        return {"unit": "count", "source": {"command": {"argv": python(code)}}}

    view = view_of(metrics={"two": source("print(2)"), "nan": source("print('nan')")})
    assert answer_of(view, "metric", name="two", below=3) == "pass"
    assert answer_of(view, "metric", name="two", below=2) == "fail"
    assert answer_of(view, "metric", name="nan", below=3) == "unknown"
    assert answer_of(view, "metric", name="gone", below=3) == "unknown"


def test_waiting_for_a_check_ends_with_its_first_pass(view: View, root: Path) -> None:
    """It passes as soon as the answer changes, and gives the last no when it does not."""
    asked = check("files", exists=["ready"])
    assert wait_for(asked, view, within_s=0.3).answer is Answer.FAIL
    timer = threading.Timer(0.2, (root / "ready").touch)
    timer.start()
    assert wait_for(asked, view, within_s=10).answer is Answer.PASS
    timer.join()


# -- what is refused when the declaration is read ---------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters", "reason"),
    [
        ("http", {"url": "http://x/", "schema": {"allOf": []}}, "allOf"),
        ("http", {"url": "http://x/", "schema": {"properties": {"a": {"type": "int"}}}}, "int"),
        ("http", {"url": "ftp://x/"}, "no web address"),
        ("http", {"url": "http://u:p@x/"}, "user name"),
        ("http", {"url": "http://x/", "pointer": {"ready": 3}}, "slash"),
        ("http", {"url": "http://x/", "pointer": {"/a": {"over": 3}}}, "above, below"),
        ("http", {"url": "http://x/", "pointer": {"/a": float("nan")}}, "usable number"),
        ("files", {}, "nothing is asked"),
        ("files", {"exists": ["../etc/passwd"]}, ".."),
        ("files", {"equal": {"a": "sha256:12"}}, "digest"),
        ("command", {"argv": ["x"], "counts": {"(": 1}}, "regular expression"),
        ("command", {"argv": ["x"], "below": 1}, "number: stdout"),
        ("metric", {"name": "x"}, "no limit"),
        ("load", {"url": "http://x/", "rate": 1, "duration": "2s", "errors": {"below": 1}}, "samples"),
        ("workflow", {"steps": [{"get": "http://x/{id}"}]}, "was not saved"),
        ("workflow", {"steps": [{"get": "http://x/", "contains": {"/a": "{id}"}}]}, "was not saved"),
        ("workflow", {"steps": [{"get": "http://x/", "post": "http://x/"}]}, "one of"),
        ("workflow", {"steps": [{"get": "http://x/", "tokens": "only-own"}]}, "token: true"),
        ("sql", {"database": "x.db", "equals": 1}, "nothing is asked"),
        ("config", {"file": "x.toml"}, "write format"),
        ("queue", {"directory": "x", "depth": 5}, "no limit"),
        ("memory", {"service": "x", "url": "http://x/", "slope": {"above": 1}}, "upper limit"),
    ],
)  # fmt: skip
def test_a_check_that_could_prove_nothing_is_refused(
    kind: str, parameters: dict[str, Any], reason: str
) -> None:
    """What is not looked at, or can never hold, is a problem of the declaration."""
    with pytest.raises((PydanticCustomError, ValidationError)) as refused:
        check(kind, **parameters)
    context = getattr(refused.value, "context", None) or {}
    assert reason in str(context.get("errors", refused.value))
