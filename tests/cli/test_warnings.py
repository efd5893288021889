"""What `validate` says of a valid declaration whose words lead nowhere: file, line, what to type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import typed
from tests.systems import PEOPLE, Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system of which validate has nothing to say: who has to sign can."""
    made = build(tmp_path, keys={name: f"ssh-ed25519 {name}" for name in PEOPLE})
    assert warnings(made) == []
    return made


def warnings(shop: Shop) -> list[dict[str, Any]]:
    """What it warns of, as JSON; people read the same, and nothing is refused."""
    for_people, done = typed(shop.folder, "validate"), typed(shop.folder, "validate", "--json")
    assert (for_people.status, done.status) == (0, 0), for_people.err + done.out
    body: dict[str, Any] = json.loads(done.out)
    assert body["valid"] is True
    found: list[dict[str, Any]] = body["warnings"]
    for one in found:
        assert "{where}: {message}; {hint}".format(**one) in for_people.out
    return found


def typed_json(shop: Shop, *words: str) -> dict[str, Any]:
    """What the program answers a program."""
    body: dict[str, Any] = json.loads(typed(shop.folder, *words, "--json").out)
    return body


def line_of(shop: Shop, text: str) -> str:
    """`rollback.yaml:N` of the line that holds the text."""
    lines = (shop.folder / "rollback.yaml").read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, start=1) if text in line]
    return f"rollback.yaml:{found}"


def only(shop: Shop) -> dict[str, Any]:
    """The one warning."""
    (found,) = warnings(shop)
    return found


def test_a_review_whose_day_has_passed_is_said(shop: Shop) -> None:
    """With its line and what to do about it; the declaration holds all the same."""
    shop.edit("next_review: 2027-05-20", "next_review: 2020-05-20")
    said = only(shop)
    assert said["where"] == line_of(shop, "next_review")
    assert said["message"] == "system.next_review: 2020-05-20 has passed"
    assert "read the declaration again" in said["hint"]


def test_a_key_that_is_not_in_its_file_is_said(shop: Shop) -> None:
    """A misspelt key of a flag would be read as its default for ever."""
    shop.edit(
        "yaml: {path: config/app.yaml, key: party}", "yaml: {path: config/app.yaml, key: prty}"
    )
    said = only(shop)
    assert said["where"] == line_of(shop, "key: prty")
    assert said["message"] == "flags.party.layered.yaml.key: prty is not in config/app.yaml"


def test_a_file_of_a_flag_that_is_not_there_is_said(shop: Shop) -> None:
    """It may come with the next release; a variable that nobody has set is no news."""
    shop.edit(
        "yaml: {path: config/app.yaml, key: party}", "yaml: {path: config/ap.yaml, key: party}"
    )
    (shop.tree / ".env").unlink(missing_ok=True)
    said = only(shop)
    assert said["message"] == "flags.party.layered.yaml.path: config/ap.yaml is not there now"


def test_a_file_of_a_flag_that_is_no_yaml_is_said_as_what_it_is(shop: Shop) -> None:
    """What cannot be read is not said to be absent."""
    (shop.tree / "config" / "app.yaml").write_text("party: [\n")
    said = only(shop)
    assert "config/app.yaml cannot be read" in said["message"]
    assert "is not in" not in said["message"]


def test_a_flagd_flag_that_its_file_does_not_define_is_said(shop: Shop) -> None:
    """Setting it would be refused in the middle of a run."""
    shop.edit("    layered:\n      env_file: {path: .env, key: PARTY}\n"
              "      yaml: {path: config/app.yaml, key: party}\n      default: true\n",
              "    flagd: {path: config/flags.json, key: party}\n")  # fmt: skip
    (shop.tree / "config" / "flags.json").write_text('{"flags": {"other": {}}}')
    said = only(shop)
    assert said["where"] == line_of(shop, "flagd:")
    assert said["message"] == "flags.party.flagd.key: party is not in config/flags.json"
    (shop.tree / "config" / "flags.json").write_text(
        '{"flags": {"party": {"state": "ENABLED", "variants": {"on": true}, "defaultVariant": "on"}}}'
    )
    assert warnings(shop) == []


