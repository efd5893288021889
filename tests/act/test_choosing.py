"""Which target: by message, among several, down the chain of sources, and what else there would be."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback.act.plan import Plan, read_plan
from rollback.act.site import Site
from rollback.act.target import candidates, choose, sized
from rollback.model.errors import PlanError, SeveralFit, UsageError
from rollback.prove import seal
from tests.cli.program import rollback
from tests.keep.git_lab import Lab
from tests.systems import Shop, build

CODE = """
  code:
    rank: 6
    title: Code back
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: none
    authority: {roles: [op], alone: true}
    target: {sources: [{git: "v1.*"}, {checkpoint: last-good}]}
    steps: [{restore: {component: pages}}]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop in a repository of four commits and two tags, with two checkpoints beside it."""
    made = build(tmp_path)
    file = tmp_path / "rollback.yaml"
    text = file.read_text().replace("\ncomponents:", "\nrepository: {path: .}\ncomponents:", 1)
    file.write_text(text.rstrip() + CODE)
    with made.site() as site:
        site.checkpoints.create("first")
        site.checkpoints.create("before-release")
    lab = Lab(made.tree)
    lab.commit("base")
    lab.git("tag", "v1.0.0")
    lab.commit("Phase 5: quiet", {"pages/index.html": "<h1>five</h1>\n"})
    lab.git("tag", "v1.1.0")
    lab.commit("Phase 6: party", {"pages/index.html": "<h1>six</h1>\n", "pages/b": "b" * 100})
    lab.commit("release 7", {"pages/index.html": "<h1>broken</h1>\n", "pages/c": "c" * 1000})
    return made


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    """The shop, opened."""
    with shop.site() as opened:
        yield opened


def commits(shop: Shop) -> dict[str, str]:
    """Ids by subject, as the git program tells them."""
    done = subprocess.run(["git", "log", "--format=%H %s"], cwd=shop.tree, text=True,
                          capture_output=True, check=True)  # fmt: skip
    return {
        subject: oid for oid, _, subject in (x.partition(" ") for x in done.stdout.splitlines())
    }


def plan(shop: Shop, site: Site, **more: str) -> Plan:
    return shop.plan(site, "code", **more)


# -- by message ----------------------------------------------------------------------------


@pytest.mark.requirement("PM-43")
@pytest.mark.parametrize("to", ["git:Phase 6", "git:/Phase 6", "git:/^Phase 6: p", "git:/party$"])
def test_a_commit_is_found_by_what_its_message_says(to: str, shop: Shop, site: Site) -> None:
    """What can be no name is a pattern over messages; a slash before it says so in any case."""
    target = plan(shop, site, to=to).target
    assert (target.source, target.id) == ("git", commits(shop)["Phase 6: party"])
    assert target.label == f"{target.id[:12]} Phase 6: party"


@pytest.mark.requirement("PM-43")
def test_a_message_that_several_commits_have_is_a_question(shop: Shop, site: Site) -> None:
    """Each with date, size and what names it alone; nothing is taken."""
    with pytest.raises(SeveralFit, match=r"fits 2: .*Phase 6: party.*Phase 5: quiet") as caught:
        plan(shop, site, to="git:/^Phase")
    ids = commits(shop)
    assert [one.to for one in caught.value.choices] == [
        f"git:{ids['Phase 6: party']}", f"git:{ids['Phase 5: quiet']}"]  # fmt: skip
    assert all(one.valid and one.at and one.size_bytes for one in caught.value.choices)
    for one in caught.value.choices:
        assert plan(shop, site, to=one.to).target.id == one.to.removeprefix("git:")


def test_a_misspelt_tag_is_never_taken_for_a_message(shop: Shop, site: Site) -> None:
    """`release` could be a tag; a commit says it, and that is an offer, not a target."""
    with pytest.raises(PlanError, match="git:release is no valid target") as caught:
        plan(shop, site, to="git:release")
    assert "git:/release" in caught.value.hint
    assert "1 commit " in caught.value.hint
    shop.edit('{git: "v1.*"}', '{git: "rel*"}')
    with shop.site() as fresh:
        assert plan(shop, fresh).target.source == "checkpoint"


def test_a_declared_source_may_be_a_message(shop: Shop, site: Site) -> None:
    """The newest that says it."""
    shop.edit('{git: "v1.*"}', '{git: "/^Phase"}')
    with shop.site() as fresh:
        found = plan(shop, fresh)
    assert found.target.id == commits(shop)["Phase 6: party"]
    assert [one.label[13:] for one in found.candidates[:2]] == ["Phase 6: party", "Phase 5: quiet"]


@pytest.mark.parametrize(
    ("to", "error"), [("git:/(", UsageError), ("git:/", PlanError), ("git:", PlanError),
                      ("git:/nobody said this", PlanError), ("git:\udcff", PlanError)],
)  # fmt: skip
def test_no_pattern_is_no_target(to: str, error: type[Exception], shop: Shop, site: Site) -> None:
    """An empty one does not fit everything."""
    with pytest.raises(error):
        plan(shop, site, to=to)


def test_two_names_of_one_commit_are_one_target(shop: Shop, site: Site) -> None:
    """Nobody is asked which."""
    subprocess.run(["git", "tag", "v1.1.0-final", "v1.1.0"], cwd=shop.tree, check=True)
    assert plan(shop, site, to="git:v1.1*").target.id == commits(shop)["Phase 5: quiet"]


# -- sizes ---------------------------------------------------------------------------------


def test_the_size_of_a_commit_is_what_differs_from_the_head(shop: Shop, site: Site) -> None:
    """In bytes of the files that differ; the head itself differs in none. The plan shows it."""
    found = sized(site, candidates(site, "git", "v1.*"))
    gone = 100 + 1000  # what the head has and they do not
    assert {one.label: one.size_bytes for one in found} == {
        "refs/tags/v1.1.0": len("<h1>five</h1>\n") + gone,
        "refs/tags/v1.0.0": len("<h1>shop</h1>\n") + gone}  # fmt: skip
    assert sized(site, candidates(site, "git", "HEAD"))[0].size_bytes == 0
    assert "1.1 KiB" in rollback(shop.folder, "plan", "code").out


# -- down the chain ------------------------------------------------------------------------


def test_every_declared_source_is_looked_at_and_the_first_valid_one_is_taken(
    shop: Shop, site: Site
) -> None:
    """What else there would be stands in the plan that is approved, and in its digest."""
    made = plan(shop, site)
    assert made.target.label == "refs/tags/v1.1.0"
    assert [(one.source, one.label) for one in made.candidates] == [
        ("git", "refs/tags/v1.1.0"), ("git", "refs/tags/v1.0.0"),
        ("checkpoint", "before-release"), ("checkpoint", "first"),
    ]  # fmt: skip
    assert [one.label for one in made.fallbacks] == ["refs/tags/v1.0.0", "before-release", "first"]
    body = json.loads(json.dumps(made.as_json()))
    assert read_plan(body) == made
    assert [plan(shop, site, to=one.to).target.id for one in made.fallbacks] == [
        one.id for one in made.fallbacks]  # fmt: skip
    assert read_plan({**body, "fallbacks": body["fallbacks"][1:]}).digest() != made.digest()


def test_a_plan_that_was_journalled_without_them_is_still_read(shop: Shop, site: Site) -> None:
    """A run that waits was planned before this was kept."""
    body = plan(shop, site).as_json()
    del body["fallbacks"]
    assert read_plan(body).fallbacks == ()


@pytest.mark.parametrize(
    ("written", "said"),
    [("{checkpoint: no-such-one}", "no-such-one"), ("{archive: nowhere/x.tar}", "nowhere"),
     ('{git: "/("}', "not a pattern")],
)  # fmt: skip
def test_a_source_that_cannot_be_asked_is_passed_over(
    written: str, said: str, shop: Shop, site: Site
) -> None:
    """Why stands in the plan; before, it ended the plan though the next source was fine."""
    shop.edit('{git: "v1.*"}', written)
    with shop.site() as fresh:
        made = plan(shop, fresh)
    assert made.target.label == "before-release"
    first = made.candidates[0]
    assert not first.valid
    assert said in f"{first.label} {first.why_not}"


def test_without_a_repository_the_next_source_is_taken(shop: Shop, site: Site) -> None:
    """And the other way round: what comes after the first valid one cannot spoil it."""
    shop.edit("repository: {path: .}\n", "")
    with shop.site() as fresh:
        assert plan(shop, fresh).target.label == "before-release"
    shop.edit('{git: "v1.*"}, {checkpoint: last-good}', '{checkpoint: last-good}, {git: "v1.*"}')
    with shop.site() as fresh:
        made = plan(shop, fresh)
    assert (made.target.label, made.candidates[-1].valid) == ("before-release", False)
    assert "no repository" in made.candidates[-1].why_not


def test_a_checkpoint_that_lacks_a_component_is_passed_over(shop: Shop, site: Site) -> None:
    """Newer, whole and of no use here: by the chain not taken, by its name refused with the reason."""
    site.checkpoints.create("settings-only", components=("config",))
    made = shop.plan(site, "full")
    assert made.target.label == "before-release"
    why = {one.label: one.why_not for one in made.candidates}
    assert why["settings-only"] == "it does not hold pages"
    assert shop.plan(site, "config").target.label == "settings-only"
    with pytest.raises(PlanError, match="settings-only: it does not hold pages"):
        shop.plan(site, "full", to="checkpoint:settings-only")


def test_last_good_lists_what_else_there_would_be_and_why_not(shop: Shop, site: Site) -> None:
    """Proved ones before those that nobody proved; one proved bad is none."""

    def sealed(name: str, answer: str) -> None:
        made = seal.make(
            {"app-valid": seal.Sealed(suite="smoke", answer=answer)},  # type: ignore[arg-type]
            belongs_to={"checkpoint": site.checkpoints.get(name).id}, at="2026-11-20T00:00:00Z",
        )  # fmt: skip
        seal.save(site.state.tree, made)

    for name, answer in (("third", "fail"), ("fourth", "pass"), ("fifth", "")):
        site.checkpoints.create(name)
        if answer:
            sealed(name, answer)
    sealed("first", "pass")
    _, found = choose(site, site.system.levels["config"], "")
    assert [(one.label, one.valid) for one in found] == [
        ("fourth", True), ("first", True), ("fifth", True), ("third", False),
        ("before-release", True)]  # fmt: skip
    assert next(one.why_not for one in found if one.label == "third") == "its suites were red"
