"""People's words to a run: what a hint says is what was meant, and who does not count is told why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build, make_key


@pytest.fixture
def signed(tmp_path: Path) -> Shop:
    """A shop whose people have keys, with a run of level full that waits for two of them."""
    keys = {name: make_key(tmp_path, name)[1] for name in ("ada", "bo", "cyd")}
    made = build(tmp_path / "shop", keys=keys)
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    assert rollback(made.folder, "run", "full", "--as", "dee", "--yes").status == 4
    return made


def test_a_no_without_its_key_is_told_how_to_say_no(signed: Shop) -> None:
    """Pasting the hint refuses what was to be refused; nothing in it says yes."""
    for word in ("deny", "approve"):
        done = rollback(signed.folder, word, "r0001", "--as", "bo")
        assert done.status == 4
        assert done.err.splitlines()[1] == f"  try: rollback {word} r0001 --as bo --key FILE"
    for option in ("--note", "--reason"):
        said = rollback(signed.folder, "deny", "r0001", "--as", "bo", option, "not on a friday").err
        assert "rollback deny r0001 --as bo --note 'not on a friday' --key FILE" in said


def test_why_somebody_said_no_is_in_journal_status_and_report(signed: Shop) -> None:
    """In the words of who said it."""
    key = str(signed.folder.parent / "key-bo")
    words = ("deny", "r0001", "--as", "bo", "--key", key, "--note", "not on a friday")
    assert rollback(signed.folder, *words).status == 0
    (denied,) = [one["data"] for one in signed.lines() if one["kind"] == "approval.denied"]
    assert (denied["person"], denied["note"]) == ("bo", "not on a friday")
    ended = "last run r0001 ended ABANDONED: bo said no: not on a friday\n"
    assert ended in rollback(signed.folder, "status").out
    last = rollback(signed.folder, "--json", "status").json["last_run"]
    assert last["because"] == "bo said no: not on a friday"
    assert "> bo said no: not on a friday\n" in rollback(signed.folder, "report", "r0001").out


def test_status_names_who_may_say_yes(signed: Shop) -> None:
    """By name and role, shrinking as they speak; nobody whose yes would change nothing."""
    said = rollback(signed.folder, "status")
    assert "  may say yes to it: ada (lead); bo (lead); cyd (chief)" in said.out
    assert "try: approve it: rollback approve r0001 --as PERSON --key FILE\n" in said.out
    key = str(signed.folder.parent / "key-bo")
    half = rollback(signed.folder, "approve", "r0001", "--as", "bo", "--key", key)
    assert half.status == 4
    assert "waits for approval by chief" in half.out
    assert "  may say yes to it: cyd (chief)\n" in half.out
    assert "try: approve it: rollback approve r0001 --as cyd --key FILE\n" in half.out
    (run,) = rollback(signed.folder, "--json", "status").json["runs_open"]
    assert run["may_approve"] == ["cyd"]


def test_who_has_no_key_is_not_told_to_sign(signed: Shop) -> None:
    """Where one yes is enough, each is told what he can type."""
    signed.edit("{roles: [lead], count: 2}", "{roles: [lead, guest]}")
    signed.edit(
        "{id: dee, roles: [guest]}", "{id: dee, roles: [guest]}\n    - {id: eve, roles: [guest]}"
    )
    assert rollback(signed.folder, "trust", "--as", "ada", "--yes", "--key",
                    str(signed.folder.parent / "key-ada")).status == 0  # fmt: skip
    (signed.tree / "pages" / "index.html").write_text("<h1>sold out</h1>")
    said = rollback(signed.folder, "run", "pages", "--component", "pages", "--as", "eve").out
    assert [line for line in said.splitlines() if "approve it" in line] == [
        "  try: approve it: rollback approve r0002 --as PERSON --key FILE",
        "  try: approve it: rollback approve r0002 --as PERSON",
    ]


def test_a_yes_that_does_not_count_says_why_and_is_recorded_as_refused(signed: Shop) -> None:
    """The same person twice, who asked for it, who holds no role: one line, and who may instead."""
    folder, keys = signed.folder, signed.folder.parent
    assert rollback(folder, "approve", "--as", "bo", "--key", str(keys / "key-bo")).status == 4
    (signed.tree / "pages" / "index.html").write_text("<h1>sold out</h1>")
    assert rollback(folder, "run", "pages", "--component", "pages", "--as", "ada").status == 4
    before = len(signed.lines())
    for run, person, why in (
        ("r0001", "bo", "r0001: bo said yes already (good until "),
        ("r0002", "ada", "r0002: ada asked for this run, so somebody else has to say yes to it"),
        ("r0001", "dee", "r0001: dee holds none of the roles that may answer for this run"),
    ):
        key = ["--key", str(keys / f"key-{person}")] if person != "dee" else []
        done = rollback(folder, "approve", run, "--as", person, *key)
        assert (done.status, done.out) == (4, "")
        first, hint = done.err.splitlines()
        assert first.startswith(f"rollback: {why}")
        able = "cyd" if run == "r0001" else "bo"
        assert hint == f"  try: it is for them to say yes: {able}"
    new = [line["kind"] for line in signed.lines()[before:]]
    assert new == ["approval.refused"] * 3
