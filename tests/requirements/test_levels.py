"""Levels: their scope, their two clocks and budgets, and which trigger asks for which of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.engine import roll_back
from rollback.judge.condition import Known
from rollback.judge.decision import decide
from rollback.model.finding import Sample
from tests.requirements.stepping import stepped
from tests.systems import Shop, build

SYSTEMS = Path(__file__).parents[2] / "systems"
MINUTE_S, HOUR_S = 60, 3600
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop, whose every level one person may start, before and after a bad release."""
    made = build(tmp_path)
    made.edit("authority: {roles: [lead], count: 2}", "authority: {roles: [op], alone: true}")
    made.edit(
        "authority: {roles: [lead, chief], quorum: all}", "authority: {roles: [op], alone: true}"
    )
    return made


def release(shop: Shop) -> None:
    """Both components differ from every checkpoint, and there is a new file."""
    (shop.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    (shop.tree / "pages" / "added.html").write_text("lost work\n")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")


@pytest.mark.requirement("MB-12", "MB-13", "MB-14", "MB-15")
@pytest.mark.parametrize(
    ("level", "rank", "mitigated_s", "recovery_s"),
    [
        ("component", 1, 5 * MINUTE_S, 30 * MINUTE_S),
        ("phase", 2, 30 * MINUTE_S, 2 * HOUR_S),
        ("project", 3, 2 * HOUR_S, 8 * HOUR_S),
    ],
)
def test_the_levels_of_the_mother_box_carry_two_clocks(
    level: str, rank: int, mitigated_s: float, recovery_s: float
) -> None:
    """The time of the steps, and that until all is well again: the upper end of each range."""
    found = declare.load(SYSTEMS / "mother_box.yaml", environ={}).levels[level]
    assert found.rank == rank
    assert found.budgets is not None
    assert (found.budgets.mitigated, found.budgets.complete) == (mitigated_s, recovery_s)


@pytest.mark.requirement("MB-12", "MB-18")
def test_a_level_of_one_component_leaves_every_other_as_it_was(shop: Shop) -> None:
    """By hash: the chosen one is the checkpoint's, the others are the bytes of before."""
    with shop.site() as site:
        site.checkpoints.create("before-release")
        good = shop.bytes()
        release(shop)
        bad = shop.bytes()
        stepped(site, shop.plan(site, "pages", component="pages"))
    after = shop.bytes()
    pages = {name: seen for name, seen in good.items() if name.startswith("pages")}
    others = {name: seen for name, seen in bad.items() if not name.startswith("pages")}
    assert after == {**pages, **others}


@pytest.mark.requirement("MB-14", "PM-07")
def test_the_whole_project_goes_back_to_its_beginning_and_what_it_was_is_kept(shop: Shop) -> None:
    """To the first checkpoint, not the newest; the lost work is in a checkpoint of its own."""
    with shop.site() as site:
        site.checkpoints.create("start")
        begin = shop.bytes()
        (shop.tree / "pages" / "index.html").write_text("<h1>half way</h1>\n")
        site.checkpoints.create("half-way")
        release(shop)
        lost = shop.bytes()
        run = stepped(site, shop.plan(site, "full", to="initial"))
        assert shop.bytes() == begin
        for name in ("pages", "config"):
            site.checkpoints.restore(run.safety, name, step=f"look-{name}")
    assert shop.bytes() == lost


@pytest.mark.requirement("MB-13")
def test_a_phase_goes_back_to_its_checkpoint_and_says_what_is_lost(shop: Shop) -> None:
    """Only what belongs to it; the report names the declared loss and the measured one."""
    with shop.site() as site:
        site.checkpoints.create("building-start")
        release(shop)
        pages = (shop.tree / "pages" / "added.html").read_bytes()
        run = settle(site, stepped(site, shop.plan(site, "config", to="phase:building")))
        report = json.loads((site.run_folder(run.id) / "report.json").read_text())
    assert "limit: 3" in (shop.tree / "config" / "app.yaml").read_text()
    assert (shop.tree / "pages" / "added.html").read_bytes() == pages
    assert report["impact"]["data_loss"] == "settings since the checkpoint"
    assert (report["impact"]["files"], report["impact"]["components"]) == (1, ["config"])


@pytest.mark.requirement("MB-12", "MB-15", "AW-01", "C-17")
@pytest.mark.parametrize(("budget", "said"), [("1m", "within budget"), ("1ms", "over budget")])
def test_the_report_shows_both_clocks_beside_their_budgets(
    budget: str, said: str, shop: Shop
) -> None:
    """An overrun is said, whether or not the run came to its end."""
    shop.edit(
        "budgets: {mitigated: 1m, complete: 5m}", f"budgets: {{mitigated: {budget}, complete: 5m}}"
    )
    with shop.site() as site:
        site.checkpoints.create("before-release")
        release(shop)
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = settle(site, roll_back(site, run.id))
        folder = site.run_folder(run.id)
    clocks = json.loads((folder / "report.json").read_text())["clocks"]
    assert 0 < clocks["mitigated"]["took_s"] < clocks["complete"]["took_s"]
    assert clocks["complete"]["budget_s"] == 300
    lines = (folder / "report.md").read_text().splitlines()
    assert said in next(line for line in lines if line.startswith("| mitigated |"))
    assert "within budget" in next(line for line in lines if line.startswith("| complete |"))


@pytest.mark.requirement("AW-01")
def test_the_pair_of_versions_and_the_budgets_are_declared() -> None:
    """From 2.0.0 back to 1.0.0: half an hour for the steps, another for the proof."""
    system = declare.load(SYSTEMS / "ai_workflow.yaml", environ={})
    budgets = system.levels["release"].budgets
    assert "From version 2.0.0 back to 1.0.0" in str(system.system.purpose)
    assert budgets is not None
    assert (budgets.mitigated, budgets.complete - budgets.mitigated) == (
        30 * MINUTE_S,
        30 * MINUTE_S,
    )


@pytest.mark.requirement("PM-02", "PM-09", "PM-10", "PM-11", "PM-12", "PM-14", "PM-18")
@pytest.mark.parametrize(
    ("metric", "fires", "not_yet", "level", "urgency_s"),
    [
        ("leaks", 1, 0, "flag", MINUTE_S), ("boundary_breaches", 1, 0, "flag", MINUTE_S),
        ("session_success", 0.799, 0.80, "flag", 15 * MINUTE_S),
        ("spawn_failures", 0.101, 0.10, "flag", 15 * MINUTE_S),
        ("slowdown", 2.01, 2.0, "configuration", HOUR_S),
        ("critical_violations", 2, 1, "full", 4 * HOUR_S),
    ],
)  # fmt: skip
def test_a_sign_asks_for_its_level_and_within_which_time(
    metric: str, fires: float, not_yet: float, level: str, urgency_s: float
) -> None:
    """At the very edge of each limit, the other metrics being well."""
    system = declare.load(SYSTEMS / "party_mode.yaml", environ={})
    well = {"leaks": 0.0, "boundary_breaches": 0.0, "session_success": 1.0, "spawn_failures": 0.0,
            "slowdown": 1.0, "critical_violations": 0.0}  # fmt: skip

    def decided(value: float) -> list[tuple[str, float | None]]:
        values = {**well, metric: value}
        samples = {name: Sample(name, one, "", NOW, 60.0, 100) for name, one in values.items()}
        return [(match.level, match.urgency_s) for match in decide(system, Known(samples)).matches]

    assert decided(fires) == [(level, urgency_s)]
    assert decided(not_yet) == []
