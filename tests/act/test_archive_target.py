"""An archive made by somebody else as a target: chosen, refused with a reason, put back, taken back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rollback.act.plan import make_plan
from rollback.act.target import candidates
from rollback.keep.entry import path_json
from rollback.model.errors import PlanError
from rollback.model.lifecycle import State
from tests.requirements.stepping import stepped
from tests.systems import Shop, build

PLACES = """places:
  backups: {path: FOLDER/backups, may: [read]}
  closed: {path: FOLDER/closed, may: [archive]}
levels:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a folder of backups outside its root, and a level that prefers those."""
    made = build(tmp_path)
    file = made.folder / "rollback.yaml"
    text = file.read_text().replace("\nlevels:", "\n" + PLACES.replace("FOLDER", str(tmp_path)), 1)
    text = text.replace(
        "target: {sources: [{checkpoint: last-good}]}",
        'target: {sources: [{archive: "good-*.tar.gz"}, {checkpoint: last-good}]}', 1,
    )  # fmt: skip
    file.write_text(text)
    for name in ("backups", "closed"):
        (tmp_path / name).mkdir()
    return made


def packed(shop: Shop, name: str, *, at_s: int = 1_000_000_000, place: str = "backups") -> Path:
    """The tree as `tar` packs it, of that time."""
    path = shop.folder / place / name
    subprocess.run(["tar", "czf", str(path), "-C", str(shop.tree), "config", "pages"], check=True)
    os.utime(path, (at_s, at_s))
    return path


def spoil(shop: Shop) -> None:
    (shop.tree / "config/app.yaml").write_text("party: broken\n")
    (shop.tree / "config/added.yaml").write_text("by: the bad change\n")


@pytest.mark.requirement("AW-32")
def test_the_newest_whole_archive_is_put_back_after_a_safety_checkpoint(shop: Shop) -> None:
    """Whatever its name; nothing of the bad version is left; undo brings that back."""
    good = (shop.tree / "config/app.yaml").read_bytes()
    packed(shop, "good-9.tar.gz", at_s=1_000_000_000)
    packed(shop, "good-1.tar.gz", at_s=1_500_000_000)
    spoil(shop)
    with shop.site() as site:
        plan = make_plan(site, "config", run="r1", requester="ada")
        assert (plan.target.source, plan.target.label) == ("archive", "good-1.tar.gz")
        assert [(one.label, one.valid) for one in plan.candidates] == [
            ("good-1.tar.gz", True), ("good-9.tar.gz", False)]  # fmt: skip
        assert plan.candidates[0].at.startswith("2017-07-14")
        run = stepped(site, shop.plan(site, "config"))
        assert run.state is State.MITIGATED
        assert (shop.tree / "config/app.yaml").read_bytes() == good
        assert not (shop.tree / "config/added.yaml").exists()
        (safety,) = [one for one in site.checkpoints.list() if one.kind == "safety"]
        held = {path_json(e.path) for e in site.checkpoints.entries(safety.id, "config")}
        assert "added.yaml" in held
        step = plan.steps[0]
        assert step.bound["source"] == "archive"
        assert make_plan(site, "config", run="r2", requester="ada").idle
    assert list((shop.folder / ".rollback/scratch").iterdir()) == []


@pytest.mark.requirement("AW-33")
def test_why_an_archive_is_no_candidate_stands_in_the_plan(shop: Shop) -> None:
    """Cut short, hostile, without the component: each is passed over for the next whole one."""
    packed(shop, "good-old.tar.gz", at_s=1)
    cut = packed(shop, "good-cut.tar.gz", at_s=5)
    cut.write_bytes(cut.read_bytes()[:-30])
    os.utime(cut, (5, 5))
    lacks = shop.folder / "backups/good-lacks.tar.gz"
    subprocess.run(["tar", "czf", str(lacks), "-C", str(shop.tree), "pages"], check=True)
    os.utime(lacks, (6, 6))
    hostile = shop.folder / "backups/good-hostile.tar.gz"
    subprocess.run(["tar", "czPf", str(hostile), str(shop.tree / "config")], check=True)
    os.utime(hostile, (7, 7))
    packed(shop, "other.tar.gz", at_s=8)
    with shop.site() as site:
        plan = make_plan(site, "config", run="r1", requester="ada")
        why = {one.label: one.why_not for one in plan.candidates}
    assert plan.target.label == "good-old.tar.gz"
    assert "middle" in why["good-cut.tar.gz"]
    assert "not in it" in why["good-lacks.tar.gz"]
    assert "absolute" in why["good-hostile.tar.gz"]
    assert "other.tar.gz" not in why


def test_without_any_whole_archive_the_next_source_is_taken(shop: Shop) -> None:
    """Nor is a place that is not there, or is a link, more than a reason."""
    packed(shop, "good-1.tar.gz").write_bytes(b"no archive")
    with shop.site() as site:
        made = site.checkpoints.create("kept")
        assert make_plan(site, "config", run="r1", requester="ada").target.id == made.id
        (shop.folder / "backups").rename(shop.folder / "moved")
        assert make_plan(site, "config", run="r1", requester="ada").target.id == made.id
        (shop.folder / "backups").symlink_to(shop.folder / "moved")
        plan = make_plan(site, "config", run="r1", requester="ada")
        assert plan.target.id == made.id
        assert "link" in plan.candidates[0].why_not


def test_a_person_names_one_by_its_path_in_a_declared_place(shop: Shop) -> None:
    """PLACE/NAME or absolute; everything outside of the places stays closed."""
    path = packed(shop, "mine.tar.gz")
    packed(shop, "closed.tar.gz", place="closed")
    (shop.folder / "elsewhere.tar.gz").write_bytes(path.read_bytes())
    with shop.site() as site:
        for to in ("archive:backups/mine.tar.gz", f"archive:{path}", "archive:mine.tar.gz"):
            plan = make_plan(site, "config", run="r1", requester="ada", to=to)
            assert plan.target.id.endswith(f":{path}")
        for to, why in ((f"archive:{shop.folder}/elsewhere.tar.gz", "no declared place"),
                        ("archive:closed/closed.tar.gz", "may not be used to read"),
                        ("archive:backups/../elsewhere.tar.gz", ""),
                        ("archive:backups/none.tar.gz", "no valid target"),
                        ("archive:", "")):  # fmt: skip
            with pytest.raises(PlanError, match=why or "target"):
                make_plan(site, "config", run="r1", requester="ada", to=to)
        assert not candidates(site, "archive", "backups/none.tar.gz")


def test_another_archive_under_the_name_that_was_planned_with_stops_the_run(shop: Shop) -> None:
    """Before the first change: what was approved is what is done."""
    packed(shop, "good-1.tar.gz")
    spoil(shop)
    before = (shop.tree / "config/app.yaml").read_bytes()
    with shop.site() as site:
        plan = shop.plan(site, "config")
        packed(shop, "good-1.tar.gz")
        run = stepped(site, plan, to=State.UNDONE)
    assert "another one" in str(run.reason)
    assert (shop.tree / "config/app.yaml").read_bytes() == before
