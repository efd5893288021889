"""When, how much, and after what a run may begin: each guardrail at its edge, in real systems."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize, holding
from rollback.act.back import undo_plan
from rollback.act.engine import roll_back
from rollback.act.plan import make_plan
from rollback.act.trusting import accept
from rollback.judge.guardrails import Circumstances, refusals
from rollback.model.errors import Refused
from rollback.model.lifecycle import Run, State
from rollback.model.system import System
from tests.cli.program import rollback
from tests.systems import Shop, build

LEVEL_LINE = "    data_loss: settings since the checkpoint\n"  # of level config of the shop
QUIET = Circumstances(
    now=datetime(2026, 11, 20, 12, 0, tzinfo=UTC), begun=(), need_bytes=0, free_bytes=2**40
)


def bad(shop: Shop) -> Shop:
    """With a checkpoint and a bad release."""
    with shop.site() as site:
        site.checkpoints.create("good")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return shop


def held(shop: Shop, level: str = "config", **more: Any) -> Refused | None:
    """What the run is refused for; journalled, and nothing is changed."""
    before = shop.bytes()
    with shop.site() as site:
        try:
            run = authorize.create(site, shop.plan(site, level, **more))
        except Refused as refused:
            assert site.journal.events()[-1].kind == "run.refused"
            assert shop.bytes() == before
            return refused
        site.note(run, "run.abandoned", reason="it was only asked")
        return None


def hours(shop: Shop, ahead: int) -> str:
    """Two hours that begin so many from now."""
    begin = shop.clock.now() + timedelta(hours=ahead)
    return f"{begin:%H:00}-{begin + timedelta(hours=2):%H:00}"


# -- when ----------------------------------------------------------------------------------


def test_a_run_begins_within_its_window_and_the_refusal_says_when_it_opens(tmp_path: Path) -> None:
    """Of the system and of the place; a level that waives it, and an emergency, are not held."""
    shop = build(tmp_path, guardrails="guardrails:\n  window: {hours: 'HOURS'}\n")
    shop.edit("HOURS", hours(shop, 5))
    bad(shop)
    refused = held(shop)
    assert refused is not None
    assert refused.guardrail == "window"
    opens = (shop.clock.now() + timedelta(hours=5)).strftime("%Y-%m-%d %H:00")
    assert refused.hint.startswith(f"wait until {opens} UTC")
    assert held(shop, "flag") is None
    shop.edit(LEVEL_LINE, f"{LEVEL_LINE}    waives: [window]\n")
    with shop.site() as site:
        accept(site, person="ada")
    assert held(shop) is None


def test_a_place_has_a_window_of_its_own(tmp_path: Path) -> None:
    """Open when the clock of its zone says so; a waiting run that is approved later goes on."""
    shop = build(tmp_path)
    shop.edit(
        "components:\n", "environments: {production: {window: {hours: 'HOURS'}}}\ncomponents:\n"
    )
    shop.edit("HOURS", hours(shop, 5))
    bad(shop)
    refused = held(shop)
    assert refused is not None
    assert "a run in production may start only within" in refused.message
    shop.clock.ahead_s = 5 * 3600
    assert held(shop) is None


def test_a_window_that_closed_while_the_run_waited_holds_its_first_step(tmp_path: Path) -> None:
    """It waits for the window, not for people, and begins when that is open."""
    shop = build(tmp_path, guardrails="guardrails:\n  window: {hours: 'HOURS'}\n")
    shop.edit("HOURS", hours(shop, 0))
    bad(shop)
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        shop.clock.ahead_s = 3 * 3600
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert (run.state, run.waiting_for["on"], run.steps) == (State.WAITING, "timer", {})
        assert "the window, which opens at" in str(run.waiting_for["what"])
        assert not authorize.may_wake(site, run)
        shop.clock.ahead_s = 24 * 3600
        assert authorize.may_wake(site, site.run(run.id))
        ended = roll_back(site, run.id)
        assert "not authorised any more" in ended.reason  # the yes was good for four hours


# -- after what ----------------------------------------------------------------------------


@pytest.mark.requirement("QL-55")
def test_a_dry_run_comes_first_and_counts_for_the_procedure_as_it_is_declared(
    tmp_path: Path,
) -> None:
    """The plan changes nothing and is journalled step by step; a changed level needs another one."""
    shop = bad(build(tmp_path, guardrails="guardrails:\n  dry_run_first: true\n"))
    refused = held(shop)
    assert refused is not None
    assert (refused.guardrail, refused.hint.endswith("rollback plan LEVEL")) == ("dry-run", True)
    before = shop.bytes()
    assert rollback(shop.folder, "plan", "config").status == 0
    assert shop.bytes() == before
    with shop.site() as site:
        (shown,) = [e for e in site.journal.events() if e.kind == "plan.shown"]
        plan = shop.plan(site, "config")
    assert shown.data["steps"] == [[*step.says] for step in plan.steps]
    assert held(shop) is None
    assert held(shop, "full") is not None  # another level was not looked at
    assert held(shop, "flag") is None  # an emergency looks at nothing first
    shop.edit("title: Settings back", "title: Settings back again")
    refused = held(shop)
    assert refused is not None
    assert refused.guardrail == "dry-run"


def test_taking_a_run_back_needs_no_dry_run_and_no_window(tmp_path: Path) -> None:
    """Who has gone too far does not wait for the night."""
    shop = bad(build(tmp_path))
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        assert roll_back(site, run.id).state is State.COMPLETE
    window = f"window: {{hours: '{hours(shop, 5)}'}}"
    shop.edit(
        "levels:\n  flag:", f"guardrails: {{dry_run_first: true, {window}}}\nlevels:\n  flag:"
    )
    with shop.site() as site:
        accept(site, person="ada")
        back = undo_plan(site, site.run(run.id), run="r0002", requester="ada", reason="too far")
        holding.guard(site, back)
        with pytest.raises(Refused, match="window"):
            holding.guard(site, shop.plan(site, "config"))


STAGING = """guardrails: {staging_first: staging}
environments: {staging: {root: staging, confirm: false}}
"""


@pytest.mark.requirement("PM-91")
def test_production_waits_for_a_proof_on_staging_of_the_same_procedure(tmp_path: Path) -> None:
    """Not one that failed, not of another level, not of yesterday, not before it was changed."""
    shop = build(tmp_path, guardrails=STAGING)
    staging = shop.folder / "staging"
    for name in ("config", "pages"):
        (staging / name).mkdir(parents=True)
    (staging / "config" / "app.yaml").write_text("party: true\nlimit: 3\n")
    (staging / "pages" / "index.html").write_text("<h1>shop</h1>\n")
    bad(shop)

    def on_staging(level: str = "config") -> Run:
        (staging / "config" / "app.yaml").write_text("party: true\nlimit: 98\n")
        with shop.site() as site:
            plan = make_plan(site, level, run=authorize.next_run_id(site), requester="ada",
                             environment="staging")  # fmt: skip
            run = authorize.create(site, plan)
            authorize.approve(site, run, person="ada")
            return roll_back(site, run.id)

    refused = held(shop)
    assert refused is not None
    assert (refused.guardrail, "--environment staging" in refused.hint) == ("staging", True)
    assert held(shop, "flag") is None
    assert on_staging().state is State.COMPLETE
    assert held(shop) is None
    assert held(shop, "full") is not None
    shop.clock.ahead_s = 24 * 3600 + 60
    assert held(shop) is not None
    assert on_staging().state is State.COMPLETE
    assert held(shop) is None
    shop.edit("title: Settings back", "title: Settings back again")
    assert held(shop) is not None


# -- how much ------------------------------------------------------------------------------


@pytest.fixture
def limited(tmp_path: Path) -> System:
    """A tenth of the rows, one component, five paths, no service."""
    return build(
        tmp_path,
        guardrails="guardrails:\n  max_lost_share: 10%\n"
        "  blast_radius: {components: 1, paths: 5, services: 0}\n",
    ).system


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"lost_share": 0.1}, []), ({"lost_share": 0.1001}, ["lost-share"]),
        ({"lost_share": None}, ["lost-share"]),
        ({"touched": ("config",), "paths": 5}, []), ({"paths": 6}, ["blast-radius"]),
        ({"touched": ("config", "pages")}, ["blast-radius"]), ({"services": 1}, ["blast-radius"]),
    ],
)  # fmt: skip
def test_how_much_is_lost_or_changed_is_held_at_its_edge(
    limited: System, more: dict[str, Any], said: list[str]
) -> None:
    """As much as is allowed is allowed; what is not known is not."""
    seen = Circumstances(**{**_fields(QUIET), **more})
    assert [one.guardrail for one in refusals(limited, limited.levels["config"], seen)] == said


def _fields(seen: Circumstances) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in seen.__slots__}


def test_a_plan_that_changes_too_much_is_refused_before_it_is_a_run(tmp_path: Path) -> None:
    """Counted from the plan itself."""
    shop = bad(build(tmp_path, guardrails="guardrails:\n  blast_radius: {components: 1}\n"))
    (shop.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    assert held(shop) is None
    refused = held(shop, "full")
    assert refused is not None
    assert "2 components, 1 at most" in refused.message


def test_a_table_that_would_lose_too_many_rows_refuses_the_run(tmp_path: Path) -> None:
    """Two of twelve rows were written since; one in ten may be lost."""
    import sqlite3

    shop = build(tmp_path, guardrails="guardrails:\n  max_lost_share: 10%\n")
    pages = "  pages: {path: pages, content: files}"
    shop.edit(pages, f"{pages}\n  orders: {{path: orders.db, content: sqlite}}")
    shop.edit("steps: [{restore: {component: config}}]", "steps: [{restore: {component: orders}}]")
    with sqlite3.connect(shop.tree / "orders.db") as base:
        base.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        base.executemany("INSERT INTO orders VALUES (?)", [(n,) for n in range(10)])
    base.close()
    bad(shop)
    for number, share in ((10, "9.1%"), (11, "16.7%")):
        with sqlite3.connect(shop.tree / "orders.db") as base:
            base.execute("INSERT INTO orders VALUES (?)", (number,))
        base.close()
        refused = held(shop)
        if number == 10:
            assert refused is None, share
        else:
            assert refused is not None
            assert f"{share} of the rows" in refused.message


# -- how much alone ------------------------------------------------------------------------


@pytest.mark.parametrize(("current", "let"), [(1, False), (2, False), (3, True), (4, True)])
def test_autonomy_has_its_four_levels_without_a_table_too(
    tmp_path: Path, current: int, let: bool
) -> None:
    """One looks, two checks, three and four go back."""
    shop = build(tmp_path)
    shop.edit("people:\n", f"autonomy: {{current: {current}}}\npeople:\n")
    bad(shop)
    refused = held(shop)
    assert (refused is None) is let
    if refused is not None:
        assert refused.guardrail == "autonomy"
