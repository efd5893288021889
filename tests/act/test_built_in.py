"""Starting and stopping by hand are runs like any other, before anything was ever sealed."""

from __future__ import annotations

import pytest

from rollback import declare
from rollback.act import authorize, built_in
from rollback.act.engine import advance, roll_back
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.act.stopping import abort, retry
from rollback.host.clock import iso
from rollback.model.errors import PlanError
from rollback.model.lifecycle import Run, State
from tests.act.conftest import World
from tests.act.test_fallback import listening

GUARDS = """guardrails:
  rate_limit: {max: 1, per: 1h}
  conditions: [{id: seen, metric: size, above: 100}]
levels:
"""


def by_hand(world: World, name: str) -> Run:
    """The run of that name, approved and carried as far as it goes."""
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        run_id = authorize.next_run_id(site)
        run = authorize.create(site, make_plan(site, name, run=run_id, requester="someone"))
        authorize.approve(site, run, person="someone")
        return roll_back(site, run.id)


def edit(world: World, old: str, new: str) -> None:
    file = world.system.declaration
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_is_declared_starts_and_stops_by_runs(world: World) -> None:
    """Journalled, in the order of need; whatever a rate limit or a metric says of rollbacks."""
    edit(world, "levels:\n", GUARDS)
    started = by_hand(world, "start")
    assert (started.state, started.gated) == (State.MITIGATED, False)
    assert world.running() == {"base": True, "web": True}
    assert by_hand(world, "start").state is State.MITIGATED  # again: nothing changes
    assert by_hand(world, "stop").state is State.MITIGATED
    assert world.running() == {"base": False, "web": False}
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        titles = [str(run.plan["title"]) for run in site.runs().values()]
    assert titles == ["Start every service", "Start every service", "Stop every service"]


@pytest.mark.requirement("C-05")
def test_a_start_waits_for_its_yes_and_may_be_refused(world: World) -> None:
    """No side door: the owner's role answers for it."""
    with Site.open(world.system, world.host) as site:
        plan = make_plan(site, "start", run="r0001", requester="someone")
        run = roll_back(site, authorize.create(site, plan).id)
        assert run.state is State.WAITING
        assert "op" in str(run.waiting_for["what"])
        assert abort(site, run, by="someone", reason="not now").state is State.ABANDONED
    assert world.running() == {"base": False, "web": False}


def test_a_service_that_cannot_start_leaves_nothing_running(world: World) -> None:
    """What the run started before it is stopped again."""
    (world.root / "app" / "server.py").write_text("import sys; sys.exit(1)\n")
    assert by_hand(world, "start").state is State.UNDONE
    assert world.running() == {"base": False, "web": False}


@pytest.mark.parametrize("name", ["start", "stop"])
def test_a_stranger_on_a_port_leaves_nothing_that_a_person_has_to_end(
    world: World, name: str
) -> None:
    """Nothing was begun, so there is nothing to take back: UNDONE; the stranger lives."""
    with listening(world.ports[1]) as stranger:
        ended = by_hand(world, name)
        assert ended.state is State.UNDONE, ended.reason
        assert str(world.ports[1]) in ended.reason
        assert stranger.poll() is None
    assert by_hand(world, "start").state is State.MITIGATED
    assert world.running() == {"base": True, "web": True}


def test_a_declared_one_takes_its_place(world: World) -> None:
    """Its own steps are planned."""
    edit(
        world,
        "levels:\n",
        "procedures:\n  stop: {title: Ours, steps: [{wait: {for: 1s}}]}\nlevels:\n",
    )
    system = declare.load(world.system.declaration)
    assert set(built_in.written(system)) == {"guard", "start", "thaw"}
    with Site.open(system, world.host) as site:
        plan = make_plan(site, "stop", run="r0001", requester="someone")
    assert [step.kind for step in plan.steps] == ["wait"]


def test_without_services_there_is_nothing_to_start(world: World) -> None:
    """The names are not known."""
    system = world.system.having(services={})
    with (
        Site.open(system, world.host) as site,
        pytest.raises(PlanError, match="no service is declared"),
    ):
        make_plan(site, "start", run="r0001", requester="someone")


def test_a_gate_closed_by_errors_opens_once_they_are_put_right_and_it_runs_anew(
    world: World,
) -> None:
    """Errors of before the services were started again by a run are not held against them."""
    edit(world, "    - config: {id: config-wrong",
         "    - log: {id: no-errors, file: logs/web.out, lacks: [ERROR], since: mitigation}\n"
         "    - config: {id: config-wrong")  # fmt: skip
    steps = "      - flag: {flag: party, set: false, within: 3s}\n"
    edit(world, steps, steps + "    gate: {suites: [smoke]}\n")
    by_hand(world, "start")
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        run_id = authorize.next_run_id(site)
        run = authorize.create(site, make_plan(site, "only", run=run_id, requester="someone"))
        authorize.approve(site, run, person="someone")
        run = site.run(run_id)
        while run.state is not State.MITIGATED:
            run = advance(site, run)
        with (world.root / "logs" / "web.out").open("a") as log:
            log.write(f"{iso(world.host.clock.now())} ERROR: what was restored is broken\n")
        run = roll_back(site, run_id)
        assert (run.state, "no-errors" in run.reason) == (State.NEEDS_OPERATOR, True)
        retry(site, run, by="someone")
        assert roll_back(site, run_id).state is State.NEEDS_OPERATOR
    by_hand(world, "stop")
    by_hand(world, "start")
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        retry(site, site.run(run_id), by="someone")
        run = roll_back(site, run_id)
    assert (run.state, run.reason) == (State.COMPLETE, "")
