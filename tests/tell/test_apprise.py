"""Messages through Apprise: by its JSON and its mail, against servers on the loopback."""

from __future__ import annotations

import email
import email.policy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import rollback.kinds  # noqa: F401 - registers the notifiers
from rollback.host import Host
from rollback.model.registry import read_item
from rollback.tell.message import Outgoing
from tests.tell.services import mail_server
from tests.tell.test_message import listening

HOST = Host()


def channel(**parameters: Any) -> Any:
    return read_item("notifier", {"apprise": parameters})


def message(text: str = "we went back", title: str = "Shop", **more: Any) -> Outgoing:
    return Outgoing(id="r1/3/gone", name="gone", audience="all", title=title, text=text, run="r1",
                    at="2026-11-20T12:00:00.000000Z", **more)  # fmt: skip


def test_a_service_gets_title_and_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The address comes from a reference when it is delivered, and is in no declaration."""
    with listening() as (port, got):
        monkeypatch.setenv("CHAT_URL", f"json://127.0.0.1:{port}/room")
        assert channel(url="env:CHAT_URL").deliver(message(), tmp_path, HOST) == ""
    ((one),) = got
    assert (one["title"], one["message"]) == ("Shop", "we went back")


@pytest.mark.requirement("AW-27", "QL-65")
def test_a_mail_reaches_each_of_its_recipients(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Three people, one text, a subject of one line."""
    with mail_server() as (port, got):
        to = "tech-lead@example.org,pm@example.org,infrastructure@example.org"
        monkeypatch.setenv("MAIL_URL", f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&from=rollback@example.org"
                                       f"&to={to}&mode=insecure")  # fmt: skip
        said = channel(url="env:MAIL_URL").deliver(
            message("Expected to take 30 minutes.", "URGENT"), tmp_path, HOST
        )
        assert said == ""
    assert sorted(name for _, names, _ in got for name in names) == sorted(to.split(","))
    mail = email.message_from_string(got[0][2], policy=email.policy.default)
    assert mail["Subject"] == "URGENT"
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert "Expected to take 30 minutes." in body.get_content()


def test_what_a_service_refuses_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An error, nobody there, no address, no reference: each is said, and no secret with it."""
    with listening(500) as (port, _):
        monkeypatch.setenv("U", f"json://someone:hunter2hunter2@127.0.0.1:{port}/")
        said = channel(url="env:U").deliver(message(), tmp_path, HOST)
        assert "500" in said
        assert "hunter2" not in said
    assert channel(url="env:U").deliver(message(), tmp_path, HOST)
    monkeypatch.setenv("U", "nothing://at-all")
    assert "no address" in channel(url="env:U").deliver(message(), tmp_path, HOST)
    monkeypatch.delenv("U")
    assert "U is not set" in channel(url="env:U").deliver(message(), tmp_path, HOST)


def test_a_secret_may_not_stand_in_the_declaration() -> None:
    """An address of a service is a reference; one without a secret in it may be written."""
    for url in ("slack://T1/B2/C3", "json://me:secret@127.0.0.1/", "tgram://123:abc/1"):
        with pytest.raises(ValidationError, match="write a reference"):
            channel_class().model_validate({"url": url})
    channel_class().model_validate({"url": "json://127.0.0.1:8080/"})


def channel_class() -> Any:
    return type(channel(url="env:X"))


def test_another_machine_is_called_only_where_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No look-up leaves for a host that nobody wrote down; the answer says what to write."""
    monkeypatch.setenv("U", "json://chat.example.invalid:8443/")
    said = channel(url="env:U").deliver(message(), tmp_path, HOST)
    assert (
        said
        == 'chat.example.invalid:8443 is not allowed; write allow: ["chat.example.invalid:8443"]'
    )
    monkeypatch.setenv("U", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/")
    assert "hooks.slack.com:443 is not allowed" in channel(url="env:U").deliver(
        message(), tmp_path, HOST
    )


def test_the_library_is_loaded_only_where_something_is_delivered() -> None:
    """Reading a declaration that names the kind costs nothing of it."""
    code = """import sys, rollback.kinds
from rollback.model.registry import read_item
read_item("notifier", {"apprise": {"url": "env:X"}})
sys.exit("apprise" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0
