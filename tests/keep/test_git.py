"""Reverts, resets and restored paths: what survives, what is refused, what a crash leaves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rollback.host import Tap
from rollback.model.errors import PlanError, Refused, UsageError
from rollback.model.finding import Answer
from tests.keep.git_lab import Lab
from tests.killed import KILL_SOME, KILLED, CountingTap, DyingTap, in_child, shots


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """base and v1.0; two phases with an unrelated commit between them."""
    lab = Lab(tmp_path / "repo")
    lab.commit(
        "base", {"app/main.py": "one\ntwo\nthree\n", "notes.md": "keep\n", "conf.yaml": "a: 1\n"}
    )
    lab.git("tag", "v1.0.0")
    lab.commit("phase 1", {"app/main.py": "one\ntwo\nthree\nparty\n", "lib/party/core.py": "x\n"})
    lab.commit("unrelated", {"other.py": "other\n"})
    lab.commit("phase 2", {"lib/party/more.py": "y\n", "conf.yaml": "a: 2\n"})
    return lab


def same_tree(lab: Lab, one: str, other: str) -> bool:
    return lab.git("rev-parse", f"{one}^{{tree}}") == lab.git("rev-parse", f"{other}^{{tree}}")


@pytest.mark.requirement("PM-45", "AW-76")
def test_a_revert_takes_the_phases_back_and_keeps_the_unrelated_commit(lab: Lab) -> None:
    with lab.open() as repo:
        plan = repo.plan_revert(matching="^phase")
        assert [c.subject for c in plan.reverted] == ["phase 2", "phase 1"]
        fact = repo.apply(plan, run="r1", step="revert")
        assert repo.probe(plan, run="r1", step="revert").answer is Answer.PASS
    assert fact["changed"]
    assert lab.read("other.py") == "other\n"
    assert lab.read("app/main.py") == "one\ntwo\nthree\n"
    assert not (lab.path / "lib").exists()
    assert lab.git("status", "--porcelain") == ""
    assert lab.git("log", "-2", "--format=%s") == 'Revert "phase 1"\nRevert "phase 2"'
    assert lab.git("fsck", "--strict") == ""
    assert lab.git("symbolic-ref", "HEAD") == "refs/heads/work"


def test_a_revert_by_commit_ids_goes_newest_first_whatever_the_order_given(lab: Lab) -> None:
    first, second = lab.git("rev-parse", "HEAD~2"), lab.git("rev-parse", "HEAD")
    with lab.open() as repo:
        plan = repo.plan_revert([first[:10], second], single=True)
        assert [c.id for c in plan.reverted] == [second, first]
        repo.apply(plan, run="r", step="s")
    assert lab.git("rev-list", "--count", "HEAD") == "5"
    assert lab.git("diff", "--name-only", "v1.0.0", "HEAD") == "other.py"


def test_the_same_revert_again_has_nothing_left_to_do(lab: Lab) -> None:
    with lab.open() as repo:
        plan = repo.plan_revert(matching="^phase")
        repo.apply(plan, run="r1", step="s")
        before = lab.everything()
        assert repo.apply(plan, run="r1", step="s")["changed"] is False
        again = repo.plan_revert(matching="^phase")
        assert again.empty
        assert len(again.skipped) == 2
        assert repo.apply(again, run="r2", step="s")["changed"] is False
    assert lab.everything() == before


@pytest.mark.requirement("PM-45")
def test_a_conflict_names_the_files_and_leaves_everything_as_it_was(lab: Lab) -> None:
    lab.commit("later", {"conf.yaml": "a: 3\n"})
    before = lab.everything()
    with lab.open() as repo, pytest.raises(Refused, match=r"conf\.yaml") as caught:
        repo.plan_revert(matching="^phase 2")
    assert caught.value.guardrail == "git-conflict"
    assert lab.everything() == before


def test_planning_writes_nothing_at_all(lab: Lab) -> None:
    before = lab.everything()
    tap = CountingTap()
    with lab.open(tap) as repo:
        repo.plan_revert(matching="^phase")
        repo.plan_reset("v1.0.0")
        repo.plan_paths("v1.0.0", ["conf.yaml"])
        repo.dirty(), repo.resolve("v1.*"), repo.log("conf.yaml"), repo.prove(repo.head()[1])
    assert tap.points == []
    assert lab.everything() == before


@pytest.mark.requirement("PM-46", "AW-76")
def test_a_reset_lists_what_it_loses_and_keeps_it_reachable(lab: Lab) -> None:
    old = lab.git("rev-parse", "HEAD")
    with lab.open() as repo:
        plan = repo.plan_reset("v1.0.0")
        assert [c.subject for c in plan.lost] == ["phase 2", "unrelated", "phase 1"]
        repo.apply(plan, run="r7", step="reset")
    assert same_tree(lab, "HEAD", "v1.0.0")
    assert lab.git("status", "--porcelain") == ""
    assert lab.git("rev-parse", "refs/rollback/saved/r7/reset") == old
    lab.git("reflog", "expire", "--expire=now", "--all")
    lab.git("gc", "-q", "--prune=now")
    assert lab.git("show", f"{old}:other.py") == "other"


@pytest.mark.requirement("PM-35")
def test_restoring_paths_moves_neither_head_nor_index_nor_any_other_path(lab: Lab) -> None:
    head, index = lab.git("rev-parse", "HEAD"), lab.git("ls-files", "-s")
    with lab.open() as repo:
        plan = repo.plan_paths("v1.0.0", ["conf.yaml"])
        repo.apply(plan, run="r", step="s")
        assert repo.probe(plan, run="r", step="s").answer is Answer.PASS
    assert lab.git("diff", "v1.0.0", "--", "conf.yaml") == ""
    assert lab.git("rev-parse", "HEAD") == head
    assert lab.git("ls-files", "-s") == index
    assert lab.git("diff", "--name-only") == "conf.yaml"


def test_restoring_a_folder_removes_what_was_added_and_keeps_the_untracked(lab: Lab) -> None:
    lab.write("lib/mine.txt", "mine")
    with lab.open() as repo:
        repo.apply(repo.plan_paths(lab.id("HEAD~2"), ["lib"]), run="r", step="s")
    assert sorted(p.name for p in (lab.path / "lib").rglob("*")) == ["core.py", "mine.txt", "party"]


@pytest.mark.parametrize("single", [False, True])
def test_a_plan_made_again_from_its_record_is_the_same_plan(lab: Lab, single: bool) -> None:
    with lab.open() as repo:
        plan = repo.plan_revert(matching="^phase", single=single)
        data = plan.data()
        paths = repo.plan_paths("v1.0.0", ["conf.yaml"])
    with lab.open() as repo:
        assert repo.planned(data) == plan
        assert repo.planned(paths.data()) == paths


def test_a_plan_whose_head_has_moved_is_refused(lab: Lab) -> None:
    with lab.open() as repo:
        plan = repo.plan_reset("v1.0.0")
        lab.commit("meanwhile", {"late.txt": "late"})
        before = lab.everything()
        with pytest.raises(PlanError, match="moved"):
            repo.apply(plan, run="r", step="s")
    assert lab.everything() == before


def test_local_changes_in_the_way_are_refused_by_name_and_nothing_is_touched(lab: Lab) -> None:
    lab.write("conf.yaml", "a: mine\n")
    shutil.rmtree(lab.path / "lib")
    lab.write("lib", "a file of mine where a folder was\n")
    before = lab.everything()
    with lab.open() as repo:
        plan = repo.plan_reset("v1.0.0")
        assert "conf.yaml" in plan.dirty
        with pytest.raises(Refused, match=r"conf\.yaml"):
            repo.apply(plan, run="r", step="s")
    assert lab.everything() == before


def test_force_saves_local_changes_aside_before_it_overwrites_them(lab: Lab) -> None:
    lab.write("conf.yaml", "a: mine\n")
    with lab.open() as repo:
        fact = repo.apply(repo.plan_reset("v1.0.0", force=True), run="r", step="s")
    assert fact["aside"] == ["conf.yaml"]
    assert (lab.state / "quarantine/r/s/conf.yaml").read_text() == "a: mine\n"
    assert lab.read("conf.yaml") == "a: 1\n"
    assert lab.git("status", "--porcelain") == ""


def test_what_is_staged_but_not_committed_is_somebodys_work_too(lab: Lab) -> None:
    lab.write("conf.yaml", "a: staged\n")
    lab.git("add", "conf.yaml")
    lab.write("conf.yaml", "a: 2\n")
    with lab.open() as repo, pytest.raises(Refused, match=r"conf\.yaml"):
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="s")


def test_dirty_untracked_and_ignored_files_of_others_survive(lab: Lab) -> None:
    lab.commit("ignore", {".gitignore": "*.log\n"})
    lab.git("tag", "here")
    lab.commit("bad", {"bad/x.py": "bad"})
    lab.write("notes.md", "my notes\n")
    lab.write("mine.txt", "mine")
    lab.write("bad/run.log", "log")
    lab.git("add", "-N", "mine.txt")
    with lab.open() as repo:
        assert repo.dirty() == ("mine.txt", "notes.md")
        repo.apply(repo.plan_reset("here"), run="r", step="s")
    assert lab.read("notes.md") == "my notes\n"
    assert lab.read("mine.txt") == "mine"
    assert lab.read("bad/run.log") == "log"
    assert not (lab.path / "bad/x.py").exists()
    assert "notes.md" in lab.git("diff", "--name-only")


def test_an_untracked_file_where_an_old_one_comes_back_is_refused_unless_equal(lab: Lab) -> None:
    lab.git("rm", "-q", "notes.md")
    lab.commit("drop notes")
    lab.write("notes.md", "other\n")
    with lab.open() as repo:
        with pytest.raises(Refused, match=r"notes\.md"):
            repo.apply(repo.plan_reset(lab.id("HEAD~1")), run="r", step="s")
        lab.write("notes.md", "keep\n")
        repo.apply(repo.plan_reset(lab.id("HEAD~1")), run="r", step="s")
    assert lab.git("status", "--porcelain") == ""


def test_an_untracked_folder_or_link_in_the_way_is_refused_even_with_force(
    lab: Lab, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lab.git("rm", "-rq", "lib", "notes.md")
    lab.commit("drop")
    (lab.path / "lib").symlink_to(outside)
    lab.write("notes.md/deep/file", "mine")
    before = lab.everything()
    with lab.open() as repo, pytest.raises(Refused, match=r"lib, notes\.md"):
        repo.apply(repo.plan_reset(lab.id("HEAD~1"), force=True), run="r", step="s")
    assert lab.everything() == before
    assert list(outside.iterdir()) == []


def test_merges_are_reverted_against_their_first_parent(lab: Lab) -> None:
    lab.git("checkout", "-q", "-b", "side", "v1.0.0")
    lab.commit("side work", {"side.py": "side\n"})
    lab.git("checkout", "-q", "work")
    lab.git("merge", "-q", "--no-ff", "-m", "merge side", "side")
    lab.commit("after", {"after.py": "after\n"})
    with lab.open() as repo:
        plan = repo.plan_revert(matching="^merge|^side")
        assert [c.subject for c in plan.reverted] == ["merge side"]
        assert [c.subject for c in plan.skipped] == ["side work"]
        repo.apply(plan, run="r", step="s")
    assert not (lab.path / "side.py").exists()
    assert lab.read("after.py") == "after\n"


def test_a_first_commit_can_be_reverted(lab: Lab) -> None:
    lab.git("checkout", "-q", "--orphan", "fresh")
    lab.git("rm", "-rfq", ".")
    lab.commit("first", {"a": "a\n"})
    lab.commit("second", {"b": "b\n"})
    with lab.open() as repo:
        repo.apply(repo.plan_revert(matching="^first"), run="r", step="s")
    assert set(lab.files()) == {"b"}


def test_renames_are_followed_both_ways(lab: Lab) -> None:
    body = "".join(f"line {n}\n" for n in range(40))
    lab.commit("add long", {"old/name.py": body})
    lab.commit("bad edit", {"old/name.py": body.replace("line 7\n", "line bad\n")})
    (lab.path / "new").mkdir()
    lab.git("mv", "old/name.py", "new/name.py")
    lab.commit("move")
    with lab.open() as repo:
        repo.apply(repo.plan_revert(matching="^bad edit"), run="r", step="s")
        assert lab.read("new/name.py") == body
        assert not (lab.path / "old/name.py").exists()
        repo.apply(repo.plan_revert(matching="^move"), run="r", step="t")
    assert lab.read("old/name.py") == body
    assert not (lab.path / "new").exists()


def test_modes_links_and_odd_names_come_back_exactly(lab: Lab) -> None:
    odd = os.fsdecode(b"odd \xff\n\x1b[31m-rf")
    lab.write("tool.sh", "#!/bin/sh\n", mode=0o755)
    lab.write(odd, b"\x00\xff")
    (lab.path / "link").symlink_to("/etc/nowhere")
    lab.commit("good")
    lab.git("tag", "good")
    (lab.path / "link").unlink()
    lab.write("link/inside", "now a folder")
    lab.write("tool.sh", "#!/bin/sh\n", mode=0o644)
    (lab.path / odd).unlink()
    lab.commit("bad")
    with lab.open() as repo:
        repo.apply(repo.plan_reset("good"), run="r", step="s")
    assert os.readlink(lab.path / "link") == "/etc/nowhere"
    assert (lab.path / "tool.sh").stat().st_mode & 0o777 == 0o755
    assert (lab.path / odd).read_bytes() == b"\x00\xff"
    assert lab.git("status", "--porcelain") == ""


def test_a_private_file_stays_private(lab: Lab) -> None:
    (lab.path / "conf.yaml").chmod(0o600)
    with lab.open() as repo:
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="s")
    assert (lab.path / "conf.yaml").stat().st_mode & 0o777 == 0o600


def test_line_ends_that_attributes_let_vary_are_no_reason_to_refuse(lab: Lab) -> None:
    lab.commit("attributes", {".gitattributes": "*.txt text=auto eol=crlf\n", "w.txt": "a\nb\n"})
    lab.git("tag", "good")
    lab.commit("bad", {"w.txt": "a\nbad\n"})
    lab.write("w.txt", "a\r\nbad\r\n")
    lab.write("conf.yaml", "a: 2\r\n")
    with lab.open() as repo:
        assert repo.dirty() == ("conf.yaml",)
        plan = repo.plan_reset("good")
        assert plan.dirty == ()
        repo.apply(repo.planned(plan.data()), run="r", step="s")
    assert (lab.path / "w.txt").read_bytes() == b"a\nb\n"


def test_a_merge_in_progress_or_a_held_index_is_refused(lab: Lab) -> None:
    with lab.open() as repo:
        plan = repo.plan_reset("v1.0.0")
        (lab.path / ".git/index.lock").write_bytes(b"")
        with pytest.raises(Refused, match="index"):
            repo.apply(plan, run="r", step="s")
        assert (lab.path / ".git/index.lock").exists()
        (lab.path / ".git/index.lock").unlink()
        (lab.path / ".git/MERGE_HEAD").write_text(lab.git("rev-parse", "HEAD") + "\n")
        with pytest.raises(Refused, match="MERGE"):
            repo.apply(plan, run="r", step="s")
    assert lab.read("conf.yaml") == "a: 2\n"


def test_the_declaration_in_use_is_never_rewritten(lab: Lab) -> None:
    lab.commit("declare", {"rollback.yaml": "new: words\n"})
    with lab.open(kept=(lab.path / "rollback.yaml",)) as repo:
        plan = repo.plan_reset("v1.0.0")
        assert plan.kept == ("rollback.yaml",)
        repo.apply(plan, run="r", step="s")
    assert lab.read("rollback.yaml") == "new: words\n"
    assert lab.read("conf.yaml") == "a: 1\n"


@pytest.mark.requirement("PM-89")
def test_a_trail_that_is_tracked_keeps_every_line_through_reset_and_revert(lab: Lab) -> None:
    """What was appended after the target, committed or not, stands there afterwards; no less."""
    lab.commit("trail", {"logs/audit.jsonl": "one\n"})
    lab.git("tag", "good")
    lab.commit("more", {"logs/audit.jsonl": "one\ntwo\n", "conf.yaml": "a: 9\n"})
    lab.write("logs/audit.jsonl", "one\ntwo\nthree\n")
    kept = (lab.path / "logs/audit.jsonl",)
    with lab.open(kept=kept) as repo:
        plan = repo.plan_revert(matching="^more$")
        assert plan.kept == ("logs/audit.jsonl",)
        repo.apply(plan, run="r", step="revert")
    assert lab.read("logs/audit.jsonl") == "one\ntwo\nthree\n"
    assert lab.read("conf.yaml") == "a: 2\n"
    with lab.open(kept=kept) as repo:
        repo.apply(repo.plan_reset("good"), run="r", step="reset")
    assert lab.read("logs/audit.jsonl") == "one\ntwo\nthree\n"
    with lab.open(kept=(lab.path / "logs",)) as repo:  # gone from the tree altogether
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="before")
    assert lab.read("logs/audit.jsonl") == "one\ntwo\nthree\n"


def test_the_tools_own_state_in_the_tree_is_refused(lab: Lab) -> None:
    lab.write(".rollback/journal/x", "chain")
    lab.git("add", "-f", ".rollback/journal/x")
    lab.commit("oops")
    with lab.open() as repo, pytest.raises(Refused, match=r"own state"):
        repo.plan_reset("v1.0.0")


def test_a_detached_head_is_moved_and_no_branch_with_it(lab: Lab) -> None:
    work = lab.git("rev-parse", "work")
    lab.git("checkout", "-q", "--detach")
    with lab.open() as repo:
        assert repo.head() == ("", work)
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="s")
    assert lab.git("rev-parse", "work") == work
    assert lab.git("rev-parse", "HEAD") == lab.git("rev-parse", "v1.0.0")


def scene(lab: Lab) -> None:
    """A change with every kind of effect: modify, add, remove, folder to file, file to folder."""
    lab.write("tool.sh", "#!/bin/sh\n", mode=0o755)
    (lab.path / "link").symlink_to("conf.yaml")
    lab.commit(
        "good", {"gone/deep/file": "1\n", "turn": "file\n", "flip/in": "in\n", "edit": "1\n"}
    )
    lab.git("tag", "good")
    shutil.rmtree(lab.path / "gone")
    shutil.rmtree(lab.path / "flip")
    for name in ("turn", "link"):
        (lab.path / name).unlink()
    lab.commit("bad", {"turn/inner": "now\n", "flip": "file\n", "edit": "2\n", "added/x": "x\n"})


KINDS = ("reset", "revert", "paths", "force")


def plan_and_apply(lab: Lab, kind: str, tap: Tap) -> None:
    with lab.open(tap) as repo:
        if kind == "revert":
            plan = repo.planned(lab.plan)  # type: ignore[attr-defined]
        elif kind == "paths":
            plan = repo.plan_paths("good", ["."])
        else:
            plan = repo.planned(lab.plan)  # type: ignore[attr-defined]
        repo.apply(plan, run="r", step="s")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_change_and_applied_again_it_ends_where_an_uninterrupted_run_ends(
    tmp_path: Path, kind: str
) -> None:
    """Every mutating call of the apply, before it, torn in the middle, and after it."""
    lab = Lab(tmp_path / "master")
    scene(lab)
    if kind == "force":
        lab.write("edit", "mine\n")
    with lab.open() as repo:
        plan = repo.plan_revert(matching="^bad") if kind == "revert" else repo.plan_reset(
            "good", force=kind == "force")  # fmt: skip
    copies = iter(range(10**6))

    def fresh() -> Lab:
        path = tmp_path / str(next(copies)) / "repo"
        shutil.copytree(lab.path, path, symlinks=True)
        copy = Lab(path, create=False)
        copy.plan = plan.data()  # type: ignore[attr-defined]
        return copy

    whole = fresh()
    counting = CountingTap()
    plan_and_apply(whole, kind, counting)
    wanted = whole.truth()
    assert wanted["left"] == []
    assert len(counting.points) > 10
    for shot in shots(counting.points)[::KILL_SOME]:
        copy = fresh()
        died = in_child(lambda c=copy, s=shot: plan_and_apply(c, kind, DyingTap(*s)))  # type: ignore[misc]
        assert died == KILLED, shot
        plan_and_apply(copy, kind, Tap())
        assert copy.truth() == wanted, shot
        shutil.rmtree(copy.path.parent)


def test_a_lock_that_a_dead_attempt_left_on_the_branch_is_known_as_ours(lab: Lab) -> None:
    with lab.open() as repo:
        plan = repo.plan_reset("v1.0.0")
        lock = lab.path / ".git/refs/heads/work.lock"
        lock.write_text(plan.new[:17])
        repo.apply(plan, run="r", step="s")
    assert lab.git("rev-parse", "HEAD") == plan.new
    assert not lock.exists()


def test_a_foreign_lock_on_the_branch_is_refused(lab: Lab) -> None:
    (lab.path / ".git/refs/heads/work.lock").write_text("0" * 40 + "\n")
    with lab.open() as repo, pytest.raises(Refused, match="another git program"):
        repo.apply(repo.plan_reset("v1.0.0"), run="r", step="s")


@pytest.mark.parametrize("call", ["none", "both"])
def test_a_revert_takes_commits_or_a_pattern(lab: Lab, call: str) -> None:
    with lab.open() as repo, pytest.raises(UsageError):
        repo.plan_revert(["HEAD"] if call == "both" else [], matching="x" if call == "both" else "")
