"""Putting back: in the declared order, all of it and nothing else."""

from __future__ import annotations

from pathlib import Path

import pygit2
import pytest

from rollback.act.back import restore_plan
from rollback.model.errors import PlanError
from rollback.model.lifecycle import State
from tests.requirements.stepping import stepped
from tests.systems import Shop, build, walk

CLASSES = ("requirements", "research", "agents", "integrations", "results")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop, with five classes of work beside it."""
    made = build(tmp_path)
    for name in CLASSES:
        (made.tree / name).mkdir()
        (made.tree / name / "work.md").write_text(f"{name}, as agreed\n")
    made.edit("  pages: {path: pages, content: files}", "  pages: {path: pages, content: files}\n"
              + "\n".join(f"  {name}: {{path: {name}, content: files}}" for name in CLASSES))  # fmt: skip
    made.edit(
        "authority: {roles: [lead, chief], quorum: all}", "authority: {roles: [op], alone: true}"
    )
    return made


def declare_steps(shop: Shop, *extra: str) -> None:
    """The level `full` restores the five classes in order; `extra` follow the second."""
    steps = [f"      - restore: {{id: {name}, component: {name}}}\n" for name in CLASSES]
    steps[2:2] = extra
    shop.edit(
        "      - restore: {component: pages}\n      - restore: {component: config}\n",
        "".join(steps),
    )


def worsen(shop: Shop) -> None:
    """None of the five is what it was."""
    for name in CLASSES:
        (shop.tree / name / "work.md").write_text("lost\n")


@pytest.mark.requirement("MB-65", "AW-77")
def test_the_classes_come_back_in_their_order_and_every_step_has_its_time(shop: Shop) -> None:
    """Each began after the one before had ended; the times of the journal never go back."""
    declare_steps(shop)
    with shop.site() as site:
        site.checkpoints.create("good")
        before = shop.bytes()
        worsen(shop)
        run = stepped(site, shop.plan(site, "full"))
        assert shop.bytes() == before
        mine = [event for event in site.journal.events() if event.run == run.id]
        steps = [event for event in mine if event.kind in ("step.began", "step.ended")]
        assert [(event.kind, event.data["id"]) for event in steps] == [
            (kind, name) for name in CLASSES for kind in ("step.began", "step.ended")
        ]
        times = [event.at for event in mine]
        assert times == sorted(times)
        assert all(at.endswith("Z") for at in times)


@pytest.mark.requirement("MB-65")
def test_stopped_after_the_second_class_the_first_two_are_whole(shop: Shop) -> None:
    """What comes first can be used, while a person looks at what is in the way of the third."""
    declare_steps(
        shop, "      - command: {id: stops, argv: [/bin/false], effects: none, on_fail: person}\n"
    )
    with shop.site() as site:
        site.checkpoints.create("good")
        good = shop.bytes()
        worsen(shop)
        bad = shop.bytes()
        stepped(site, shop.plan(site, "full"), to=State.NEEDS_OPERATOR)
        now = shop.bytes()
        for name in CLASSES:
            wanted = good if name in CLASSES[:2] else bad
            assert now[f"{name}/work.md"] == wanted[f"{name}/work.md"]


@pytest.mark.requirement("AW-37")
def test_nothing_of_the_bad_version_is_left_and_the_history_is_untouched(shop: Shop) -> None:
    """Whole folders of the newer version go; not one byte of the repository changes."""
    repo = pygit2.init_repository(str(shop.tree), initial_head="main")
    repo.index.add_all()
    repo.index.write()
    who = pygit2.Signature("op", "op@localhost", 1_700_000_000, 0)
    repo.create_commit("refs/heads/main", who, who, "v2.0.0", repo.index.write_tree(), [])
    repo.free()
    declare_steps(shop)
    with shop.site() as site:
        site.checkpoints.create("v1.0.0")
        before = shop.bytes()
        history = walk(shop.tree / ".git")
        worsen(shop)
        (shop.tree / "agents" / "v2-only").mkdir()
        (shop.tree / "agents" / "v2-only" / "dev.md").write_text("of version 2\n")
        (shop.tree / "research" / "step-12.md").write_text("of version 2\n")
        stepped(site, shop.plan(site, "full"))
    assert shop.bytes() == before
    assert walk(shop.tree / ".git") == history


@pytest.mark.requirement("MB-38")
def test_a_checkpoint_that_is_not_there_is_an_error_and_changes_nothing(shop: Shop) -> None:
    """Not even the nearest one is taken instead."""
    with shop.site() as site:
        site.checkpoints.create("good")
        worsen(shop)
        before = walk(shop.folder)
        with pytest.raises(PlanError, match="no checkpoint"):
            restore_plan(site, "goood", (), run="r0001", requester="ada", reason="")
        assert walk(shop.folder) == before
