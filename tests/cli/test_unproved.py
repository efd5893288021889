"""A run that its gate did not let end is not forgotten by whoever types the next command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback.act import authorize
from tests.cli.program import rollback
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system whose run r0001 went back to settings that its gate refuses."""
    made = build(tmp_path)
    (made.tree / "config" / "app.yaml").write_text("party: true\n")
    with made.site() as site:
        site.checkpoints.create("without-limit")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 9\n")
    done = rollback(made.folder, "run", "config", "--yes", "--as", "ada")
    assert done.status == 9, done.out + done.err
    return made


def test_trying_again_does_not_turn_a_closed_gate_into_a_success(shop: Shop) -> None:
    """The target is reached already, and was not proved: 9 again, with the run that says so."""
    again = rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    assert again.status == 9
    assert "nothing to roll back here" in again.out
    assert "run r0001 needs a person" in again.out
    assert "resume r0001" in again.out
    told = json.loads(rollback(shop.folder, "run", "config", "--yes", "--as", "ada", "--json").out)
    assert (told["changed"], told["unproved"]) == (False, "r0001")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 3\n")
    assert rollback(shop.folder, "resume", "--as", "ada").status == 9  # not what was put back
    assert rollback(shop.folder, "abort", "r0001", "--as-it-is", "--as", "ada").status == 0
    with shop.site() as site:
        site.checkpoints.create("with-limit")
    assert rollback(shop.folder, "run", "config", "--yes", "--as", "ada").status == 0


@pytest.mark.parametrize("word", ["resume", "abort"])
def test_without_a_name_the_run_that_has_not_ended_is_meant(shop: Shop, word: str) -> None:
    """Not a newer one that has."""
    assert rollback(shop.folder, "run", "flag", "--yes", "--as", "ada").status == 0
    done = rollback(shop.folder, word, "--json", "--as", "ada")
    body = json.loads(done.out)
    assert body.get("run_id", "") == "r0001" or "r0001" in body["error"]["message"], body


def test_what_an_ungated_run_needs_is_said_of_it(tmp_path: Path) -> None:
    """Who types another level that has nothing to do is told what that run stopped at, not of a gate."""
    made = build(tmp_path)
    made.edit("    gate: {suites: [smoke]}\n  full:", "  full:")
    made.edit(
        "    authority: {roles: [lead], count: 2}", "    authority: {roles: [op], alone: true}"
    )
    with made.site() as site:
        site.checkpoints.create("before-release")
        (made.tree / "pages" / "index.html").write_text("worse\n")
        plan = made.plan(site, "pages", component="pages")
        assert not plan.gate
        run = authorize.create(site, plan)
        site.note(run, "run.needs-operator", reason="step 1 restore failed: no room")
    done = rollback(made.folder, "run", "config", "--yes", "--as", "ada")
    assert done.status == 9, done.out + done.err
    assert "but run r0001 needs a person: step 1 restore failed: no room\n" in done.out
    assert "let it be tried again: rollback resume r0001\n" in done.out
    assert "gate" not in done.out
