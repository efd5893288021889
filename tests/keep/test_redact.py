"""Secrets leave no trace: twenty canaries in every spelling, and whatever a key tells."""

from __future__ import annotations

import base64
import html
import json
import shlex
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.declare import load, secret_values
from rollback.host import Host
from rollback.keep.journal import Journal
from rollback.keep.redact import MASK, Redactor, spellings
from rollback.model.finding import Json
from tests.systems import build

CANARIES = (
    "hunter2-hunter2", "p@ss w0rd!", "a'b\"c\\d<e>&f", "tök€n-ünïcode", "xoxb-1111-2222-abcdef",
    "line1\nline2-secret", "tab\tseparated", "AKIAZZZZZZZZZZZZZZZZ", "%41%42encoded", "ends-with-=",
    "0123456789", "UPPERCASE-SECRET", "mixedCase-Secret9", "sl/ash/es+plus", "emoji-\U0001f511-key",
    "$(not-a-shell)", "{json: like}", "semi;colon,comma", "0xdeadbeefcafe", "trailing-space-x ",
)  # fmt: skip


def written(secret: str) -> list[str]:
    """The ways in which a secret turns up in other programs' output, made by the standard library."""
    raw = secret.encode()
    return [
        secret, json.dumps(secret), json.dumps({"a": json.dumps(secret)}), repr(secret),
        urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret), urllib.parse.urlencode({"q": secret}), html.escape(secret),
        shlex.quote(secret), raw.hex(), raw.hex().upper(), raw.hex(" "),
        base64.b64encode(raw).decode(), base64.b64encode(b"user:" + raw + b"@host").decode(),
        base64.b64encode(b"x" + raw).decode(), base64.b64encode(b"xy" + raw + b"z").decode(),
        base64.urlsafe_b64encode(raw).decode(), base64.b32encode(raw).decode(),
        f"https://u:{urllib.parse.quote(secret, safe='')}@example.org/x", secret.upper(),
        f"argv: --password={secret} --verbose", secret[::-1],
    ]  # fmt: skip


def leaks(secret: str, text: str) -> bool:
    """An independent look: does the text hold the secret, as it is or decoded?"""
    lowered = text.casefold()
    forms = {
        secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe=""), secret.encode().hex(),
        base64.b64encode(secret.encode()).decode().rstrip("="), html.escape(secret),
    }  # fmt: skip
    return any(form.casefold() in lowered for form in forms)


@pytest.mark.requirement("QL-63")
def test_no_canary_in_any_spelling_reaches_the_journal(tmp_path: Path) -> None:
    """20 secrets, 23 spellings, in values, keys, lists and nested text: 0 hits in the file."""
    host = Host()
    hide = Redactor(CANARIES).data
    journal = Journal(host.tree(str(tmp_path)), host, redact=hide)
    checked = 0
    for secret in CANARIES:
        for text in written(secret):
            around = f"error: {text} was refused"
            data: dict[str, Json] = {
                "error": around, "list": [text, {"deep": [around]}], "map": {text: 1, "n": {"m": text}},
            }  # fmt: skip
            journal.append("run.noted", data=data)
            checked += 1
    journal.close()
    file = (tmp_path / "events.jsonl").read_text()
    assert checked == 20 * 23
    for secret in CANARIES:
        assert not leaks(secret, file), secret
        for part in secret.splitlines():
            assert len(part) < 6 or part not in file


def test_the_harness_would_see_a_leak(tmp_path: Path) -> None:
    """The control: without redaction every canary is found."""
    host = Host()
    journal = Journal(host.tree(str(tmp_path)), host)
    for secret in CANARIES:
        journal.append("run.noted", data={"error": secret})
    journal.close()
    file = (tmp_path / "events.jsonl").read_text()
    assert all(leaks(secret, file) for secret in CANARIES)


@pytest.mark.requirement("QL-63")
@pytest.mark.parametrize(
    "key",
    ["password", "API_Key", "apiKey", "Secret", "auth_token", "TOKEN", "db_passwd", "private-key"],
)
def test_what_stands_under_a_telling_key_is_masked_whole(key: str) -> None:
    """Text, numbers, lists and maps below it; yes and no are no secrets."""
    value: dict[str, Json] = {"a": "x", "b": [1, "y", {"c": 2.5}], "on": True, "none": None}
    hidden = Redactor().data({"fine": {key: value}, key: "plain"})
    masked = {"a": MASK, "b": [MASK, MASK, {"c": MASK}], "on": True, "none": None}
    assert hidden == {"fine": {key: masked}, key: MASK}


def test_words_that_only_look_like_it_stay() -> None:
    """Masking everything would hide what happened."""
    data: dict[str, Json] = {"monkey": "x", "keys": ["party"], "keyboard": 1, "path": "a/token.txt"}
    assert Redactor().data(data) == data


