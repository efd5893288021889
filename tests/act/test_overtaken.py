"""Between a plan and the yes that it waited for, the system goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.model.lifecycle import State
from rollback.tell import report
from tests.systems import Hands, Shop, build

BAD = "party: true\nlimit: 99\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release of settings and pages."""
    made = Shop(build(tmp_path).folder, Hands())
    made.edit("{roles: [lead, chief], quorum: all}", "{roles: [op]}")
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text(BAD)
    (made.tree / "pages" / "new.html").write_text("bad")
    return made


def waiting(shop: Shop, site: Site) -> str:
    """A run of the fullest level that waits for its yes."""
    run = authorize.create(site, shop.plan(site, "full", requester="dee"))
    run = roll_back(site, run.id)
    assert run.state is State.WAITING
    return run.id


def test_what_another_run_has_changed_is_not_put_back_on_an_old_plan(shop: Shop) -> None:
    """The yes was to a plan about something else; nothing is done, and it is said who was there."""
    with shop.site() as site:
        name = waiting(shop, site)
        other = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, other, person="ada")
        assert roll_back(site, other.id).state is State.COMPLETE
        before = shop.bytes()
        authorize.approve(site, site.run(name), person="ada")
        run = roll_back(site, name)
        assert run.state is State.ABANDONED
        assert f"{other.id} has changed config since this was planned; plan it anew" in run.reason
        assert shop.bytes() == before


def test_what_another_run_took_back_itself_is_no_reason(shop: Shop) -> None:
    """In the end it has changed nothing."""
    fails = "command: {id: no, argv: [/bin/false], undo: {argv: [/bin/true]}, within: 5s}"
    shop.edit(
        "steps: [{restore: {component: config}}]",
        f"steps: [{{restore: {{component: config}}}}, {{{fails}}}]",
    )
    with shop.site() as site:
        name = waiting(shop, site)
        other = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, other, person="ada")
        assert roll_back(site, other.id).state is State.UNDONE
        authorize.approve(site, site.run(name), person="ada")
        assert roll_back(site, name).state is State.COMPLETE


def test_what_a_run_changed_in_another_environment_is_no_reason(shop: Shop) -> None:
    """Staging first, then production: that is how it is meant."""
    shop.edit(
        "components:\n", "environments: {production: {}, staging: {root: trial}}\ncomponents:\n"
    )
    shutil.copytree(shop.tree, shop.folder / "trial")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 3\n")
    with shop.site() as site:
        site.there("staging").checkpoints.create("tried")
        (shop.folder / "trial" / "config" / "app.yaml").write_text("party: true\nlimit: 7\n")
        name = waiting(shop, site)
        other = authorize.create(site, shop.plan(site, "config", environment="staging"))
        authorize.approve(site, other, person="ada")
        roll_back(site, other.id)
        assert [e.run for e in site.journal.events() if e.kind == "step.ended"] == [other.id]
        authorize.approve(site, site.run(name), person="ada")
        assert roll_back(site, name).state is State.COMPLETE


def test_nothing_is_done_where_nothing_is_left_to_be_done(shop: Shop) -> None:
    """Somebody put it right by hand meanwhile."""
    with shop.site() as site:
        name = waiting(shop, site)
        site.checkpoints.restore("good", "config", step="by-hand")
        site.checkpoints.restore("good", "pages", step="by-hand")
        authorize.approve(site, site.run(name), person="ada")
        run = roll_back(site, name)
        assert run.state is State.ABANDONED
        assert "nothing is left to be done" in run.reason


def test_what_it_costs_by_now_stands_in_the_report(shop: Shop) -> None:
    """A living system goes on: the run is carried out, and says what it really took away."""
    with shop.site() as site:
        name = waiting(shop, site)
        for number in range(5):
            (shop.tree / "pages" / f"later{number}.html").write_text("since the plan")
        authorize.approve(site, site.run(name), person="ada")
        run = roll_back(site, name)
        assert run.state is State.COMPLETE, run.reason
        told = report.build(site.system, run, site.journal.events())
        planned = run.plan["impact"]
        assert isinstance(planned, dict)
        assert (planned["paths"]["removes"], told["impact"]["paths"]["removes"]) == (1, 6)
        assert "As it was measured when the run began:" in report.markdown(told)


def test_a_run_that_did_not_wait_is_not_measured_twice(shop: Shop) -> None:
    """Its plan is from a moment ago."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        assert roll_back(site, run.id).state is State.COMPLETE
        assert "impact.measured" not in [event.kind for event in site.journal.events()]
