"""Messages: plain fields, one id, and channels that can hurt nobody."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import rollback.kinds  # noqa: F401 - registers the notifiers
from rollback import declare
from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.engine import roll_back
from rollback.host import Clock, Host
from rollback.model.event import Event
from rollback.model.registry import Kind, kinds, read_item
from rollback.tell.delivery import ATTEMPTS_MAX, deliver, undelivered
from rollback.tell.facts import facts
from rollback.tell.message import FIELD_CHARS_MAX, TEXT_CHARS_MAX, due_in, queued, render
from tests.systems import build

STUDIO = Path(__file__).parents[2] / "systems" / "studio.yaml"


@pytest.fixture
def system(tmp_path):
    """The studio, declared in a folder of its own."""
    (tmp_path / "rollback.yaml").write_bytes(STUDIO.read_bytes())
    (tmp_path / "studio").mkdir()
    return declare.load(tmp_path / "rollback.yaml")


def said(system: Any) -> dict[str, str]:
    """The fields that a message may use which is about no run."""
    return facts(system, now=Clock().now(), state=system.state_path)


def channels(system: Any, **made: Any) -> Any:
    """The system with these channels, all of them heard by `users`."""
    read = {name: one if isinstance(one, Kind) else read_item("notifier", one)
            for name, one in made.items()}  # fmt: skip
    notify = system.notify.model_copy(
        update={"channels": read, "audiences": {"users": tuple(made)}}
    )
    found = system.having(notify=notify)
    found._declaration = system.declaration
    return found


def event(system: Any, **more: Any) -> Event:
    """A queued message."""
    data = queued(system, "users-flag", said(system), run="r1", step="3")
    return Event(
        1, "2026-11-20T12:00:00.000000Z", "b", 1.0, "message.queued", "r1", {**data, **more}
    )


@contextmanager
def listening(status: int = 200, *, silent: bool = False, headers: tuple[tuple[str, str], ...] = (),
              body: bytes = b"ok") -> Iterator[tuple[int, list[dict[str, Any]]]]:  # fmt: skip
    """A server on the loopback; what it was sent."""
    got: list[dict[str, Any]] = []
    release = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(json.loads(raw))
            if silent:
                release.wait(20)
                return
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            got.append({"followed": True})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], got
    finally:
        release.set()
        server.shutdown()
        server.server_close()


@given(st.text(max_size=300), st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True),
                                              st.text(max_size=50), max_size=4))  # fmt: skip
def test_rendering_fills_names_and_nothing_else(text, fields):
    """No text is a program: braces, formats and attributes of values stay text."""
    filled, missing = render(text, fields)
    assert len(filled) <= TEXT_CHARS_MAX
    for name in missing:
        assert "{" + name + "}" in text
        assert not fields.get(name)


def test_a_field_does_not_open_another_field_or_a_format():
    """What was filled in is not looked at again."""
    assert render("{a}", {"a": "{b}", "b": "x"}) == ("{b}", ())
    assert (
        render("{a.__class__} {a!r} {a:>10} {0}", {"a": "x"})[0]
        == "{a.__class__} {a!r} {a:>10} {0}"
    )


def test_a_field_is_cut_and_cleaned_of_what_a_terminal_obeys():
    """Long values and escape codes do not reach people."""
    filled, _ = render("{a}", {"a": "\x1b[31m" + "x" * 5000})
    assert "\x1b" not in filled
    assert len(filled) == FIELD_CHARS_MAX


def test_a_queued_message_has_one_id_and_names_what_is_missing(system):
    """Run, step and name make the id; a text without its field says so."""
    known = {name: text for name, text in said(system).items() if name != "target_at"}
    data = queued(system, "users-restore", known, run="r1", step="9")
    assert data["id"] == "r1/9/users-restore"
    assert data["missing"] == ["target_at"]
    assert str(data["text"]).startswith("Agent Studio: ")
    assert due_in(system, "NEEDS_OPERATOR") == ("run-state",)
    assert due_in(system, "RUNNING") == ()


@pytest.mark.requirement("MB-59")
def test_a_message_with_an_unfilled_field_goes_nowhere_and_is_not_tried_again(system):
    """It is refused by name on every channel at once; what nobody filled in, no later try fills."""
    known = {name: text for name, text in said(system).items() if name != "target_at"}
    data = queued(system, "users-restore", known, run="r1", step="9")
    refused = Event(1, "2026-11-20T12:00:00.000000Z", "b", 1.0, "message.queued", "r1", data)
    (found,) = deliver(system, Host(), refused)
    assert (found.ok, found.channel) == (False, "")
    assert found.detail == "not sent: nobody filled in target_at"
    assert not (system.declaration.parent / "outbox").exists()
    assert undelivered([refused]) == (refused,)
    failed = Event(2, "", "", 0.0, "message.failed", "r1", found.data())
    assert undelivered([refused, failed]) == ()


def test_a_message_becomes_a_line_in_the_file_of_the_channel(system):
    """Beside the declaration, in a folder that is made."""
    (found,) = deliver(system, Host(), event(system))
    assert found.ok, found.detail
    lines = (system.declaration.parent / "outbox/users.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["r1/3/users-flag"]
    deliver(system, Host(), event(system))
    assert len((system.declaration.parent / "outbox/users.jsonl").read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_an_answer(system):
    """A folder in its place; a link that leads out."""
    (system.declaration.parent / "outbox/users.jsonl").mkdir(parents=True)
    (found,) = deliver(system, Host(), event(system))
    assert not found.ok
    outside = system.declaration.parent / "secret"
    outside.write_text("")
    (system.declaration.parent / "outbox/users.jsonl").rmdir()
    (system.declaration.parent / "outbox/users.jsonl").symlink_to(outside)
    (found,) = deliver(system, Host(), event(system))
    assert not found.ok
    assert outside.read_text() == ""


def test_a_webhook_gets_the_message_as_json(system):
    """Once, with an id that lets the receiver tell a repetition."""
    with listening() as (port, got):
        one = channels(system, hook={"webhook": {"url": f"http://127.0.0.1:{port}/x"}})
        (found,) = deliver(one, Host(), event(one))
    assert found.ok, found.detail
    assert [message["id"] for message in got] == ["r1/3/users-flag"]


def test_a_webhook_that_says_no_redirects_floods_or_is_away_is_an_answer(system):
    """No redirect is followed, no endless answer read."""
    with listening(500) as (port, _):
        one = channels(system, hook={"webhook": {"url": f"http://127.0.0.1:{port}/"}})
        assert "500" in deliver(one, Host(), event(one))[0].detail
    with (
        listening() as (other, followed),
        listening(302, headers=(("Location", f"http://127.0.0.1:{other}/"),)) as (port, _),
    ):
        one = channels(system, hook={"webhook": {"url": f"http://127.0.0.1:{port}/"}})
        assert not deliver(one, Host(), event(one))[0].ok
        assert followed == []
    with listening(body=b"x" * 2**20) as (port, _):
        one = channels(system, hook={"webhook": {"url": f"http://127.0.0.1:{port}/"}})
        assert not deliver(one, Host(), event(one))[0].ok
    one = channels(system, hook={"webhook": {"url": f"http://127.0.0.1:{port}/"}})
    assert "no answer" in deliver(one, Host(), event(one))[0].detail


def test_a_channel_that_hangs_holds_up_neither_the_others_nor_the_caller(system):
    """The deadline is for all of them together."""
    host = Host()
    with listening(silent=True) as (port, _):
        hook = {"webhook": {"url": f"http://127.0.0.1:{port}/", "within": "5s"}}
        one = channels(system, hook=hook, file={"file": {"path": "box.jsonl"}})
        began = host.clock.boot_s()
        found = {d.channel: d for d in deliver(one, host, event(one), deadline_s=0.5)}
        assert host.clock.boot_s() - began < 3
    assert found["file"].ok
    assert not found["hook"].ok


def test_another_machine_is_called_only_where_it_is_allowed():
    """By host and port, in the declaration."""
    with pytest.raises(ValidationError, match="another machine"):
        kinds("notifier")["webhook"].model_validate({"url": "https://example.com/x"})
    kinds("notifier")["webhook"].model_validate(
        {"url": "https://example.com/x", "allow": ["example.com:443"]}
    )


def test_a_notifier_that_breaks_is_an_answer_and_nobody_listening_is_one(system):
    """Never an exception."""

    class Broken(kinds("notifier")["file"]):  # type: ignore[misc]
        def deliver(self, *_: Any) -> str:
            raise RuntimeError("broken \x1b[31m")

    one = channels(system, broken=Broken(path="x"))
    (found,) = deliver(one, Host(), event(one))
    assert not found.ok
    assert "RuntimeError" in found.detail
    assert "\x1b" not in found.detail
    (nobody,) = deliver(system, Host(), event(system, audience="nobody"))
    assert not nobody.ok


def test_what_is_undelivered_is_tried_again_a_few_times_and_once_per_id(system):
    """Queued twice is one message; delivered ends it; so do enough failures."""
    first = event(system)
    twice = Event(2, "", "", 0.0, "message.queued", "r1", dict(first.data))
    assert undelivered([first, twice]) == (first,)
    done = Event(3, "", "", 0.0, "message.delivered", "r1", {"id": first.data["id"]})
    assert undelivered([first, twice, done]) == ()
    failed = Event(3, "", "", 0.0, "message.failed", "r1", {"id": first.data["id"]})
    assert undelivered([first, failed]) == (first,)
    assert undelivered([first, *[failed] * ATTEMPTS_MAX]) == ()


def test_a_message_is_tried_again_only_where_it_did_not_arrive(tmp_path: Path) -> None:
    """One channel is down: the other one gets the message once; the journal says which had it."""
    made = build(tmp_path)
    made.edit(
        "people:\n",
        """notify:
  channels:
    log: {file: {path: said.jsonl}}
    down: {file: {path: blocked/said.jsonl}}
  audiences: {users: [log, down]}
  messages:
    gone: {audience: users, text: "we go back", on: [complete]}
people:
""",
    )
    (tmp_path / "blocked").write_text("no folder")
    with made.site() as site:
        run = authorize.create(site, made.plan(site, "flag"))
        authorize.approve(site, run, person="ada")
        run = settle(site, roll_back(site, run.id))
        settle(site, run)
        assert len((tmp_path / "said.jsonl").read_text().splitlines()) == 1
        (tmp_path / "blocked").unlink()
        settle(site, run)
        settle(site, run)
        told = [(e.kind, e.data.get("channel"), e.data.get("channels")) for e in site.journal.events()
                if e.kind.startswith("message.") and e.kind != "message.queued"]  # fmt: skip
    assert len((tmp_path / "said.jsonl").read_text().splitlines()) == 1
    assert len((tmp_path / "blocked" / "said.jsonl").read_text().splitlines()) == 1
    assert told == [
        ("message.failed", "down", None), ("message.delivered", "log", None),
        ("message.failed", "down", None), ("message.delivered", None, ["log", "down"]),
    ]  # fmt: skip
