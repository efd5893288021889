"""A run that has ended: status names the one that ended last, and nobody is told to go on with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build

LEVEL = "    steps: [{restore: {component: config}}]\n"
PAPER = "    checklist: [{id: looked, item: Somebody looked, attest: op, gates: closing}]\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop that was kept and changed since; an item of a level is open when its run is COMPLETE."""
    made = build(tmp_path)
    made.edit(LEVEL, LEVEL + PAPER)
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def test_the_last_run_is_the_one_that_ended_last(shop: Shop) -> None:
    """Not the one that was planned last; one that is open is none, and what is said later moves nothing."""
    assert rollback(shop.folder, "run", "full", "--as", "ada").status == 4
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
    assert rollback(shop.folder, "--json", "status").json["last_run"]["run_id"] == "r0002"
    assert rollback(shop.folder, "deny", "r0001", "--as", "cyd").status == 0
    assert rollback(shop.folder, "answer", "r0002", "looked", "yes", "--as", "ada").status == 0
    assert rollback(shop.folder, "--json", "status").json["last_run"]["run_id"] == "r0001"
    assert "no run is open; last run r0001 ended ABANDONED" in rollback(shop.folder, "status").out


def test_before_any_run_has_ended_none_is_the_last(shop: Shop) -> None:
    """A run that waits has not ended."""
    assert rollback(shop.folder, "run", "full", "--as", "ada").status == 4
    assert rollback(shop.folder, "--json", "status").json["last_run"] is None


def test_what_is_said_of_an_ended_run_does_not_ask_to_go_on_with_it(shop: Shop) -> None:
    """It cannot be resumed; an item that stays open is still named."""
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
    noted = rollback(shop.folder, "answer", "r0001", "looked", "not yet", "--as", "ada")
    assert "try: rollback answer r0001 looked yes" in noted.out
    said = rollback(shop.folder, "answer", "r0001", "looked", "yes", "--as", "ada")
    assert said.status == 0
    assert "looked of r0001: said by ada: settled" in said.out
    assert "try:" not in said.out
