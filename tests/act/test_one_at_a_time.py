"""A run that began and did not end keeps others out, and what it is taken back over is kept first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback.act import authorize, engine
from rollback.act.authorize import next_run_id
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.act.target import candidates
from rollback.model.errors import RunLocked
from rollback.model.lifecycle import Run, State
from rollback.prove import seal
from tests.systems import Shop, build

BROKEN = "party: true\nlimit: 99\n"
WORK = "party: true\nlimit: 99\nthought: a day of it\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = build(tmp_path)
    file = tmp_path / "rollback.yaml"
    file.write_text(
        file.read_text().replace("{roles: [lead], count: 2}", "{roles: [op], alone: true}")
    )
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text(BROKEN)
    return made


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    with shop.site() as opened:
        yield opened


def half_way(site: Site, shop: Shop) -> Run:
    """A run whose driver died after its last step that changes something."""
    plan = make_plan(site, "config", run=next_run_id(site), requester="ada")
    run = authorize.create(site, plan)
    if not authorize.standing(site, run, plan).enough:
        authorize.approve(site, run, person="ada")
    run = site.run(run.id)
    touching = [step.index for step in plan.steps if step.touches]
    while not all(i in run.steps and run.steps[i].status == "ended" for i in touching):
        run = engine.advance(site, run)
    return run


def test_another_run_is_refused_until_the_first_has_ended(site: Site, shop: Shop) -> None:
    """Nothing is written by the refused one; it names the run and what to type."""
    run = half_way(site, shop)
    plan = make_plan(site, "config", run=next_run_id(site), requester="ada")
    with pytest.raises(RunLocked, match=run.id) as refused:
        authorize.create(site, plan)
    assert f"rollback resume {run.id}" in refused.value.hint
    assert list(site.runs()) == [run.id]


def test_what_was_worked_on_since_is_a_checkpoint_before_it_is_taken_back(
    site: Site, shop: Shop
) -> None:
    """A forgotten run is aborted; the work done meanwhile can be put back."""
    run = half_way(site, shop)
    page = shop.tree / "config" / "app.yaml"
    page.write_text(WORK)
    ended = abort(site, run, by="ada", reason="forgotten")
    while ended.state is State.UNDOING:
        ended = engine.advance(site, ended)
    assert ended.state is State.UNDONE
    assert page.read_text() == BROKEN
    left = next(one for one in site.checkpoints.list() if one.name == f"left-{run.id}")
    site.checkpoints.restore(left.id, "config", step="by-hand")
    assert page.read_text() == WORK


def test_last_good_is_what_the_suites_proved_not_what_is_newest(site: Site) -> None:
    """An unsealed newer checkpoint gives way to a sealed one; one that was sealed red is none."""
    newest = candidates(site, "checkpoint", "last-good")
    assert [one.label for one in newest] == ["good"]
    _seal(site, site.checkpoints.get("good").id, "pass")
    site.checkpoints.create("later")
    assert candidates(site, "checkpoint", "last-good")[0].label == "good"
    _seal(site, site.checkpoints.get("later").id, "fail")
    assert candidates(site, "checkpoint", "last-good")[0].label == "good"
    _seal(site, site.checkpoints.get("good").id, "fail", at="2026-11-21T00:00:00.000000Z")
    assert not any(one.valid for one in candidates(site, "checkpoint", "last-good"))


def _seal(
    site: Site, checkpoint: str, answer: str, at: str = "2026-11-20T00:00:00.000000Z"
) -> None:
    findings = {"works": seal.Sealed(suite="smoke", answer=answer)}  # type: ignore[arg-type]
    seal.save(site.state.tree, seal.make(findings, belongs_to={"checkpoint": checkpoint}, at=at))
