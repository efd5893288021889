"""Each of the studio's sixteen checks sees its own breakage, and none of the other fifteen does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drills.studio_run import running
from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.engine import roll_back
from rollback.act.plan import make_plan
from rollback.act.sealing import ask_suites
from rollback.act.stopping import retry
from rollback.model.finding import Answer
from rollback.model.lifecycle import State
from rollback.model.registry import Kind
from rollback.model.step import Suite
from rollback.observe.check import ask
from rollback.prove.expect import declared
from tests.cli.program import rollback
from tests.drills.breakages import BREAKAGES, Broken, broken_flow

SUITES: dict[Suite, str] = {
    "smoke": "MB-67",
    "functional": "MB-68",
    "integration": "MB-69",
    "performance": "MB-70",
}
SIXTEEN = {  # the suite of each, in the order of the checklist
    name: suite for number, name in enumerate(BREAKAGES) for suite in [list(SUITES)[number // 4]]
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """One studio at v1.0.0 that runs, with a checkpoint of it; ended even if the tests are killed."""
    folder = tmp_path_factory.mktemp("sixteen") / "studio"
    with running(folder) as (studio, site):
        site.checkpoints.create("v1.0.0", kind="release", components=None, reason="sixteen checks")
        yield Broken(studio, site)


def checks(world: Broken) -> dict[str, tuple[Suite, Kind]]:
    """Every check that is asked without a level: the sixteen, and five beside them."""
    every = declared(world.site.system)
    return {key: (suite, check) for suite, key, check in every if not getattr(check, "levels", ())}


def red(world: Broken, names: Iterable[str]) -> dict[str, str]:
    """Those of these checks that do not answer PASS, with their evidence; asked in process."""
    view, every = world.view, checks(world)
    found = {name: ask(brief(every[name][1]), view) for name in names}
    return {name: f.evidence for name, f in found.items() if f.answer is not Answer.PASS}


def brief(check: Kind) -> Kind:
    """Less of the work, under the same limits: as one of the others it is asked sixteen times."""
    less: dict[str, dict[str, Any]] = {
        "load": {"duration": 2.0, "min_samples": 20},
        "memory": {"requests": 600},
    }
    return check.model_copy(update=less.get(check.kind, {}))


def loads(check: Kind) -> bool:
    return getattr(check, "effects", "none") == "load"


def turns_exactly_its_own_red(world: Broken, name: str, *, with_load: bool) -> None:
    """The suite of the check names it alone; no check of another suite answers anything but PASS."""
    suite, every = SIXTEEN[name], checks(world)
    others = [key for key, (its, check) in every.items()
              if its != suite and (with_load or not loads(check))]  # fmt: skip
    with BREAKAGES[name](world):
        (result,) = ask_suites(world.site, [suite])
        answers = {key: found["outcome"] for key, found in result.findings.items()}
        wanted = {key: "fail" if key == name else "pass"
                  for key, (its, _check) in every.items() if its == suite}  # fmt: skip
        assert answers == wanted, result.reasons
        assert not result.open
        assert all(f"check {name} answered FAIL" in reason for reason in result.reasons)
        assert red(world, others) == {}
    quick = [key for key, (_suite, check) in every.items() if key == name or not loads(check)]
    assert red(world, quick) == {}, "not healed"


def of_suite(*suites: Suite) -> list[object]:
    """One parameter for each of the sixteen in these suites, marked with its requirement."""
    return [
        pytest.param(name, marks=pytest.mark.requirement(SUITES[suite]))
        for name, suite in SIXTEEN.items() if suite in suites
    ]  # fmt: skip


@pytest.mark.requirement("MB-67", "MB-68", "MB-69", "MB-70")
def test_the_sixteen_are_declared_as_the_checklist_numbers_them(world: Broken) -> None:
    """MB-67.1 to MB-70.4, each once, in the suite that its number names."""
    every = checks(world)
    items = {key: check.item for key, (_suite, check) in every.items() if check.item}  # type: ignore[attr-defined]
    assert items == {
        name: f"{SUITES[suite]}.{number % 4 + 1}"
        for number, (name, suite) in enumerate(SIXTEEN.items())
    }
    assert all(every[name][0] == suite for name, suite in SIXTEEN.items())


# Each in turn in `make drill`; a few of them, of every suite, where time is short.
EVERY = int(os.environ.get("BREAKAGES_EVERY", "3"))


@pytest.mark.parametrize("name", of_suite("smoke", "functional", "integration")[::EVERY])
@pytest.mark.long
def test_a_breakage_turns_exactly_its_own_check_red(world: Broken, name: str) -> None:
    """The quick form: every other check is asked but the two that put load on the studio."""
    turns_exactly_its_own_red(world, name, with_load=False)


@pytest.mark.requirement("MB-68")
def test_work_that_is_dropped_between_two_agents_turns_the_data_flow_red(world: Broken) -> None:
    """The first round still holds the token; every handoff happens; the end is without it."""
    with broken_flow(world):
        found = red(world, ["data-flow", "handoffs", "workflow"])
    assert list(found) == ["data-flow"]
    assert "/result does not contain" in found["data-flow"]
    assert red(world, ["data-flow"]) == {}, "not healed"


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.requirement("MB-71")
def test_all_four_suites_are_open_while_nothing_is_broken(world: Broken) -> None:
    """Otherwise a red check would show nothing."""
    results = ask_suites(world.site)
    assert [(result.suite, result.reasons) for result in results] == [(s, ()) for s in SUITES]


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.parametrize("name", of_suite(*SUITES))
def test_of_all_sixteen_only_its_own_turns_red(world: Broken, name: str) -> None:
    """The complete form: under load and with the memory measured, too."""
    turns_exactly_its_own_red(world, name, with_load=True)


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.requirement("MB-71", "MB-19")
def test_a_rollback_is_not_complete_until_the_suites_are_green(
    world: Broken, tmp_path: Path
) -> None:
    """It mends the configuration, but not the messages: it waits for a person, then completes."""
    site = world.site
    with BREAKAGES["messages-route"](world), BREAKAGES["handoffs"](world):
        plan = make_plan(
            site, "configuration", run=authorize.next_run_id(site),
            requester=site.system.people.members[0].id, component="", reason="a limit too low",
        )  # fmt: skip
        run = authorize.create(site, plan)
        authorize.approve(site, run, person=plan.requester, note="the test confirms")
        stopped = settle(site, roll_back(site, run.id))
        assert stopped.state is State.NEEDS_OPERATOR
        assert "run.mitigated" in stopped.moments
        assert "gate.opened" not in stopped.moments
        assert "check messages-route answered FAIL" in stopped.reason
        assert red(world, ["handoffs"]) == {}, "what the level is for is mended"
    done = settle(site, roll_back(site, retry(site, stopped, by=plan.requester).id))
    assert done.state is State.COMPLETE, done.reason
    assert [suite for suite, told in done.suites.items() if told["open"]] == list(SUITES)
    told = rollback(world.studio.directory, "report", run.id, "allure", PATH=str(tmp_path))
    assert (told.status, told.out.splitlines()) == (0, [
        "no page: Node.js 20 or newer is not installed here",
        f"results: {world.studio.directory}/.rollback/runs/{run.id}/allure-results",
    ])  # fmt: skip
