"""A phase that is done is a checkpoint: by itself in a run, on request outside of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize, guarding
from rollback.act.engine import advance, resting, roll_back
from rollback.act.keeping import take
from rollback.act.phasing import of_runs
from rollback.act.site import Site
from rollback.act.target import candidates, last_good
from rollback.host import Host
from rollback.model.errors import SpecError, UsageError
from rollback.model.lifecycle import State
from tests.cli.program import rollback
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots
from tests.requirements.stepping import stepped
from tests.systems import Shop, build

KINDS = """
checkpoints:
  kinds:
    done: {title: A phase is done, on: phase, retention: keep}
    hours: {on: schedule, every: 2h, retention: 7d, with_plan: true}
    risky: {on: risky, retention: 30d}
procedures:
  work:
    title: Two phases of work
    phases: [{id: planning}, {id: building}, {id: resting}]
    authority: {roles: [op], alone: true}
    steps:
      - command: {id: plan, phase: planning, argv: [/bin/cp, PAGE, pages/plan.html], changes: [pages]}
      - command: {id: build, phase: building, argv: [/bin/cp, PAGE, pages/built.html], changes: [pages]}
      - command: {id: settle, phase: building, argv: [/bin/cp, PAGE, config/page.html], changes: [config]}
levels:""".replace("PAGE", "pages/index.html")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a procedure of two phases that do something."""
    made = build(tmp_path)
    made.edit("\nlevels:", KINDS)
    return made


def held(site: Site, name: str) -> list[str]:
    return [entry.path.decode() for entry in site.checkpoints.entries(name, "pages")]


def test_each_phase_of_a_run_that_is_done_is_a_checkpoint_of_its_own(shop: Shop) -> None:
    """With what the phase has made and not with what came later; a phase without steps is none."""
    with shop.site() as site:
        run = stepped(site, shop.plan(site, "work"))
        made = {one.name: one for one in site.checkpoints.list() if one.kind == "done"}
        assert set(made) == {"planning-r0001", "building-r0001"}
        assert all(one.target for one in made.values())
        assert set(made["planning-r0001"].components) == {"config", "pages"}
        assert held(site, "planning-r0001") == [".", "index.html", "plan.html"]
        assert held(site, "building-r0001") == [".", "built.html", "index.html", "plan.html"]
        assert made["building-r0001"].reason == f"phase building of run {run.id} is done"
        order = [(e.kind, e.data.get("id") or e.data.get("phase")) for e in site.journal.events()
                 if e.kind in ("step.ended", "checkpoint.created", "run.mitigated")]  # fmt: skip
        assert order == [
            ("step.ended", "plan"), ("checkpoint.created", "planning"), ("step.ended", "build"),
            ("step.ended", "settle"), ("checkpoint.created", "building"), ("run.mitigated", None),
        ]  # fmt: skip


def test_what_stands_between_two_steps_is_gone_back_to_only_by_name(shop: Shop) -> None:
    """It is newer than the good one, and no newest, no last good one; asked for it is a target."""
    with shop.site() as site:
        good = site.checkpoints.create("good")
        stepped(site, shop.plan(site, "work"))
        assert len(of_runs(site)) == 2
        found = last_good(site)
        assert found is not None
        assert found.id == good.id
        assert [one.label for one in candidates(site, "checkpoint", "newest")] == ["good"]
        assert shop.plan(site, "config").target.label == "good"
        asked = candidates(site, "phase", "planning")
        assert [(one.label, one.valid) for one in asked] == [("planning-r0001", True)]


def test_a_checkpoint_that_cannot_be_taken_stops_no_run(shop: Shop) -> None:
    """The journal says once why not."""
    (shop.folder / "tree/pages/locked").mkdir()
    shop.edit("components:\n", "components:\n  odd: {path: odd.db, content: sqlite}\n")
    (shop.tree / "odd.db").mkdir()
    with shop.site() as site:
        run = stepped(site, shop.plan(site, "work"))
        notes = [e.data["note"] for e in site.journal.events()
                 if e.kind == "run.noted" and "phase" in e.data]  # fmt: skip
        assert len(notes) == 2
        assert "phase planning is done, and is no checkpoint" in str(notes[0])
        assert run.state is State.MITIGATED


def test_an_emergency_and_what_stores_nothing_wait_for_no_checkpoint(shop: Shop) -> None:
    shop.edit("    emergency: true\n", "    emergency: true\n    phases: [{id: off}]\n")
    shop.edit("{flag: party, set: false", "{phase: off, flag: party, set: false")
    with shop.site() as site:
        stepped(site, shop.plan(site, "flag"))
        assert [one for one in site.checkpoints.list() if one.kind == "done"] == []


