"""What the page of a check shows beside its answer: conversations, differences, excerpts, a picture."""

from __future__ import annotations

import json
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollback.prove import exhibit
from tests.prove.conftest import Little

SECRET = "correct-horse-battery"
HIDDEN = ("staple-cookie", "staple-json", SECRET)  # what is declared openly stands in evidence, too


class Product(BaseHTTPRequestHandler):
    """Says much that nobody else should hear."""

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        body = json.dumps({"access_token": "staple-json", "state": "well", "said": SECRET}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", "id=staple-cookie")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()


@pytest.fixture
def product() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Product) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def shown(little: Little, left: Path, suite: Any = "smoke") -> dict[str, dict[str, str]]:
    """What is attached to each test, by its name."""
    little.extra += "environments: {production: {allows: [none, test-data, load]}}\n"
    little.run(suite, leaves=left)
    folder, told = left / "allure-results", {}
    for file in folder.glob("*-result.json"):
        one = json.loads(file.read_text())
        told[one["name"]] = {
            a["name"]: (folder / a["source"]).read_text() for a in one["attachments"]
        }
    return told


def test_a_conversation_is_shown_as_it_went_without_what_opens_a_door(
    little: Little, product: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Question and answer, headers and bodies; cookies, authorization, telling names and secrets masked."""
    monkeypatch.setenv("APP_SECRET", SECRET)
    little.extra = "environment: {variables: {APP_SECRET: {}}}\n"
    little.checks = {"smoke": [
        f'- http: {{id: asked, url: "{product}/a?api_key=staple-query&page=2", method: POST, effects: none, '
        'headers: {Authorization: Bearer staple-bearer}, json: {n: 1}}',
        '- http: {id: silent, url: "http://127.0.0.1:1/x", within: 1s}',
        '- workflow: {id: work, effects: none, '
        f'steps: [{{get: "{product}/one"}}, {{get: "{product}/two"}}]}}',
    ]}  # fmt: skip
    told = shown(little, tmp_path)
    text = told["asked"]["transcript"]
    first, *_ = text.splitlines()
    assert first == f"> POST {product}/a?api_key=***REDACTED***&page=2"
    for line in ("> Authorization: ***REDACTED***", '>   "n": 1',
                 "< set-cookie: ***REDACTED***", '<   "access_token": "***REDACTED***",',
                 '<   "state": "well"', '<   "said": "***REDACTED***",'):  # fmt: skip
        assert line in text.splitlines(), line
    assert "\n< 200 in " in text
    assert told["silent"]["transcript"].startswith("> GET http://127.0.0.1:1/x\n! no answer: ")
    lines = told["work"]["transcript"].splitlines()
    assert [line for line in lines if line.startswith("> ")] == [
        f"> GET {product}/one", f"> GET {product}/two",
    ]  # fmt: skip
    assert "staple-" not in text
    left = "".join(path.read_text() for path in (tmp_path / "allure-results").iterdir())
    assert [one for one in HIDDEN if one in left] == []


def test_what_differs_is_shown_line_by_line(little: Little, tmp_path: Path) -> None:
    """Of a file that should be like another, and of values that are not as declared."""
    app = little.folder / "app"
    (app / "good.txt").write_text("one\ntwo\nthree\n")
    (app / "bad.txt").write_text("one\n2\nthree\n")
    (app / "raw.bin").write_bytes(b"\0\1")
    (app / "app.yaml").write_text("limit: 99\nname: [a]\n")
    little.checks = {"smoke": [
        "- files: {id: same, equal: {bad.txt: good.txt}}",
        "- files: {id: raw, equal: {bad.txt: raw.bin}}",
        "- files: {id: alike, equal: {good.txt: good.txt}}",
        "- config: {id: limits, file: app.yaml, keys: [name, gone], "
        "values: {limit: {at_most: 10}, state: there}}",
    ]}  # fmt: skip
    told = shown(little, tmp_path)
    assert told["same"]["difference of bad.txt"].splitlines() == [
        "--- good.txt", "+++ bad.txt", "@@ -1,3 +1,3 @@", " one", "-two", "+2", " three",
    ]  # fmt: skip
    assert told["raw"]["difference of bad.txt"] == "no text: raw.bin 2 B, bad.txt 12 B\n"
    assert [name for name in told["alike"] if "difference" in name] == []
    assert told["limits"]["difference of app.yaml"].splitlines() == [
        "--- as declared", "+++ app.yaml", "-gone: (anything)", "-limit: at most 10", "+limit: 99",
        "-state: there",
    ]  # fmt: skip


def test_a_log_that_is_wrong_shows_where(little: Little, tmp_path: Path) -> None:
    """The lines that must not be there, marked, with those around them, however far back."""
    lines = [f"line {number}" for number in range(500)]
    lines[100] = "ERROR the first"
    lines[101] = "ERROR the second"
    lines[300] = "ERROR the third"
    (little.folder / "app" / "app.log").write_text("\n".join(lines) + "\n")
    little.checks = {"smoke": ["- log: {id: quiet, file: app.log, lacks: [ERROR]}"]}
    assert shown(little, tmp_path)["quiet"]["what is wrong in app.log"].splitlines() == [
        "  line 98", "  line 99", "> ERROR the first", "> ERROR the second", "  line 102",
        "  line 103", "  …", "  line 298", "  line 299", "> ERROR the third", "  line 301", "  line 302",
    ]  # fmt: skip


def test_a_load_is_shown_over_time(little: Little, product: str, tmp_path: Path) -> None:
    """As a picture with its limits, in place of a line of its sorted samples."""
    little.gate = "suites: [performance]"
    little.checks = {"performance": [
        f'- load: {{id: quick, url: "{product}/x", rate: 40, users: 2, duration: 2s, min_samples: 20, '
        "p95: {below: 250ms}, errors: {below: 1%}, within: 40s}"]}  # fmt: skip
    told = shown(little, tmp_path, "performance")["quick"]
    assert "samples: response_ms" not in told
    svg = ET.fromstring(told["load"])
    said = {one.text for one in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {
        "p95 below 250 ms",
        "errors below 1%",
        "asked for: 40",
        f"quick: GET {product}/x",
    } <= said
    lines = [one.attrib["points"] for one in svg.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 5
    assert all(len(points.split(" ")) > 2 for points in lines)


@pytest.mark.parametrize(
    ("checklist", "item", "story"),
    [("[{id: i, item: It is there, check: there}]", "MB-1", "It is there"),
     ("[{id: i, item: Another, check: other}]", "MB-1", "MB-1"), ("[]", "", "there")],
)  # fmt: skip
def test_the_story_of_a_check_is_the_item_that_rests_on_it(
    little: Little, tmp_path: Path, checklist: str, item: str, story: str
) -> None:
    """A line of the level's checklist; without one the demand, and without that its title."""
    shows = f", item: {item}" if item else ""
    little.checks = {"smoke": [f"- files: {{id: there{shows}, exists: [data/a.txt]}}",
                               "- files: {id: other, exists: [data/a.txt]}"]}  # fmt: skip
    gate = "gate: {suites: [smoke]}"
    text = little.declare().read_text()
    little.file.write_text(text.replace(gate, f"{gate}\n    checklist: {checklist}", 1))
    import rollback.kinds  # noqa: F401 - the declaration names kinds
    from rollback.declare import load

    assert little.run(leaves=tmp_path, system=load(little.file)).open
    found = [
        json.loads(file.read_text()) for file in (tmp_path / "allure-results").glob("*-result.json")
    ]
    labels = {
        one["name"]: {label["name"]: label["value"] for label in one["labels"]} for one in found
    }
    assert labels["there"]["story"] == story


def test_a_long_answer_is_cut_and_says_so() -> None:
    """A report stays one that can be opened."""
    from rollback.keep.redact import Redactor
    from rollback.model.finding import Exchange

    body = "\n".join("x" * 5000 for _ in range(500)).encode()
    one = Exchange("GET", "http://x/", {}, b"", 200, {}, body, 0.1)
    lines = exhibit.transcript([one], Redactor()).splitlines()
    assert len(lines) < exhibit.BODY_LINES_MAX + 10
    assert max(map(len, lines)) <= exhibit.LINE_CHARS_MAX + 2
    assert f"< … {500 - exhibit.BODY_LINES_MAX} more lines" in lines
