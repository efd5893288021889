"""Nothing that could destroy something comes before PROTECTED, however it is declared."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from rollback.act import authorize, protecting
from rollback.act.engine import roll_back
from rollback.act.plan import Plan, bind
from rollback.act.scene import Scene, Target
from rollback.act.site import Site
from rollback.act.stopping import retry
from rollback.keep.checkpoint import Checkpoints
from rollback.model.errors import PlanError, SpecError
from rollback.model.lifecycle import Run, State
from rollback.model.registry import kinds
from rollback.model.step import Alters
from tests.killed import DyingAt, in_child
from tests.systems import Shop, build

RESTORE = "steps: [{restore: {component: config}}]"
BAD = "party: true\nlimit: 99\n"
GOOD = "# settings\nparty: true\nlimit: 3\n"
# each changes content, or may; and each was declared to store nothing away
DESTRUCTIVE = {
    "restore": {"component": "config"},
    "edit": {"file": "config/app.yaml", "key": "limit", "value": 1},
    "remove": {"paths": ["config/app.yaml"]},
    "move": {"paths": ["config/app.yaml"], "to": "pages"},
    "quarantine": {"component": "config"},
    "clear": {"component": "config"},
    "requeue": {"from": ["config"], "to": "pages"},
    "command": {"argv": ["/bin/true"], "changes": ["config"]},
    "git": {"tag": "x"},
    "repair": {"component": "config", "by": "checkpoint"},
    "replay": {"component": "config"},
}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    made = build(tmp_path)
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text(BAD)
    return made


def written(kind: str, parameters: dict[str, Any]) -> str:
    """One step as a line of a declaration."""
    return f"steps: [{{{kind}: {parameters}}}]".replace("True", "true")


def go(site: Site, plan: Plan) -> Run:
    """The run of a plan that one person has approved, as far as it goes."""
    run = authorize.create(site, plan)
    authorize.approve(site, run, person="ada")
    return roll_back(site, run.id)


def holds(site: Site, run: Run, text: str) -> bool:
    """Whether the checkpoint that PROTECTED names holds the settings with exactly these bytes."""
    found = {entry.path: entry.sha256 for entry in site.checkpoints.entries(run.safety, "config")}
    return found[b"app.yaml"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("kind", DESTRUCTIVE)
def test_what_may_change_content_is_not_exempt_and_validate_says_where(
    kind: str, shop: Shop
) -> None:
    """With the line, at once for every step that says so, as a step and as an alternative."""
    exempt = {**DESTRUCTIVE[kind], "exempt": True}
    shop.edit(RESTORE, written(kind, exempt))
    then = {"on_fail": {"then": [{kind: exempt}]}}
    shop.edit("steps: [{flag: {flag: party, set: false, within: 3s}}]",
              written("flag", {"flag": "party", "set": False, **then}).replace("False", "false"))  # fmt: skip
    with pytest.raises(SpecError) as caught:
        _ = shop.system
    said = [one for one in caught.value.problems if "exempt" in one.message]
    assert len(said) == 2, [str(one) for one in caught.value.problems]
    lines = (shop.folder / "rollback.yaml").read_text().splitlines()
    for one in said:
        assert kind in lines[int(one.where.rsplit(":", 1)[1]) - 1]
        assert "PROTECTED" in one.message + one.hint


@pytest.mark.parametrize("kind", DESTRUCTIVE)
def test_nor_is_it_when_a_plan_is_made_some_other_way(kind: str, shop: Shop) -> None:
    """A plan that no declaration holds is bound by the same rule."""
    with shop.site() as site:
        scene = Scene(system=site.system, host=site.host, state=site.state, level="config",
                      run="r0001", step="", target=Target(), stamp={})  # fmt: skip
        with pytest.raises(PlanError, match="exempt"):
            bind(scene, "1", kind, {**DESTRUCTIVE[kind], "exempt": True})


def test_a_kind_that_stores_something_away_can_never_be_exempt() -> None:
    """But a program that is declared to have no effect: asked of every kind there is."""
    for name in kinds("action"):
        kind: Any = kinds("action")[name]
        assert kind.alters in get_args(Alters), name
        if kind.alters == "stored":
            assert name in {*DESTRUCTIVE, "guarded", "take-back", "set"}, name


def test_a_program_without_effects_may_be_exempt(shop: Shop) -> None:
    """It comes first, as declared; one with effects is refused although it names no component."""
    shop.edit(RESTORE, "steps: [{command: {argv: [/bin/true], effects: none, exempt: true}}, "
                       "{restore: {component: config}}]")  # fmt: skip
    with shop.site() as site:
        plan = shop.plan(site, "config")
        assert [step.exempt for step in plan.steps] == [True, False]
    shop.edit("effects: none, exempt", "exempt")
    with pytest.raises(SpecError, match="exempt"):
        _ = shop.system


def test_a_plan_of_before_that_rule_is_protected_first_all_the_same(shop: Shop) -> None:
    """What was journalled as exempt and changes content waits for its checkpoint."""
    with shop.site() as site:
        plan = shop.plan(site, "config")
        old = replace(plan, steps=tuple(replace(step, exempt=True) for step in plan.steps))
        run = go(site, old)
        assert "run.mitigated" in run.moments
        assert holds(site, run, BAD)
        assert (shop.tree / "config" / "app.yaml").read_text() == GOOD


def test_what_is_done_instead_of_an_exempt_step_waits_for_the_checkpoint(shop: Shop) -> None:
    """The alternative of a flag that cannot be read back is a restore."""
    shop.edit(
        "      default: true",
        "      default: true\n    reader: {command: {argv: [/bin/echo, 'true']}}",
    )
    shop.edit(RESTORE, "steps: [{flag: {flag: party, set: false, within: 300ms, "
                       "on_fail: {then: [{restore: {component: config}}]}}}]")  # fmt: skip
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        assert "run.mitigated" in run.moments, run.reason
        assert run.steps["1"].status == "failed"
        assert holds(site, run, BAD)


def test_a_checkpoint_of_an_hour_ago_is_not_the_present(shop: Shop) -> None:
    """Killed after the checkpoint and before PROTECTED: what was written since is kept too."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")

    def killed() -> None:
        with shop.site() as mine:
            made = Checkpoints.create

            def create(*words: Any, **more: Any) -> None:
                made(*words, **more)
                DyingAt("stop").change("stop", "here", lambda: None)

            Checkpoints.create = create  # type: ignore[assignment,method-assign]
            roll_back(mine, run.id)

    assert in_child(killed) < 0
    later = "party: true\nlimit: 100\n"
    (shop.tree / "config" / "app.yaml").write_text(later)
    with shop.site() as site:
        assert [one.name for one in site.checkpoints.list()] == ["safety-r0001", "before-release"]
        done = roll_back(site, run.id)
        assert done.state is State.COMPLETE, done.reason
        assert holds(site, done, later)


