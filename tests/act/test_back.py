"""Undoing a run, and restoring by hand: runs like any other, and the bytes are back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.authorize import next_run_id
from rollback.act.back import last_done, restore_plan, strictest, undo_plan
from rollback.act.engine import resting, roll_back
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.model.errors import PlanError, UsageError
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, build

ALONE = "{roles: [op], alone: true}"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop without gates, so that a run takes no suites; with a checkpoint and a bad release."""
    made = build(tmp_path)
    file = tmp_path / "rollback.yaml"
    file.write_text(file.read_text().replace("{roles: [lead], count: 2}", ALONE))
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    (made.tree / "pages" / "added.html").write_text("new\n")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    """The shop, opened."""
    with shop.site() as opened:
        yield opened


def go(site: Site, plan, person: str = "ada") -> Run:  # type: ignore[no-untyped-def]
    """The run of a plan, approved by one person, as far as its steps go (the gate is not asked)."""
    from rollback.act import engine

    run = authorize.create(site, plan)
    if not authorize.standing(site, run, plan).enough:
        authorize.approve(site, run, person=person)
    run = site.run(run.id)
    while run.state is not State.MITIGATED and not resting(site, run):
        run = engine.advance(site, run)
    return run


AWAY = {
    "clear": "clear: {component: pages}", "remove": "remove: {paths: [pages/added.html]}",
    "quarantine": "quarantine: {component: pages, items: [a*]}",
    "move": "move: {paths: [pages/a*], to: config}", "requeue": "requeue: {from: [pages], to: config}",
    "freeze": "freeze: {components: [pages]}",
}  # fmt: skip


@pytest.mark.parametrize("kind", AWAY)
def test_undo_brings_back_what_a_step_took_away(kind: str, shop: Shop) -> None:
    """Whatever had a way back while the run went on has it afterwards; none is passed over."""
    shop.edit("levels:\n", f"procedures:\n  away: {{title: Away, authority: {ALONE}, "
              f"steps: [{{{AWAY[kind]}}}]}}\nlevels:\n")  # fmt: skip
    shop.edit("{roles: [lead, chief], quorum: all}", ALONE)
    shop.edit("{path: pages, content: files}", "{path: pages, content: files, initial: empty}")
    before = shop.bytes()
    with shop.site() as site:
        run = go(site, shop.plan(site, "away"))
        assert run.state is State.MITIGATED, run.reason
        assert shop.bytes() != before
        plan = undo_plan(site, run, run=next_run_id(site), requester="ada", reason="")
        assert go(site, plan).state is State.MITIGATED
    assert shop.bytes() == before


def ended(site: Site, run: Run) -> Run:
    """As if the gate had stayed closed: a person is needed."""
    return site.note(run, "gate.closed", reason="red", reasons=["red"])


@pytest.mark.parametrize(
    ("level", "more"),
    [("flag", {}), ("config", {}), ("pages", {"component": "pages"}), ("pages", {"component": "config"})],
)  # fmt: skip
def test_undo_brings_back_every_byte(
    level: str, more: dict[str, str], shop: Shop, site: Site
) -> None:
    """By an independent walk before and after; it ends MITIGATED, and the stopped run is closed."""
    before = shop.bytes()
    run = go(site, shop.plan(site, level, **more))
    assert run.state is State.MITIGATED
    during = shop.bytes()
    assert during != before
    old = ended(site, run)
    plan = undo_plan(site, old, run=next_run_id(site), requester="ada", reason="")
    assert plan.undoes == old.id
    back = go(site, plan)
    assert back.state is State.MITIGATED
    assert not back.gated
    assert shop.bytes() == before
    settle(site, back)
    assert site.run(old.id).state is State.ABANDONED
    assert "taken back by r0002" in site.run(old.id).reason
    again = undo_plan(site, back, run=next_run_id(site), requester="ada", reason="")
    assert go(site, again).state is State.MITIGATED
    assert shop.bytes() == during


def test_what_changed_nothing_or_still_goes_on_cannot_be_undone(shop: Shop, site: Site) -> None:
    """With what to type instead."""
    plan = shop.plan(site, "full", requester="dee")
    run = roll_back(site, authorize.create(site, plan).id)
    with pytest.raises(PlanError, match="has not ended") as caught:
        undo_plan(site, run, run="r0002", requester="ada", reason="")
    assert "rollback abort r0001" in caught.value.hint
    gone = abort(site, run, by="dee", reason="x")
    with pytest.raises(PlanError, match="did nothing"):
        undo_plan(site, gone, run="r0002", requester="ada", reason="")


def test_the_last_run_is_the_last_that_changed_something(shop: Shop, site: Site) -> None:
    """Not one that waits, was denied, or took another back; what was taken back is not it either."""
    with pytest.raises(PlanError, match="no run changed anything"):
        last_done(site)
    first = ended(site, go(site, shop.plan(site, "flag")))
    second = ended(site, go(site, shop.plan(site, "config")))
    authorize.create(site, shop.plan(site, "full", requester="dee"))
    assert last_done(site).id == second.id
    plan = undo_plan(site, second, run=next_run_id(site), requester="ada", reason="")
    settle(site, go(site, plan))
    assert last_done(site).id == first.id


