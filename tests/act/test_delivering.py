"""What is queued is delivered from the journal, by a process that no run waits for, once."""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize, delivering
from rollback.act.afterwards import settle, write_report
from rollback.act.driving import drive
from rollback.act.site import Site
from rollback.act.telling import tell_people
from rollback.declare import secret_values
from rollback.host import Clock
from rollback.model.errors import RunLocked
from rollback.model.lifecycle import State
from tests.cli.program import rollback
from tests.systems import Shop, build
from tests.tell.services import mail_server, served
from tests.tell.test_message import listening
from tests.watch.places import told

SINKS = ("file", "webhook", "mail", "journal", "report", "status")


def shop_with(folder: Path, channels: str, audience: str, *, on: str = "[held]") -> Shop:
    """A shop that tells people on these channels when the agent needs them."""
    made = build(folder / "shop")
    made.edit("people:\n", f"""notify:
  channels:
{channels}
  audiences: {{ops: {audience}}}
  messages:
    look: {{audience: ops, on: {on}, title: Look, text: "look: {{reason}}"}}
people:
""")  # fmt: skip
    return made


def closed_port() -> int:
    """A port of the loopback where nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def hook(port: int, more: str = "") -> str:
    return f'{{webhook: {{url: "http://127.0.0.1:{port}/", within: 2s{more}}}}}'


def queue(site: Site, *reasons: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message for each reason is queued, and nobody delivers it yet."""
    with monkeypatch.context() as patched:
        patched.setattr(delivering, "leave", lambda _site: None)
        for reason in reasons:
            tell_people(site, "held", f"agent-{reason[0]}", reason=reason)


def came(site: Site) -> list[tuple[str, Any]]:
    """What the journal says came of messages: kind, and channel or channels."""
    return [(e.kind.partition(".")[2], e.data.get("channel") or e.data.get("channels"))
            for e in site.journal.events()
            if e.kind in ("message.failed", "message.delivered")]  # fmt: skip


@pytest.mark.requirement("QL-65")
def test_a_channel_that_fails_gives_way_to_the_one_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead webhook, then the mail; both stand in the journal, and the file behind it is left alone."""
    with mail_server() as (port, mails):
        monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=a@example.org"
                                   "&to=b@example.org&mode=insecure")  # fmt: skip
        shop = shop_with(tmp_path, f"""    web: {hook(closed_port(), ", fallback: mail")}
    mail: {{apprise: {{url: "env:MAIL", fallback: file}}}}
    file: {{file: {{path: box.jsonl}}}}""", "[web]")  # fmt: skip
        with shop.site() as site:
            queue(site, "all is on fire", monkeypatch=monkeypatch)
            found = delivering.deliver(site)
            assert [(one.channel, one.ok, one.instead_of) for one in found] == [
                ("web", False, ""), ("mail", True, "web"),
            ]  # fmt: skip
            assert came(site) == [("failed", "web"), ("delivered", ["mail"])]
            (last,) = told(site, "message.delivered")
            assert last.data["instead_of"] == {"mail": "web"}
            assert delivering.waiting(site) == ()
    assert "all is on fire" in mails[0][2]
    assert not (shop.folder / "box.jsonl").exists()


def test_a_channel_that_fails_for_good_ends_after_three_times_over_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once again: whoever was away needs a while to come back."""
    shop = shop_with(tmp_path, f"    web: {hook(closed_port())}", "[web]")
    with shop.site() as site:
        queue(site, "x", monkeypatch=monkeypatch)
        for seconds, so_far in ((0, 1), (40, 1), (25, 2), (190, 2), (55, 3), (10_000, 3)):
            shop.clock.ahead_s += seconds
            delivering.deliver(site)
            assert len(came(site)) == so_far
        assert delivering.waiting(site) == ()


