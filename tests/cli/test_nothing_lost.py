"""Loss is said of what a run costs: not of a plan that changes nothing, nor of what was taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.stopping import abort
from tests.cli.program import rollback
from tests.systems import Shop, ill

LOST = "lost: settings since the checkpoint"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a good checkpoint and bad settings since; ada may say yes alone."""
    return ill(tmp_path)


def section(shop: Shop, run: str) -> str:
    """What the report says about loss; as it stands in the run's folder, and as it is written anew."""
    kept = (shop.folder / ".rollback" / "runs" / run / "report.md").read_text()
    found = [text.partition("## What was lost")[2].partition("\n## ")[0] for text in
             (kept, rollback(shop.folder, "report", run).out)]  # fmt: skip
    assert found[0].split() == found[1].split()
    return found[0]


def test_a_plan_that_changes_nothing_loses_nothing(shop: Shop) -> None:
    """Neither is anything stopped or put back in an order; with a change all of it is said."""
    said = rollback(shop.folder, "plan", "config").out
    assert LOST in said
    assert rollback(shop.folder, "run", "config", "--yes", "--as", "ada").status == 0
    said = rollback(shop.folder, "plan", "config").out
    assert "  lost: nothing, since nothing would change\n" in said
    assert LOST not in said
    assert "in this order" not in said
    assert "nothing to roll back here" in said


def test_a_run_that_stands_says_what_it_cost_and_how_it_is_taken_back(shop: Shop) -> None:
    """As before: the cost in the indicative, and the command."""
    rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    said = section(shop, "r0001")
    assert "As it was measured for the plan:" in said
    assert "would have" not in said
    assert "`rollback undo r0001`" in said


def test_what_a_later_run_took_back_is_not_lost_any_more(shop: Shop) -> None:
    """The report of the first names the second, and offers no undo of what is undone."""
    rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    assert rollback(shop.folder, "undo", "r0001", "--yes", "--as", "ada").status == 0
    said = section(shop, "r0001")
    assert "Run r0002 took back what this run did. It would have cost" in said
    assert "rollback undo" not in said
    assert rollback(shop.folder, "--json", "report", "r0001").json["taken_back_by"] == "r0002"
    assert "rollback undo" not in section(shop, "r0002")


def test_a_run_that_took_itself_back_says_so(shop: Shop) -> None:
    """UNDONE: nothing of it stands, and there is nothing to undo."""
    shop.edit(
        "steps: [{restore: {component: config}}]",
        "steps: [{restore: {component: config}}, "
        "{command: {id: breaks, argv: ['false'], effects: none, on_fail: stop}}]",
    )
    done = rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    assert done.status == 6, done.out + done.err
    said = section(shop, "r0001")
    assert "What the run did was taken back" in said
    assert "It would have cost" in said
    assert "rollback undo" not in said


def test_a_run_without_a_step_says_so(shop: Shop) -> None:
    """Whether it still waits or was given up."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
    rollback(shop.folder, "report", run.id)
    assert "The run has taken no step yet. It would cost" in section(shop, run.id)
    with shop.site() as site:
        abort(site, site.run(run.id), by="ada", reason="not needed")
    rollback(shop.folder, "report", run.id)
    assert "The run took no step. It would have cost" in section(shop, run.id)
    assert "```text\n```" not in rollback(shop.folder, "report", run.id).out, "no empty picture"
