"""What is told to type next can be typed: no hint names what is refused, or does the opposite."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.engine import advance
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.model.errors import PlanError
from rollback.model.lifecycle import Run, State
from tests.cli.program import Ended, rollback
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with one checkpoint, changed since; ada may do everything alone."""
    made = build(tmp_path / "shop")
    made.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    made.edit("{roles: [lead], count: 2}", "{roles: [op], alone: true}")
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def hinted(done: Ended) -> list[list[str]]:
    """The commands of ours that were named, as words."""
    said = [
        line.split("try: ")[1] for line in (done.out + done.err).splitlines() if "try: " in line
    ]
    found = [re.findall(r"rollback [a-z][^;,]*", line) for line in said]
    return [shlex.split(one)[1:] for line in found for one in line]


def test_a_failed_guard_offers_only_what_it_takes(shop: Shop) -> None:
    """It is never run again by itself, so nobody is told to let it be tried again; status agrees."""
    command = ["guard", "--as", "ada", "--yes", "--", sys.executable, "-c", "raise SystemExit(7)"]
    done = rollback(shop.folder, *command)
    assert done.status == 7
    for said in (done, rollback(shop.folder, "status")):
        assert "tried again" not in said.out
        assert hinted(said) == [
            ["undo", "r0001"], ["abort", "r0001", "--as-it-is"], ["report", "r0001"],
        ]  # fmt: skip
    for words in hinted(done)[::-1][:2]:
        assert (
            rollback(shop.folder, *words, *(["--as", "ada"] if "abort" in words else [])).status
            == 0
        )


def test_a_run_that_takes_back_is_not_offered_to_be_taken_back(shop: Shop) -> None:
    """That would do again what it had taken back; it is resumed, or left as it is."""
    assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
    with shop.site() as site:
        undo = stopped_undo(shop, site)
    done = rollback(shop.folder, "status")
    assert ["undo", undo.id] not in hinted(done), done.out
    assert ["abort", undo.id, "--as-it-is"] in hinted(done)
    assert "rollback undo" not in rollback(shop.folder, "report", undo.id).out


def stopped_undo(shop: Shop, site: Site) -> Run:
    """A run that takes r0001 back, stopped for a person with a step done."""
    from rollback.act.back import undo_plan

    plan = undo_plan(site, site.run("r0001"), run="r0002", requester="ada", reason="")
    run = authorize.create(site, plan)
    authorize.approve(site, run, person="ada")
    run = site.run(run.id)
    while not any(one.status == "ended" for one in run.steps.values()):
        run = advance(site, run)
    return site.note(run, "run.needs-operator", reason="somebody pulled the plug")


def test_a_run_between_its_steps_and_its_gate_is_told_to_ask_the_gate(shop: Shop) -> None:
    """Nothing to stop, nothing to leave as it is, not ended yet: every hint of the chain is taken."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = site.run(run.id)
        while run.state is not State.MITIGATED:
            run = advance(site, run)
        for as_it_is in (False, True):
            with pytest.raises(PlanError) as refused:
                abort(site, run, by="ada", reason="", as_it_is=as_it_is)
            assert "--as-it-is" not in refused.value.hint
            assert "rollback abort" not in refused.value.hint
    for words in (["abort", "r0001", "--as", "ada"], ["undo", "r0001", "--as", "ada", "--yes"]):
        done = rollback(shop.folder, *words)
        assert done.status == 3
        assert hinted(done)[0] == ["resume", "r0001"], done.err
    assert rollback(shop.folder, "resume", "r0001").status == 0
    assert rollback(shop.folder, "undo", "r0001", "--as", "ada", "--yes").status == 0


@pytest.mark.parametrize("how", ["denied", "undone", "back"])
def test_an_ended_run_that_did_nothing_is_not_offered_to_be_undone(shop: Shop, how: str) -> None:
    """Who gives up what has ended is sent to the report, or to what can be taken back."""
    if how == "denied":
        with shop.site() as site:
            run = authorize.create(site, shop.plan(site, "config"))
            site.note(run, "run.abandoned", reason="no")
    else:
        assert rollback(shop.folder, "run", "config", "--as", "ada", "--yes").status == 0
        assert rollback(shop.folder, "undo", "--as", "ada", "--yes").status == 0
    run_id = "r0002" if how == "back" else "r0001"
    done = rollback(shop.folder, "abort", run_id, "--as", "ada")
    assert done.status == 3
    wanted = ["undo", "r0001"] if how == "undone" else ["report", run_id]
    assert hinted(done) == [wanted]


def test_at_a_gate_that_stays_closed_what_is_down_is_started_first(shop: Shop) -> None:
    """Before the level that would lose work; then the gate is asked again, and opens."""
    shop.edit("people:\n", "services:\n  app: {manager: registry, argv: [sleep, '600'], lock: run/app.lock, "
              "components: [config]}\npeople:\n")  # fmt: skip
    shop.edit("  smoke:\n", "  smoke:\n    - process: {id: app-runs, services: [app]}\n")
    done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 9
    for said in (done, rollback(shop.folder, "status")):
        lines = [line.strip() for line in said.out.splitlines()]
        first = lines.index("not running: app")
        assert lines[first + 1] == "try first: rollback run start"
        assert lines[first + 2].startswith("the smallest level that covers what fails: ")
    try:
        started = rollback(shop.folder, "run", "start", "--as", "ada", "--yes")
        assert started.status == 0
        (took,) = [line for line in started.out.splitlines() if "mitigated" in line]
        assert "of" not in took.split(), "a time without a budget is not of anything"
        assert took == took.rstrip()
        assert rollback(shop.folder, "resume", "r0001", "--as", "ada").status == 0
    finally:
        rollback(shop.folder, "run", "stop", "--as", "ada", "--yes")


def test_a_plan_counts_only_what_there_is(shop: Shop) -> None:
    """One file changes; that nothing else comes, goes or gets another mode is not said."""
    said = rollback(shop.folder, "plan", "config").out
    line = next(one for one in said.splitlines() if "1 change" in one)
    assert not re.search(r"\b0 ", line), line


def test_why_a_run_stopped_is_said_once(shop: Shop) -> None:
    """While it runs the state, at its end the reasons: nobody reads a long line twice."""
    (shop.tree / "config" / "app.yaml").write_text("limit: 3\n")
    done = rollback(shop.folder, "run", "flag", "--as", "ada", "--yes")
    assert done.status == 9
    assert done.err.splitlines()[-1].endswith("NEEDS_OPERATOR")
    reason = rollback(shop.folder, "--json", "status").json["runs_open"][0]["reason"]
    assert (done.out + done.err).count(reason) == 1
