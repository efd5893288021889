"""What is kept can be had again: every version by its id, the newest that is whole, and never more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from rollback import declare
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.model.lifecycle import State
from tests.act.conftest import World
from tests.act.conftest import build as build_world
from tests.requirements.stepping import stepped
from tests.systems import Shop, build, walk

LEVEL = """
  back:
    rank: 3
    title: Back
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    target: {sources: [{checkpoint: newest}, {git: "v1*"}]}
    steps: [{restore: {component: app}}]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop."""
    return build(tmp_path)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The small system with a tag and a level that takes the newest backup, else the tag."""
    made = build_world(tmp_path)
    made.system.declaration.write_text(made.system.declaration.read_text().rstrip() + LEVEL)
    repo = pygit2.Repository(str(made.root))
    repo.references.create("refs/tags/v1.0.0", repo.head.target)
    repo.free()
    made.system = declare.load(made.system.declaration)
    yield made
    made.state.close()


@pytest.mark.requirement("MB-63")
def test_every_version_of_every_component_is_had_again_by_its_id(shop: Shop) -> None:
    """Whichever came last; what is there now makes no difference."""
    kept: dict[str, dict[str, str]] = {}
    with shop.site() as site:
        for number in range(3):
            (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {number}\n")
            (shop.tree / "pages" / f"page-{number}.html").write_text(f"<p>{number}</p>\n")
            kept[site.checkpoints.create(f"version-{number}").id] = shop.bytes()
        for version in (1, 2, 0):
            found = list(kept)[version]
            assert set(site.checkpoints.get(found).components) == {"config", "pages"}
            for component in ("config", "pages"):
                site.checkpoints.restore(found, component, step=f"back-{version}-{component}")
            assert shop.bytes() == kept[found]


@pytest.mark.requirement("AW-32")
def test_the_newest_backup_is_taken_whatever_its_name_and_its_date_is_told(world: World) -> None:
    """Three whose names run against their times."""
    with Site.open(world.system, world.host) as site:
        made = {
            name: site.checkpoints.create(name) for name in ("backup-3", "backup-2", "backup-1")
        }
        plan = make_plan(site, "back", run="r0001", requester="someone")
    newest = made["backup-1"]
    assert (plan.target.id, plan.target.at) == (newest.id, newest.at)
    seen = [(one.label, one.at) for one in plan.candidates if one.source == "checkpoint"]
    assert seen[0] == ("backup-1", newest.at)
    assert newest.size_bytes > 0


@pytest.mark.requirement("AW-33")
def test_a_damaged_backup_is_passed_over_for_the_next_whole_one_and_then_for_the_tag(
    world: World,
) -> None:
    """Cut short on the disk; why it was passed over stands in the plan."""
    with Site.open(world.system, world.host) as site:
        old = site.checkpoints.create("backup-old")
        packs = set((world.state.path / "store").rglob("*.pack"))
        (world.root / "app" / "new.py").write_text("print('newer')\n")
        site.checkpoints.create("backup-new")
    for pack in set((world.state.path / "store").rglob("*.pack")) - packs:
        pack.write_bytes(pack.read_bytes()[:-20])
    with Site.open(world.system, world.host) as site:
        plan = make_plan(site, "back", run="r0001", requester="someone")
    assert plan.target.id == old.id
    why = {one.label: one.why_not for one in plan.candidates if not one.valid}
    assert why["backup-new"]
    for pack in packs:
        pack.write_bytes(pack.read_bytes()[:-20])
    with Site.open(world.system, world.host) as site:
        plan = make_plan(site, "back", run="r0001", requester="someone")
    assert (plan.target.source, plan.target.label) == ("git", "refs/tags/v1.0.0")


@pytest.mark.requirement("AW-74")
def test_the_data_of_users_is_the_same_before_and_after_everything_went_back(shop: Shop) -> None:
    """By hash: no step of the level names it."""
    projects = shop.tree / "projects"
    projects.mkdir()
    (projects / "one.txt").write_text("work of a user\n")
    shop.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    shop.edit(
        "  pages: {path: pages",
        "  projects: {path: projects, volatile: true}\n  pages: {path: pages",
    )
    with shop.site() as site:
        site.checkpoints.create("good")
        (projects / "one.txt").write_text("more work of a user\n")
        (projects / "two.txt").write_text("new work\n")
        (shop.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
        before = walk(projects)
        run = stepped(site, shop.plan(site, "full"))
    assert run.state is State.MITIGATED
    assert (shop.tree / "pages" / "index.html").read_text() == "<h1>shop</h1>\n"
    assert walk(projects) == before
