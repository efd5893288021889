"""Which incident a run is about: one that went wrong, and none where somebody starts or stops by hand."""

from __future__ import annotations

from pathlib import Path

from rollback import declare
from rollback.act import authorize, incident
from rollback.act.back import undo_plan
from rollback.act.engine import roll_back
from rollback.act.plan import Plan, make_plan
from rollback.act.site import Site
from rollback.model.lifecycle import Run, State
from tests.act.conftest import World
from tests.act.test_built_in import by_hand
from tests.cli.program import rollback
from tests.systems import Shop, build, ill


def carried(site: Site, plan: Plan, *people: str) -> Run:
    """The run of a plan, with these people's yes, as far as it goes."""
    run = authorize.create(site, plan)
    for person in people or ("ada",):
        authorize.approve(site, run, person=person)
    return roll_back(site, run.id)


def undo(site: Site, old: Run) -> Plan:
    """What takes that run back."""
    return undo_plan(site, old, run=authorize.next_run_id(site), requester="ada", reason="")


def test_starting_and_stopping_by_hand_is_about_no_incident(world: World) -> None:
    """Nothing went wrong: no number is used up, and nothing is open afterwards; nor by taking it back."""
    started, stopped = by_hand(world, "start"), by_hand(world, "stop")
    assert (started.incident, stopped.incident) == ("", "")
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        plan = undo_plan(site, stopped, run="r0003", requester="someone", reason="")
        back = carried(site, plan, "someone")
        assert (back.state, back.incident) == (State.MITIGATED, "")
        assert incident.open_one(site) == ""


def test_a_start_while_an_incident_is_open_belongs_to_it(world: World) -> None:
    """Somebody starts what does not run since the run stopped: that is about it."""
    with Site.open(world.system, world.host) as site:
        level = next(iter(site.system.levels))
        plan = make_plan(site, level, run="r0001", requester="someone")
        stopped = authorize.create(site, plan)
        stopped = site.note(stopped, "run.needs-operator", reason="for a test")
    assert stopped.incident
    assert by_hand(world, "start").incident == stopped.incident


def test_who_takes_a_run_back_does_it_in_its_incident(tmp_path: Path) -> None:
    """Also when another one was proved since; the next rollback is about a new one."""
    shop = ill(tmp_path)
    with shop.site() as site:
        first = carried(site, shop.plan(site, "config"))
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 98\n")
        second = carried(site, shop.plan(site, "config"))
        assert first.state is second.state is State.COMPLETE
        assert [one.incident[-3:] for one in (first, second)] == ["001", "002"]
        back = carried(site, undo(site, second))
        assert back.incident == second.incident
        third = carried(site, shop.plan(site, "config"))
        assert third.incident[-3:] == "003"


def test_an_undo_of_another_incident_does_not_hide_the_open_one(tmp_path: Path) -> None:
    """The newest run is about an old one; what waits for a person still does."""
    shop = build(tmp_path)
    shop.edit("keys: [limit], levels: [config]", "keys: [nowhere], levels: [config]")
    shop.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    with shop.site() as site:
        site.checkpoints.create("good")
        spoil(shop, "pages/index.html", "worse")
        first = carried(site, shop.plan(site, "full"))
        spoil(shop, "config/app.yaml", "party: true\nlimit: 99\n")
        stopped = carried(site, shop.plan(site, "config"))
        assert (first.state, stopped.state) == (State.COMPLETE, State.NEEDS_OPERATOR)
        back = carried(site, undo(site, first))
        assert (back.incident, back.state) == (first.incident, State.MITIGATED)
        assert first.incident != stopped.incident
        assert incident.open_one(site) == stopped.incident
        assert [run.id for run in incident.needing(site)] == [stopped.id]


def spoil(shop: Shop, path: str, text: str) -> None:
    """Something there is as it should not be."""
    (shop.tree / path).write_text(text)


def test_a_run_about_none_says_so_in_words(tmp_path: Path) -> None:
    """A line for people in the list, no empty name in the report."""
    shop = build(tmp_path)
    thawed = rollback(shop.folder, "run", "thaw", "--as", "ada", "--yes")
    assert thawed.status == 0, thawed.out + thawed.err
    (row,) = [line for line in rollback(shop.folder, "history").out.splitlines() if "r0001" in line]
    assert row.split()[-2:] == ["-", "-"]  # of the gate, and of an incident
    (told,) = rollback(shop.folder, "--json", "history").json["runs"]
    assert told["incident"] == ""
    report = rollback(shop.folder, "report", "r0001").out
    assert "Run **r0001**, level `thaw`" in report