def test_a_system_may_declare_telling_keys_of_its_own() -> None:
    """`guardrails.redact_keys` adds to those that tell everywhere."""
    hidden = Redactor(keys=["pin", "iban"]).data({"pin": "1234", "IBAN": "DE0", "token": "t"})
    assert hidden == {"pin": MASK, "IBAN": MASK, "token": MASK}


def test_a_secret_that_is_a_number_is_masked_as_a_number_too() -> None:
    """`{"code": 123456}` holds it as much as `"123456"` does; other numbers stay."""
    assert Redactor(["123456"]).data({"code": 123456, "n": 1234567}) == {"code": MASK, "n": 1234567}


def test_a_short_value_masks_no_ordinary_words() -> None:
    """A secret of five characters would blind the journal; it is not looked for."""
    assert Redactor(["on", "app"]).text("the app is on") == "the app is on"


@given(st.text(min_size=6, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_the_value_itself_never_survives(secret: str, before: str, after: str) -> None:
    """Whatever stands around it."""
    text = Redactor([secret]).text(before + secret + after)
    assert secret not in text or secret in MASK or MASK in secret


@given(st.text(min_size=6, max_size=60))
def test_spellings_are_never_short(secret: str) -> None:
    """So that no spelling masks an ordinary word."""
    assert all(len(one) >= 6 for one in spellings(secret))


def test_masking_twice_changes_nothing() -> None:
    """What was merged from a fallback may pass again."""
    hide = Redactor(CANARIES)
    once = hide.data({"e": CANARIES[0], "token": "x"})
    assert hide.data(once) == once


# -- where the values come from ------------------------------------------------------------


def test_every_reference_of_a_declaration_is_a_known_value(tmp_path: Path) -> None:
    """env:, file: and credential:, wherever they stand; what is not there hides nothing."""
    shop = build(tmp_path)
    (tmp_path / "pager.txt").write_text("pager-file-value\n")
    (tmp_path / "cred").mkdir()
    (tmp_path / "cred" / "mail").write_text("credential-value")
    shop.edit("op: {title: Operator}", 'op: {title: Operator, contact: "env:OPS_URL"}')
    shop.edit("lead: {title: Lead}", 'lead: {title: Lead, contact: "file:pager.txt"}')
    shop.edit("chief: {title: Chief}", 'chief: {title: Chief, contact: "credential:mail"}')
    shop.edit("guest: {title: Guest}", 'guest: {title: Guest, contact: "file:absent.txt"}')
    system = load(tmp_path / "rollback.yaml")
    environ = {
        "OPS_URL": "https://chat/hook-value",
        "CREDENTIALS_DIRECTORY": str(tmp_path / "cred"),
    }
    assert set(secret_values(system, environ)) == {
        "https://chat/hook-value", "pager-file-value", "credential-value",
    }  # fmt: skip
    assert secret_values(system, {}) == ("pager-file-value",)


def test_of_a_database_only_the_password_is_a_secret(tmp_path: Path) -> None:
    """The usual user is called as the usual kind of database is: hidden, no plan could say either."""
    shop = build(tmp_path)
    shop.edit("components:\n", "components:\n  orders: {path: orders, content: postgres, database: {"
              'name: "env:NAME", host: "env:HOST", user: "env:WHO", password: "env:WORD"}}\n')  # fmt: skip
    environ = {"NAME": "orders", "HOST": "localhost", "WHO": "postgres", "WORD": "a-long-secret"}
    assert secret_values(load(tmp_path / "rollback.yaml"), environ) == ("a-long-secret",)


def test_variables_with_telling_names_are_secrets_from_both_of_their_sources(
    tmp_path: Path,
) -> None:
    """The process environment and the environment file."""
    shop = build(tmp_path)
    shop.edit("root: tree", "root: tree\nenvironment:\n  file: shop.env\n  variables:\n"
              '    DB_PASSWORD: {title: For the database}\n    PORT: {default: "1"}')  # fmt: skip
    (tmp_path / "shop.env").write_text("DB_PASSWORD=from-the-file\nPORT=8080\n")
    system = load(tmp_path / "rollback.yaml", environ={"DB_PASSWORD": "from-outside"})
    assert set(secret_values(system, {"DB_PASSWORD": "from-outside"})) == {
        "from-outside", "from-the-file",
    }  # fmt: skip


def test_a_reference_to_something_strange_never_hangs_or_raises(tmp_path: Path) -> None:
    """A FIFO, a folder, a huge file."""
    import os

    shop = build(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").write_bytes(b"x" * 10**6)
    shop.edit("op: {title: Operator}", 'op: {title: Operator, contact: "file:fifo"}')
    shop.edit("lead: {title: Lead}", 'lead: {title: Lead, contact: "file:tree"}')
    shop.edit("chief: {title: Chief}", 'chief: {title: Chief, contact: "file:huge"}')
    found = secret_values(shop.system, {})
    assert [len(one) for one in found] == [64 * 2**10]
