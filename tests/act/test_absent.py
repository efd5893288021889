"""A component that was not there when a checkpoint was taken is not taken away by going back to it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rollback.act.target import choose
from rollback.model.errors import PlanError
from tests.cli.program import rollback
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system that declares a database which is not there yet; its suites say that all is well."""
    made = build(tmp_path)
    made.edit("  pages: {path: pages, content: files}\n",
              "  pages: {path: pages, content: files}\n  orders: {path: orders.db, content: sqlite}\n"
              "  spool: {path: spool, content: files, initial: empty}\n")  # fmt: skip
    made.edit("    steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}\n  pages:",
              "    steps: [{restore: {component: config}}, {restore: {component: orders}},\n"
              "            {restore: {component: spool}}]\n    gate: {suites: [smoke]}\n"
              "  pages:")  # fmt: skip
    return made


def appear(shop: Shop) -> None:
    """The database is there, with a row."""
    with closing(sqlite3.connect(shop.tree / "orders.db")) as database, database:
        database.execute("create table if not exists t (a int)")
        database.execute("insert into t values (7)")


def test_what_was_not_there_is_said_when_it_is_taken(shop: Shop) -> None:
    """By name, sealed or not, to people and programs; one that may come and go too."""
    done = rollback(shop.folder, "checkpoint", "create", "hole", "--seal")
    assert "not there, so not in it: orders, spool" in done.out
    shown = json.loads(rollback(shop.folder, "checkpoint", "show", "hole", "--json").out)
    assert shown["absent"] == ["orders", "spool"]
    assert "orders, spool" in rollback(shop.folder, "checkpoint", "show", "hole").out


def test_the_live_one_is_never_taken_away_unasked(shop: Shop) -> None:
    """Sealed green or not, by name or as the last good one: no target while the database is there."""
    assert rollback(shop.folder, "checkpoint", "create", "hole", "--seal").status == 0
    appear(shop)
    before = shop.bytes()
    done = rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    assert done.status == 3, done.out
    assert "orders was not there then, and would be taken away" in done.err
    done = rollback(shop.folder, "run", "config", "--to", "checkpoint:hole", "--yes", "--as", "ada")
    assert done.status == 3
    assert shop.bytes() == before
    with shop.site() as site:
        good = site.checkpoints.create("good")
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
        assert choose(site, site.system.levels["config"], "")[0].id == good.id


def test_where_it_is_still_not_there_or_may_come_and_go_nothing_speaks_against_it(
    shop: Shop,
) -> None:
    """And a level that does not put it back does not care."""
    with shop.site() as site:
        hole = site.checkpoints.create("hole")
        (shop.tree / "spool").mkdir()
        assert choose(site, site.system.levels["config"], "")[0].id == hole.id
        appear(shop)
        with pytest.raises(PlanError, match="orders was not there"):
            choose(site, site.system.levels["config"], "")
        assert choose(site, site.system.levels["full"], "")[0].id == hole.id


def test_on_purpose_it_is_shouted_first(shop: Shop) -> None:
    """Somebody who names the checkpoint and the component sees what goes before anything does."""
    rollback(shop.folder, "checkpoint", "create", "hole")
    appear(shop)
    words = ("restore", "hole", "--component", "orders", "--dry-run", "--as", "ada")
    shown = rollback(shop.folder, "checkpoint", *words)
    assert "ALL OF orders GOES AWAY: it was not there when hole was taken" in shown.out
    assert (shop.tree / "orders.db").exists()