def test_undo_needs_the_authority_of_what_it_undoes(shop: Shop, site: Site) -> None:
    """Two signatures went in, two take it out."""
    assert strictest(site, ("pages",)) == "full"
    run = ended(site, go(site, shop.plan(site, "config")))
    plan = undo_plan(site, run, run="r0002", requester="dee", reason="")
    assert plan.level == "config"
    stopped = roll_back(site, authorize.create(site, plan).id)
    assert stopped.state is State.WAITING
    assert stopped.waiting_for["what"] == "1 more approval by op"


def test_undo_of_a_procedure_asks_whom_the_procedure_asked(shop: Shop) -> None:
    """Not the strictest level: what takes back changes no more than what was done. Gone: the strictest."""
    shop.edit("levels:\n  flag", "procedures:\n"
              "  mild: {title: Mild, authority: {roles: [guest], alone: true}, "
              "steps: [{restore: {component: config, from: checkpoint:before-release}}]}\n"
              "levels:\n  flag")  # fmt: skip
    before = shop.bytes()
    with shop.site() as site:
        run = go(site, shop.plan(site, "mild", requester="dee"), person="dee")
        assert run.state is State.MITIGATED, run.reason
        assert shop.bytes() != before
        plan = undo_plan(site, run, run="r0002", requester="ada", reason="")
        assert (plan.level, plan.procedure, plan.gate) == ("mild", True, {})
        refused = roll_back(site, authorize.create(site, plan).id)
        assert (refused.state, refused.waiting_for["what"]) == (
            State.WAITING,
            "1 more approval by guest",
        )
        abort(site, refused, by="ada", reason="x")
        plan = undo_plan(site, run, run=next_run_id(site), requester="dee", reason="")
        back = go(site, plan, person="dee")
        assert (back.state, back.gated) == (State.MITIGATED, False)
        assert shop.bytes() == before
    shop.edit("  mild: {title", "  other: {title")
    with shop.site() as site:
        assert undo_plan(site, run, run="r0009", requester="dee", reason="").level == "full"


def test_undo_survives_that_its_level_is_no_longer_declared(shop: Shop) -> None:
    """Then the strictest level that touches the same components speaks."""
    with shop.site() as site:
        ended(site, go(site, shop.plan(site, "config")))
    text = (shop.folder / "rollback.yaml").read_text()
    shop.edit("  config:\n    rank: 2", "  renamed:\n    rank: 2")
    shop.edit("levels: [config]", "levels: [renamed]")
    assert (shop.folder / "rollback.yaml").read_text() != text
    with shop.site() as site:
        plan = undo_plan(site, site.run("r0001"), run="r0002", requester="ada", reason="")
        assert plan.level == "full"


# -- restoring by hand ---------------------------------------------------------------------


def test_a_restore_by_hand_is_a_run_under_the_strictest_authority(shop: Shop, site: Site) -> None:
    """It waits for both roles, protects the present, and ends MITIGATED, never COMPLETE."""
    plan = restore_plan(site, "before-release", (), run="r0001", requester="dee", reason="")
    assert plan.level == "full"
    assert plan.gate == {}
    run = roll_back(site, authorize.create(site, plan).id)
    assert run.state is State.WAITING
    assert run.waiting_for["what"].startswith("approval by lead and chief")


@pytest.mark.requirement("VR-17")
def test_a_restore_by_hand_brings_the_bytes_back_and_can_be_undone(shop: Shop) -> None:
    """One component, the others untouched; what it removed is kept."""
    shop.edit("{roles: [lead, chief], quorum: all}", ALONE)
    with shop.site() as site:
        before = shop.bytes()
        plan = restore_plan(
            site, "before-release", ("pages",), run="r0001", requester="ada", reason="x"
        )
        assert not plan.idle
        run = go(site, plan)
        assert run.state is State.MITIGATED
        assert resting(site, run)
        after = shop.bytes()
        assert "pages/added.html" not in after
        assert after["config/app.yaml"] == before["config/app.yaml"]
        assert run.safety
        go(site, undo_plan(site, run, run="r0002", requester="ada", reason=""))
        assert shop.bytes() == before


def test_the_second_restore_has_nothing_to_do(shop: Shop) -> None:
    """It says so, and is no run."""
    shop.edit("{roles: [lead, chief], quorum: all}", ALONE)
    with shop.site() as site:
        go(site, restore_plan(site, "before-release", (), run="r0001", requester="ada", reason=""))
        again = restore_plan(site, "before-release", (), run="r0002", requester="ada", reason="")
        assert again.idle


@pytest.mark.parametrize(
    ("checkpoint", "components", "said"),
    [("nothing", (), "no checkpoint"), ("before-release", ("x",), "no component x"),
     ("", (), "no checkpoint")],
)  # fmt: skip
def test_what_cannot_be_restored_is_refused(
    checkpoint: str, components: tuple[str, ...], said: str, site: Site
) -> None:
    """Before anything is planned."""
    with pytest.raises((PlanError, UsageError), match=said):
        restore_plan(site, checkpoint, components, run="r0001", requester="ada", reason="")