@pytest.mark.long
def test_killed_at_any_change_each_phase_has_one_checkpoint(shop: Shop, tmp_path: Path) -> None:
    """The next driver goes on; what was made is made once."""
    import shutil

    def begun() -> str:
        with shop.site() as site:
            run = authorize.create(site, shop.plan(site, "work"))
            authorize.approve(site, run, person="ada")
            run = site.run(run.id)
            while "1" not in run.steps or run.steps["1"].status != "ended":
                run = advance(site, run)
            return run.id

    def phase(run_id: str, tap: CountingTap | DyingTap) -> None:
        with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
            advance(site, site.run(run_id))

    run_id = begun()
    saved = tmp_path / "saved"
    shutil.copytree(shop.folder / ".rollback", saved)
    tree = tmp_path / "saved-tree"
    shutil.copytree(shop.tree, tree)
    counting = CountingTap()
    phase(run_id, counting)
    first = next(i for i, point in enumerate(counting.points) if "events" in point.where)
    for point, how in shots(counting.points[: first + 4]):
        for kept, there in ((saved, shop.folder / ".rollback"), (tree, shop.tree)):
            shutil.rmtree(there)
            shutil.copytree(kept, there)
        (shop.folder / ".rollback").chmod(0o700)
        for other in ("second", "anchor"):
            shutil.rmtree(shop.folder / other, ignore_errors=True)
        died = in_child(lambda at=point, how=how: phase(run_id, DyingTap(at, how)))  # type: ignore[misc]
        assert died == KILLED, (point, how)
        with shop.site() as site:
            run = site.run(run_id)
            while not resting(site, run) and run.state is not State.MITIGATED:
                run = advance(site, run)
            assert run.state in (State.MITIGATED, State.NEEDS_OPERATOR), (point, how, run.reason)
            names = [one.name for one in site.checkpoints.list() if one.kind == "done"]
            assert names.count("planning-r0001") == 1, (point, how)
            told = [e.data.get("phase") for e in site.journal.events()
                    if e.kind == "checkpoint.created"]  # fmt: skip
            assert told.count("planning") == 1, (point, how)


def test_of_work_outside_of_runs_somebody_says_that_its_phase_is_done(shop: Shop) -> None:
    """As often as it comes; the newest of its name is the target of the phase."""
    first = rollback(shop.folder, "--json", "checkpoint", "create", "building", "--kind", "done")
    assert first.status == 0, first
    second = rollback(shop.folder, "--json", "checkpoint", "create", "building", "--kind", "done")
    assert second.status == 0, second
    names = [str(one.json["name"]) for one in (first, second)]
    assert all(name.startswith("building-") for name in names)
    assert len(set(names)) == 2
    with shop.site() as site:
        assert [one.label for one in candidates(site, "phase", "building")] == names[::-1]
        assert site.checkpoints.get(names[0]).reason == "phase building is done"
    refused = rollback(shop.folder, "checkpoint", "create", "bulding", "--kind", "done")
    assert refused.status == 2
    assert "there is no phase 'bulding'" in refused.err
    assert "building" in refused.err
    refused = rollback(shop.folder, "checkpoint", "create", "--kind", "done")
    assert refused.status == 2
    assert "which phase is done?" in refused.err


def test_the_way_back_stands_in_every_checkpoint_of_a_kind_that_wants_it(shop: Shop) -> None:
    """By a name that can be typed; in no other."""
    with shop.site() as site:
        made = take(site, "hours")
        assert made.name.startswith("hours-")
        assert made.reason.startswith("hours; the way back: put back config, pages | ")
        assert f"rollback checkpoint restore {made.name}" in made.reason
        assert f"rollback run full --to checkpoint:{made.name}" in made.reason
        assert "way back" not in take(site, "manual").reason
    typed = rollback(shop.folder, "checkpoint", "restore", made.name, "--dry-run",
                     "--as", "ada")  # fmt: skip
    assert typed.status == 0, typed


@pytest.mark.parametrize(("written", "there"), [("", True), (", with_plan: true", True),
                                                (", with_plan: false", False)])  # fmt: skip
def test_what_is_kept_before_a_risky_command_holds_it_unless_it_is_told_not_to(
    shop: Shop, written: str, there: bool
) -> None:
    shop.edit("{on: risky, retention: 30d}", f"{{on: risky, retention: 30d{written}}}")
    with shop.site() as site:
        from rollback.act.built_in import GUARD
        from rollback.act.plan import make_plan

        plan = make_plan(site, GUARD, run="r0001", requester="ada", command=("true",), folder="/")
        _, _, reason = guarding.kept_as(plan)
        assert ("the way back: put back config, pages" in reason) is there


def test_a_kind_cannot_ask_for_less_than_every_proof(shop: Shop) -> None:
    """`verify` was accepted and meant nothing: what is captured is read back and hashed each time."""
    shop.edit("{on: risky, retention: 30d}", "{on: risky, retention: 30d, verify: false}")
    with pytest.raises(SpecError, match="verify"):
        _ = shop.system


def test_a_wrong_phase_takes_nothing(shop: Shop) -> None:
    with shop.site() as site:
        with pytest.raises(UsageError):
            take(site, "done", name="nothing")
        assert site.checkpoints.list() == ()


def test_a_driven_run_ends_the_same(shop: Shop) -> None:
    """With the lease, as a command drives it."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "work"))
        authorize.approve(site, run, person="ada")
        assert roll_back(site, run.id).state is State.MITIGATED
        assert len(of_runs(site)) == 2