def test_a_channel_hears_of_messages_in_their_order_and_a_dead_one_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has just failed is not waited for again in the same pass."""
    with listening() as (port, got), listening(silent=True) as (dead, hung):
        shop = shop_with(tmp_path, f"    web: {hook(port)}\n    dead: {hook(dead)}", "[web, dead]")
        with shop.site() as site:
            queue(site, *"abcdef", monkeypatch=monkeypatch)
            delivering.deliver(site)
    assert [one["text"] for one in got] == [f"look: {letter}" for letter in "abcdef"]
    assert len(hung) == 1


def test_two_who_deliver_at_once_deliver_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, and finds nothing left; each message arrives once."""
    with listening() as (port, got):
        shop = shop_with(
            tmp_path,
            f"    web: {hook(port)}\n    file: {{file: {{path: box.jsonl}}}}",
            "[web, file]",
        )
        with shop.site() as site:
            queue(site, *"abc", monkeypatch=monkeypatch)

        def one() -> None:
            with shop.site() as mine:
                delivering.deliver(mine)

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(message["text"] for message in got) == ["look: a", "look: b", "look: c"]
    assert len((shop.folder / "box.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"count": 9999, "head": "x"}', b'{"count": 2}', None]
)
def test_the_cursor_may_be_lost_or_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    """It stands behind what was delivered; a wrong one costs a longer look, and sends nothing twice."""
    shop = shop_with(tmp_path, "    file: {file: {path: box.jsonl}}", "[file]")
    with shop.site() as site:
        queue(site, "a", monkeypatch=monkeypatch)
        delivering.deliver(site)
        cursor = site.state.path / delivering.CURSOR
        assert json.loads(cursor.read_bytes())["count"] == len(site.journal.events())
        cursor.unlink() if damage is None else cursor.write_bytes(damage)
        queue(site, "b", "c", monkeypatch=monkeypatch)
        assert len(delivering.waiting(site)) == 2
        delivering.deliver(site)
        assert delivering.waiting(site) == ()
    assert len((shop.folder / "box.jsonl").read_text().splitlines()) == 3


def test_a_run_starts_the_process_and_does_not_wait_for_it(tmp_path: Path) -> None:
    """It ends while the channel still hangs; then the process notes what came of it."""
    release = threading.Event()

    def talk(link: socket.socket) -> None:
        link.recv(65536)
        release.wait(60)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with served(talk) as port:
        web = f'    web: {{webhook: {{url: "http://127.0.0.1:{port}/", within: 50s}}}}'
        shop = shop_with(tmp_path, web, "[web]", on="[started, mitigated, complete]")
        with shop.site() as site:
            site.checkpoints.create("good")
            (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
            run = authorize.create(site, shop.plan(site, "config"))
            authorize.approve(site, run, person="ada")
            assert drive(site, run, wait=False).state is State.COMPLETE
            assert told(site, "message.delivered") == []
            release.set()
            assert Clock().poll(lambda: len(told(site, "message.delivered")) == 3, within_s=60)


def test_a_process_that_cannot_be_started_is_a_failure_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on, and the journal says why nobody was told."""
    shop = shop_with(tmp_path, f"    web: {hook(closed_port())}", "[web]")
    monkeypatch.setattr("sys.executable", str(tmp_path / "nothing"))
    with shop.site() as site:
        tell_people(site, "held", "agent-1", reason="x")
        (failed,) = told(site, "message.failed")
        assert "cannot be started" in str(failed.data["detail"])


def test_who_waits_for_another_too_long_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs holds nobody up for ever."""
    shop = shop_with(tmp_path, "    file: {file: {path: box.jsonl}}", "[file]")
    monkeypatch.setattr(delivering, "WAITS_S", 2.1)
    with shop.site() as site:
        queue(site, "a", monkeypatch=monkeypatch)
        name = f"{delivering.FOLDER}/near.lock"
        site.state.tree.make_folder(delivering.FOLDER)
        with site.state.tree.lock(name, clock=site.host.clock), pytest.raises(RunLocked):
            delivering.deliver(site)


@pytest.mark.parametrize("sink", SINKS)
def test_no_secret_leaves_in_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: str
) -> None:
    """Known by its value, in any spelling, from whatever field it comes: in none of six sinks."""
    secret = "hunter2-hunter2"
    with mail_server() as (port, mails), listening() as (web, got):
        monkeypatch.setenv("MAIL", f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=a@example.org"
                                   "&to=b@example.org&mode=insecure")  # fmt: skip
        monkeypatch.setenv("OTHER", secret)
        shop = shop_with(tmp_path, f"""    file: {{file: {{path: box.jsonl}}}}
    web: {hook(web)}
    mail: {{apprise: {{url: "env:MAIL"}}}}
    other: {{apprise: {{url: "env:OTHER"}}}}""", "[file, web, mail]", on="[abandoned]")  # fmt: skip
        with shop.site(secrets=secret_values(shop.system)) as site:
            run = authorize.create(site, shop.plan(site, "flag"))
            run = site.note(
                run, "run.abandoned", reason=f"{secret} {secret[::-1]} {secret.encode().hex()}"
            )
            settle(site, run)
            delivering.deliver(site)
            assert Clock().poll(lambda: delivering.waiting(site) == (), within_s=60)
            told_ = {
                "file": (shop.folder / "box.jsonl").read_text(), "webhook": json.dumps(got),
                "mail": json.dumps(mails), "journal": shop.journal.read_text(),
                "report": Path(write_report(site, run)).read_text(),
                "status": rollback(shop.folder, "status").out,
            }[sink]  # fmt: skip
    if sink in ("file", "webhook", "mail"):
        assert "REDACTED" in told_
    for spelling in (secret, secret[::-1], secret.encode().hex()):
        assert spelling not in told_


@pytest.mark.requirement("AW-18")
def test_what_a_step_says_has_left_before_the_next_step_begins(tmp_path: Path) -> None:
    """Two channels of who is on call: a person is asked to phone, chat has it, then the rest goes on."""
    with listening() as (port, heard):
        made = shop_with(tmp_path, (
            f"    chat: {hook(port)}\n    phone: {{phone: {{who: the on-call engineer, role: op}}}}"
        ), "[phone, chat]")  # fmt: skip
        waits = ("import sys, time\nuntil = time.monotonic() + 20\n"
                 "while 'chat' not in open(sys.argv[1]).read():\n"
                 "    assert time.monotonic() < until\n    time.sleep(0.05)\n")  # fmt: skip
        (made.tree / "waits.py").write_text(waits)
        journal = made.folder / ".rollback/journal/events.jsonl"
        argv = json.dumps([sys.executable, "-I", "waits.py", str(journal)])
        made.edit("steps: [{restore: {component: config}}]",
                  "steps: [{notify: {message: look, id: call}}, "
                  f"{{command: {{argv: {argv}, within: 25s}}}}]")  # fmt: skip
        made.edit('text: "look: {reason}"', 'text: "come: {level}"')
        with made.site() as site:
            site.checkpoints.create("good")
            (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
            run = authorize.create(site, made.plan(site, "config"))
            authorize.approve(site, run, person="ada")
            run = drive(site, run, wait=False)
            events = site.journal.events()
        (arrived,) = [
            n for n, e in enumerate(events) if e.data.get("channels") == ["phone", "chat"]
        ]
        second = [n for n, event in enumerate(events) if event.kind == "step.ended"][1]
        assert arrived < second
        assert run.state is State.COMPLETE
        assert any("come: config" in one for one in map(str, heard))