def test_a_suite_that_asks_nothing_is_said_to_keep_its_gate_closed(shop: Shop) -> None:
    """No check is declared in it, and no test is pinned there: nobody could ever prove that level."""
    shop.edit("steps: [{flag: {flag: party, set: false, within: 3s}}]\n    gate: {suites: [smoke]}",
              "steps: [{flag: {flag: party, set: false, within: 3s}}]\n"
              "    gate: {suites: [smoke, functional]}")  # fmt: skip
    said = only(shop)
    assert said["where"] == line_of(shop, "[smoke, functional]")
    assert said["message"].startswith("levels.flag.gate.suites.1: this gate never opens")
    assert "functional" in said["hint"]


def test_checks_that_are_for_other_levels_prove_nothing_here(shop: Shop) -> None:
    """Each gate is looked at with what would be asked at it."""
    shop.edit("keys: [party]}", "keys: [party], levels: [config]}")
    found = warnings(shop)
    assert len(found) == 4
    assert all("this gate never opens: no smoke check is declared for it" in one["message"]
               for one in found)  # fmt: skip
    assert not any("levels.config" in one["message"] for one in found)


def test_a_pinned_test_of_the_team_stands_behind_a_suite(shop: Shop) -> None:
    """It is what the gate would run."""
    shop.edit("keys: [party]}", "keys: [party], levels: [config]}")
    shop.edit("verification:\n", "verification:\n"
              "  suites: [{path: verification/smoke/test_it.py, sha256: " + "0" * 64 + "}]\n")  # fmt: skip
    assert warnings(shop) == []
    (row,) = [
        one
        for one in typed_json(shop, "ready", "flag")["levels"][0]["rows"]
        if one["what"] == "gate"
    ]
    assert "could not open" not in row["evidence"], "nor does it block the level"


@pytest.mark.parametrize("there", [False, True])
def test_a_repository_that_is_not_there_is_said(shop: Shop, there: bool) -> None:
    """No folder, or a folder that is none."""
    shop.edit("components:\n", "repository: {path: code}\ncomponents:\n")
    if there:
        (shop.tree / "code").mkdir()
    said = only(shop)
    assert said["where"] == line_of(shop, "repository:")
    assert "repository.path" in said["message"]
    assert f"git init {shop.tree / 'code'}" in said["hint"]


def test_what_is_expected_to_be_absent_proves_nothing(shop: Shop) -> None:
    """A suite of which only absent checks are wanted asks nothing."""
    written = "set: false, within: 3s}}]\n    gate: {suites: [smoke]"
    shop.edit(written, f"{written}, expect: {{app-valid: absent}}")
    assert only(shop)["message"].startswith("levels.flag.gate.suites.0: this gate never opens")


@pytest.mark.parametrize("level", ["pages", "full"])
def test_approvals_that_nobody_can_give_are_said_as_ready_says_them(shop: Shop, level: str) -> None:
    """Two people who sign are wanted, and they have no keys: the level could never begin."""
    assert typed(shop.folder, "checkpoint", "create", "before-release").status == 0
    for name in ("ada", "bo", "cyd"):
        shop.edit(f', key: "ssh-ed25519 {name}"', "")
    (said,) = [one for one in warnings(shop) if f"levels.{level}." in one["message"]]
    authority = "{roles: [lead], count: 2}" if level == "pages" else "quorum: all}"
    assert said["where"] == line_of(shop, authority)
    assert "not enough even if everybody says yes: " in said["message"]
    assert "signed ones: declare keys for the people" in said["message"]
    whose = "ada, bo, cyd, fay" if level == "full" else "ada, bo, fay"
    assert said["hint"].startswith(f"give {whose} a key under people: members: ")
    found = typed_json(shop, "ready", level)["levels"]
    row = next(row for one in found for row in one["rows"] if row["what"] == "people")
    assert said["message"] == f"levels.{level}.authority: {row['evidence']}"
    assert said["hint"] == row["hint"]


def test_a_document_that_a_check_reads_and_that_is_not_there_is_said(shop: Shop) -> None:
    """With the line of the check; when it lies there nothing is said."""
    shop.edit("  smoke:\n", "  integration:\n    - openapi: {id: api, schema: docs/api.yaml, "
              'url: "http://127.0.0.1:9"}\n  smoke:\n')  # fmt: skip
    said = only(shop)
    assert said["where"] == line_of(shop, "- openapi")
    assert "docs/api.yaml is not there now" in said["message"]
    (shop.tree / "docs").mkdir()
    (shop.tree / "docs" / "api.yaml").touch()
    assert warnings(shop) == []
