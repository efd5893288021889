"""Checkpoints are taken when due, said to be missing when they are, and kept while needed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pygit2
import pytest

from rollback import declare
from rollback.act import keeping
from rollback.act.authorize import create
from rollback.act.back import restore_plan
from rollback.act.keeping import held, missed, schedule, take, take_due
from rollback.act.plan import make_plan
from rollback.act.target import Wish, candidates
from rollback.keep.artefact import versions
from rollback.keep.life import Life
from rollback.model.errors import PlanError, Refused, SpecError, UsageError
from tests.requirements.stepping import stepped
from tests.systems import Shop, build

HOUR_S = 3600.0
KINDS = """
checkpoints:
  kinds:
    hours: {title: Work in progress, on: schedule, every: 2h, components: all, retention: 7d}
    quarter: {on: schedule, every: 15m, components: [config], retention: 2d}
    quiet: {on: schedule, every: 15m, components: [pages], retention: 2d, warn_when_missed: false}
    named: {on: manual, retention: keep}
    risky: {on: risky, retention: 30d}
    safety: {on: rollback, retention: 1h}
levels:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with kinds of checkpoints."""
    made = build(tmp_path)
    made.edit("\nlevels:", KINDS)
    return made


def kinds(shop: Shop) -> list[str]:
    with shop.site() as site:
        return [one.kind for one in take_due(site).made]


@pytest.mark.requirement("MB-34")
def test_every_two_hours_one_checkpoint_of_everything(shop: Shop) -> None:
    """At 1:59 none, at 2:00 one, and not a second one."""
    assert sorted(kinds(shop)) == ["hours", "quarter", "quiet"]
    shop.clock.ahead_s = 2 * HOUR_S - 60
    assert "hours" not in kinds(shop)
    shop.clock.ahead_s = 2 * HOUR_S
    assert "hours" in kinds(shop)
    assert "hours" not in kinds(shop)
    with shop.site() as site:
        newest = next(one for one in site.checkpoints.list() if one.kind == "hours")
        assert set(newest.components) == {"config", "pages"}


@pytest.mark.requirement("MB-60")
def test_four_an_hour_each_whole_and_a_missed_one_is_a_warning(shop: Shop) -> None:
    """Whoever asks every minute takes four an hour; when nobody asks, that is said and journalled."""
    for minute in range(60):
        shop.clock.ahead_s = 60.0 * minute
        kinds(shop)
    with shop.site() as site:
        taken = [one for one in site.checkpoints.list() if one.kind == "quarter"]
        assert len(taken) == 4
        assert all(x.answer == "pass" for one in taken for x in site.checkpoints.verify(one.id))
        assert missed(site) == ()
    shop.clock.ahead_s = 2 * HOUR_S
    with shop.site() as site:
        (late,) = missed(site)
        assert late.kind == "quarter"
        assert "declared every 15 min" in late.missed
    kinds(shop)
    with shop.site() as site:
        assert missed(site) == ()
    told = [line for line in shop.lines() if line["kind"] == "checkpoint.missed"]
    assert [line["data"]["name"] for line in told] == ["quarter"]


def test_none_was_ever_taken_is_a_warning_too(shop: Shop) -> None:
    """Counted from the first event of the journal; without any, nothing is known."""
    with shop.site() as site:
        assert all(one.due and not one.missed for one in schedule(site))
        site.tell("people.noted")
    shop.clock.ahead_s = 3 * HOUR_S
    with shop.site() as site:
        assert {one.kind: one.missed for one in missed(site)} == {
            "hours": "none was ever taken; it is declared every 2 h",
            "quarter": "none was ever taken; it is declared every 15 min",
        }


def test_a_clock_that_was_set_back_is_said_and_a_fresh_one_taken(shop: Shop) -> None:
    """A checkpoint from the future is not on time for ever."""
    shop.clock.ahead_s = 50 * HOUR_S
    kinds(shop)
    shop.clock.ahead_s = 0.0
    with shop.site() as site:
        assert all("clock was set back" in one.missed for one in missed(site))
    assert "hours" in kinds(shop)


def test_a_partial_one_does_not_count(shop: Shop) -> None:
    """The next call tries again."""
    kinds(shop)
    shop.clock.ahead_s = HOUR_S
    with shop.site() as site:
        made = site.checkpoints.create(kind="quarter", components=("config",))
        record = shop.folder / f".rollback/store/checkpoints/{made.id}.json"
        body = json.loads(record.read_bytes())
        assert body["kind"] == "quarter"
        record.unlink()
    assert "quarter" in kinds(shop)


def test_an_undeclared_kind_is_refused_with_the_nearest(shop: Shop) -> None:
    """Nothing would say how long it is kept."""
    with shop.site() as site, pytest.raises(UsageError) as caught:
        take(site, "hour")
    assert "hours" in caught.value.hint


@pytest.mark.requirement("MB-36")
def test_pruning_removes_by_retention_and_tells_the_journal(shop: Shop) -> None:
    """What was named stays; the dry run changed nothing and said the same."""
    kinds(shop)
    (shop.tree / "pages/index.html").write_bytes(bytes(range(256)) * 40)
    with shop.site() as site:
        named = take(site, "manual", name="release-1")
    shop.clock.ahead_s = 8 * 24 * HOUR_S
    (shop.tree / "pages/index.html").write_text("<h1>now</h1>")
    kinds(shop)
    with shop.site() as site:
        would = keeping.prune(site, dry_run=True)
        listed = {one.id for one in site.checkpoints.list()}
        done = keeping.prune(site, dry_run=False)
        assert [one.id for one in done.going] == [one.id for one in would.going]
        assert done.freed_bytes == would.collection.frees_bytes
        left = {one.id for one in site.checkpoints.list()}
        assert listed - left == {one.id for one in done.going}
        assert len(done.going) == 3
        assert named.id in left
    gone = [x["data"] for x in shop.lines() if x["kind"] == "checkpoint.deleted"]
    assert {one["checkpoint"] for one in gone} == {one.id for one in done.going}
    assert {one["by"] for one in gone} == {"retention"}


def test_what_an_open_run_needs_is_neither_pruned_nor_deleted(shop: Shop) -> None:
    """Its target and its safety checkpoint, until it has ended."""
    with shop.site() as site:
        target = take(site, "manual")
        (shop.tree / "config/app.yaml").write_text("party: false\nlimit: 3\n")
        run = stepped(site, shop.plan(site, "config", to=f"checkpoint:{target.id}"))
        newer = take(site, "manual", name="newest")
        found = held(site)
        assert run.id in found[target.id]
        assert run.id in found[run.safety]
        assert newer.id not in found or run.id not in found[newer.id]
        with pytest.raises(Refused, match=run.id):
            keeping.delete(site, run.safety, by="ada")
        site.note(site.run(run.id), "run.needs-operator", reason="told to")
        site.note(site.run(run.id), "run.abandoned", reason="told to")
        assert run.safety not in held(site)
        assert keeping.delete(site, run.safety, by="ada") >= 0


def test_a_restore_that_has_not_ended_holds_everything(shop: Shop) -> None:
    """Nobody knows which checkpoint it was of."""
    with shop.site() as site:
        made = take(site, "manual")
        (shop.folder / ".rollback/intents").mkdir(exist_ok=True)
        (shop.folder / ".rollback/intents/by-hand.json").write_text("{}")
        assert "by-hand" in held(site)[made.id]


# -- targets -------------------------------------------------------------------------------


def why(
    shop: Shop, wanted: str = "newest", source: str = "checkpoint", *, alone: bool = False
) -> str:
    with shop.site() as site:
        return candidates(site, source, wanted, Wish(alone=alone))[0].why_not


def test_a_revoked_checkpoint_is_no_target_of_anything(shop: Shop) -> None:
    """Not by a level, not by name, not by hand; the one before it is the last good one."""
    with shop.site() as site:
        first = take(site, "manual", name="first")
        take(site, "manual", name="second")
        keeping.revoke(site, "second", reason="it holds a leaked key", by="ada")
    assert "leaked key" in why(shop)
    with shop.site() as site:
        assert make_plan(site, "config", run="r0001", requester="ada").target.id == first.id
        with pytest.raises(PlanError, match="leaked key"):
            make_plan(site, "config", run="r0001", requester="ada", to="checkpoint:second")
        with pytest.raises(PlanError, match="leaked key"):
            restore_plan(site, "second", (), run="r0001", requester="ada", reason="")
    assert [x["data"]["by"] for x in shop.lines() if x["kind"] == "checkpoint.revoked"] == ["ada"]


def test_a_run_whose_target_is_revoked_meanwhile_does_not_put_it_back(shop: Shop) -> None:
    """The plan was made before; the restore itself refuses."""
    with shop.site() as site:
        take(site, "manual", name="then")
        (shop.tree / "config/app.yaml").write_text("party: false\nlimit: 4\n")
        plan = shop.plan(site, "config", to="checkpoint:then")
        run = create(site, plan)
        keeping.revoke(site, "then", reason="bad", by="ada")
        from rollback.act import authorize
        from rollback.act.engine import roll_back

        authorize.approve(site, run, person="ada")
        ended = roll_back(site, run.id)
        assert ended.state == "UNDONE"
        assert "revoked by ada" in ended.reason
    assert "limit: 4" in (shop.tree / "config/app.yaml").read_text()


def test_nothing_made_before_the_security_floor_is_gone_back_to(tmp_path: Path) -> None:
    """By its time; the floor bears authority, so changing it is a change of policy."""
    floor = f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%d}"
    guards = f"guardrails: {{security_floor: {{not_before: {floor}, reason: key leaked}}}}"
    shop = build(tmp_path, guardrails=guards)
    shop.clock.ahead_s = -60 * 24 * HOUR_S
    with shop.site() as site:
        site.checkpoints.create("old")
        before = site.system.authority_digest
    shop.clock.ahead_s = 0.0
    assert f"nothing before {floor}" in why(shop, "old")
    with shop.site() as site:
        newer = site.checkpoints.create("newer")
        assert make_plan(site, "config", run="r0001", requester="ada").target.id == newer.id
    shop.edit(f"not_before: {floor}", "not_before: 2999-01-01T12:00Z")
    assert shop.system.authority_digest != before
    with shop.site() as site:
        site.checkpoints.create("new")
        assert site.checkpoints.last_good() is not None
        with pytest.raises(PlanError, match="below the security floor"):
            make_plan(site, "config", run="r0001", requester="ada")


@pytest.mark.parametrize(
    "written",
    ["{reason: r}", "{not_before: 2026-02-31, reason: r}", "{not_before: yesterday, reason: r}",
     "{commit: v1}"],
)  # fmt: skip
def test_a_floor_that_says_nothing_is_refused(tmp_path: Path, written: str) -> None:
    """With the line of the file."""
    shop = build(tmp_path, guardrails=f"guardrails: {{security_floor: {written}}}")
    with pytest.raises(SpecError) as caught:
        declare.load(shop.folder / "rollback.yaml")
    assert all(problem.where.startswith("rollback.yaml:") or "rollback.yaml:" in problem.where
               for problem in caught.value.problems)  # fmt: skip


@pytest.fixture
def coded(tmp_path: Path) -> Shop:
    """The shop under version control: two commits, the second tagged `repaired`."""
    shop = build(
        tmp_path, guardrails="guardrails: {security_floor: {commit: repaired, reason: hole}}"
    )
    shop.edit("content: files}\n  pages", "content: git}\n  pages")
    shop.edit("{path: pages, content: files}", "{path: pages, content: git}")
    shop.edit("\nflags:", "\nrepository: {path: ., branch: main}\nflags:")
    repo = pygit2.init_repository(str(shop.tree), initial_head="main")
    commit(repo, "first")
    return shop


def commit(repo: pygit2.Repository, text: str) -> str:
    repo.index.add_all()
    repo.index.write()
    who = pygit2.Signature("ada", "ada@example.com", 1_790_000_000, 0)
    parents = [] if repo.head_is_unborn else [repo.head.target]
    tree = repo.index.write_tree()
    return str(repo.create_commit("refs/heads/main", who, who, text, tree, parents))


def test_nothing_without_the_repair_in_it_is_gone_back_to(coded: Shop) -> None:
    """Checkpoints by the commit they were captured at, commits by themselves."""
    repo = pygit2.Repository(str(coded.tree))
    first = str(repo.head.target)
    with coded.site() as site:
        site.checkpoints.create("before")
    assert "cannot be asked" in why(coded, "before")
    (coded.tree / "pages/index.html").write_text("<h1>repaired</h1>")
    second = commit(repo, "repaired")
    repo.references.create("refs/tags/repaired", second)
    with coded.site() as site:
        site.checkpoints.create("after")
    assert "repaired is not in commit" in why(coded, "before")
    assert why(coded, "after") == ""
    assert "repaired is not in commit" in why(coded, first, "git")
    assert why(coded, second, "git") == ""
    repo.free()


def test_a_mixture_of_two_releases_is_refused_and_one_component_of_it_is_not(coded: Shop) -> None:
    """Captured while somebody committed: one of the components is of another commit."""
    coded.edit("guardrails: {security_floor: {commit: repaired, reason: hole}}", "")
    repo = pygit2.Repository(str(coded.tree))
    from rollback.keep.checkpoint import Checkpoints

    original = Checkpoints._part
    done: list[str] = []

    def between(self: Checkpoints, *given: object) -> object:
        if not done:
            (coded.tree / "extra").write_text("x")
            done.append(commit(repo, "meanwhile"))
        return original(self, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched, coded.site() as site:
        patched.setattr(Checkpoints, "_part", between)
        site.checkpoints.create("mixed")
    assert "mixture of releases" in why(coded, "mixed")
    assert why(coded, "mixed", alone=True) == ""
    with coded.site() as site:
        with pytest.raises(PlanError, match="mixture"):
            restore_plan(site, "mixed", (), run="r0001", requester="ada", reason="")
        alone = restore_plan(site, "mixed", ("pages",), run="r0001", requester="ada", reason="")
        assert "config stays as it is" in str(alone.impact["alone"])
    repo.free()


def test_a_level_that_puts_back_one_component_says_what_stays(shop: Shop) -> None:
    """In the plan, on purpose; a level that puts everything back says nothing."""
    with shop.site() as site:
        take(site, "manual", name="before-release")
        (shop.tree / "pages/index.html").write_text("x")
        one = shop.plan(site, "pages", component="pages", requester="bo")
        whole = shop.plan(site, "full")
        assert one.impact["alone"] == "pages back alone, on purpose: config stays as it is"
        assert whole.impact["alone"] == ""


# -- history -------------------------------------------------------------------------------


def test_every_version_of_one_artefact_with_equal_neighbours_as_one(shop: Shop) -> None:
    """When, in which checkpoints, how large, which digest; that it was gone is a version too."""
    page = shop.tree / "pages/index.html"
    with shop.site() as site:
        for name, text in (("a", "one"), ("b", "one"), ("c", "three"), ("d", None), ("e", "one")):
            page.unlink(missing_ok=True)
            if text is not None:
                page.write_text(text)
            site.checkpoints.create(name)
        site.checkpoints.create("other", components=("config",))
        found = versions(site.checkpoints, site.system, "pages/index.html")
        assert [(one.names, one.what, one.size_bytes) for one in found] == [
            (("a", "b"), "file", 3), (("c",), "file", 5), (("d",), "absent", 0),
            (("e",), "file", 3)]  # fmt: skip
        assert found[0].digest == found[3].digest
        assert {one.component for one in found} == {"pages"}
        folder = versions(site.checkpoints, site.system, "pages/")
        assert [one.what for one in folder] == ["folder"] * len(folder)
        with pytest.raises(PlanError, match="no component"):
            versions(site.checkpoints, site.system, "elsewhere/x")
        Life(site.checkpoints).delete("c")
        assert len(versions(site.checkpoints, site.system, "pages/index.html")) == 3
