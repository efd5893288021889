"""The trust anchor: what was believed stays believed until those who were believed change it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.keep import trust
from rollback.keep.state import StateDir
from rollback.model.errors import JournalError, NotAuthorized
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop, its people pinned."""
    made = build(tmp_path)
    state = StateDir.open(made.system, Host())
    assert trust.pinned(state.tree) == ""
    assert trust.keepers(state.tree) == ()
    trust.pin(made.system, state.tree, Host())
    state.close()
    return made


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{id: dee, roles: [guest]}", "{id: dee, roles: [guest, lead]}"),
        ("{roles: [lead, chief], quorum: all}", "{roles: [lead, chief]}"),
        ("{roles: [lead], count: 2}", "{roles: [lead]}"), ("owner: op", "owner: lead"),
        ("people:", "guardrails: {protected_paths: [x]}\npeople:"),
        ("people:", "autonomy: {current: 3, table: {3: {may: [roll-back], confirm: false}}}\npeople:"),
    ],
)  # fmt: skip
def test_every_change_of_people_or_policy_is_noticed(old: str, new: str, shop: Shop) -> None:
    """A role, a quorum, a count, the owner, a guardrail, autonomy."""
    shop.edit(old, new)
    state = StateDir.open(shop.system, Host())
    with pytest.raises(NotAuthorized, match="not the ones this state directory trusts") as caught:
        trust.require(shop.system, state.tree)
    assert "rollback trust" in caught.value.hint
    assert [member.id for member in trust.keepers(state.tree)] == ["ada"]
    state.close()


def test_what_says_nothing_about_authority_may_change(shop: Shop) -> None:
    """Titles, checks, budgets."""
    shop.edit("title: Settings back", "title: Other words")
    state = StateDir.open(shop.system, Host())
    trust.require(shop.system, state.tree)
    state.close()


@pytest.mark.parametrize(
    "written", [b"", b"{", b"[]", b"{}", b'{"authority": 3}', b"[" * 50_000, b"\xff\xfe"]
)
def test_an_anchor_that_cannot_be_read_is_no_empty_one(written: bytes, shop: Shop) -> None:
    """Damaged is not the same as never pinned."""
    file = shop.folder / ".rollback" / "trust.json"
    file.write_bytes(written)
    state = StateDir.open(shop.system, Host())
    with pytest.raises(JournalError, match="cannot be read"):
        trust.require(shop.system, state.tree)
    state.close()


def test_people_that_make_no_sense_keep_nothing_open(shop: Shop) -> None:
    """Whoever edits the anchor by hand does not become its keeper by a slip."""
    file = shop.folder / ".rollback" / "trust.json"
    body = json.loads(file.read_text())
    file.write_text(json.dumps({**body, "people": {"owner": 1}}))
    state = StateDir.open(shop.system, Host())
    with pytest.raises(JournalError, match="cannot be read"):
        trust.keepers(state.tree)
    state.close()