def test_a_checkpoint_that_is_the_present_is_not_made_twice(shop: Shop) -> None:
    """Killed in the same place, and nobody wrote: the one that is there is the one."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        made = protecting.present(site, run, ("config",))
        done = roll_back(site, run.id)
        assert done.safety == made.id


def test_a_checkpoint_that_somebody_gave_that_name_is_not_taken_for_it(shop: Shop) -> None:
    """It is of another moment, whatever it is called."""
    with shop.site() as site:
        other = site.checkpoints.create("safety-r0001", components=("config",))
        run = go(site, shop.plan(site, "config"))
        assert run.state is State.COMPLETE, run.reason
        assert run.safety != other.id
        assert holds(site, run, BAD)


def test_who_sends_a_run_on_the_next_day_loses_nothing_of_that_day(shop: Shop) -> None:
    """What stands by then is kept before any step is tried again."""
    shop.edit(RESTORE, "steps: [{restore: {component: config}}, {command: {argv: [/bin/false], "
                       "effects: none, on_fail: person}}]")  # fmt: skip
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        assert run.state is State.NEEDS_OPERATOR
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 4\n")
        shop.clock.ahead_s = 86400.0
        roll_back(site, retry(site, run, by="ada").id)
        (left,) = [one for one in site.checkpoints.list() if one.name.startswith("left-r0001")]
        assert site.checkpoints.diff(left.id, "config") == ()
