"""A declared standby is made ready after every checkpoint, whoever takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build

KEEPING = """
procedures:
  keep:
    title: Keep the present
    authority: {roles: [op], alone: true}
    steps: [{checkpoint: {components: all, name: "kept-{run}"}}]
  back:
    title: Pages as they were first
    authority: {roles: [op], alone: true}
    steps: [{restore: {component: pages, from: "checkpoint:first"}}]
levels:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop, whose pages have a standby."""
    shop = build(tmp_path)
    shop.edit("{path: pages, content: files}", "{path: pages, content: files, restore: standby}")
    shop.edit("\nlevels:", KEEPING)
    return shop


def standby(shop: Shop) -> str:
    return (shop.folder / ".rollback/standby/pages/tree/index.html").read_text()


def test_a_checkpoint_that_a_run_takes_refreshes_it(shop: Shop) -> None:
    """Whether a person takes it, a schedule, or a step of a procedure."""
    made = rollback(shop.folder, "--json", "checkpoint", "create", "first")
    assert (made.status, made.json["standby"]) == (0, {"pages": True})
    (shop.tree / "pages/index.html").write_text("second\n")
    done = rollback(
        shop.folder, "run", "keep", "--as", "ada", "--yes", "--reason", "before the release"
    )
    assert done.status == 0, done.out + done.err
    assert standby(shop) == "second\n"


def test_what_was_replaced_is_kept_until_the_standby_is_made_ready_again(shop: Shop) -> None:
    """After a restore it is there, whole; the next checkpoint takes its place."""
    assert rollback(shop.folder, "checkpoint", "create", "first").status == 0
    (shop.tree / "pages/index.html").write_text("broken\n")
    done = rollback(shop.folder, "run", "back", "--as", "ada", "--yes", "--reason", "broken")
    assert done.status == 0, done.out + done.err
    assert (shop.tree / "pages/index.html").read_text() == "<h1>shop</h1>\n"
    assert standby(shop) == "broken\n"
    events = [line for line in shop.lines() if line["kind"] == "step.ended"]
    assert "until the standby is made ready again" in str(events[-1])
    assert rollback(shop.folder, "checkpoint", "create", "second").status == 0
    assert standby(shop) == "<h1>shop</h1>\n"
