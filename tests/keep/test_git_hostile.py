"""Repositories that want to run programs, leave their root, or are not what their ids say."""

from __future__ import annotations

import os
import shutil
import stat
import zlib
from pathlib import Path

import pygit2
import pytest
from pygit2.enums import ConfigLevel

from rollback.host import Host
from rollback.keep.git import Repository
from rollback.keep.git_objects import FILE, object_id, unsafe
from rollback.model.errors import (
    ObjectCorrupt,
    ObjectMissing,
    PlanError,
    Refused,
    RollbackError,
    UsageError,
)
from rollback.model.finding import Answer
from tests.keep.git_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "repo")
    lab.commit("good", {"a.txt": "good a\n", "b.txt": "good b\n", "sub/c.txt": "good c\n"})
    lab.git("tag", "good")
    lab.commit("bad", {"a.txt": "bad a\n", "b.txt": "bad b\n", "sub/c.txt": "bad c\n"})
    return lab


def loose(lab: Lab, oid: str) -> Path:
    path = lab.path / ".git/objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    return path


HOOKS = (
    "pre-commit", "post-commit", "commit-msg", "prepare-commit-msg", "post-checkout", "pre-push",
    "post-merge", "pre-merge-commit", "reference-transaction", "post-index-change", "post-rewrite",
    "pre-receive", "update", "post-receive", "post-update", "fsmonitor-watchman",
)  # fmt: skip


def test_no_program_of_a_hostile_repository_is_ever_run(lab: Lab, tmp_path: Path) -> None:
    marker, bare = tmp_path / "executed", tmp_path / "bare.git"
    lab.git("clone", "-q", "--bare", str(lab.path), str(bare))
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\necho $0 $@ >> {marker}\ncat\n")
    script.chmod(0o755)
    lab.commit("attributes", {".gitattributes": "* filter=evil merge=evil diff=evil ident\n"})
    lab.commit("worse", {"a.txt": "worse a\n", "$(touch x)": "x\n"})
    for git_dir in (lab.path / ".git", bare):
        (git_dir / "hooks").mkdir(exist_ok=True)
        for name in HOOKS:
            shutil.copy(script, git_dir / "hooks" / name)
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass",
        "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "merge.evil.driver",
        "diff.evil.command", "diff.evil.textconv", "diff.external", "credential.helper",
        "gpg.program", "core.alternateRefsCommand", "remote.origin.receivepack",
        "remote.origin.uploadpack", "uploadpack.packObjectsHook", "sequence.editor",
    ):  # fmt: skip
        lab.git("config", key, str(script))
    lab.git("config", "core.hooksPath", str(lab.path / ".git/hooks"))
    lab.git("config", "commit.gpgSign", "true")
    lab.git("config", "remote.origin.url", str(bare))
    marker.unlink(missing_ok=True)
    with lab.open() as repo:
        repo.dirty(), repo.log("a.txt"), repo.resolve("HEAD"), repo.resolve("a", matching=True)
        repo.branch("rollback-x", switch=True)
        repo.apply(repo.plan_revert(matching="^worse"), run="r", step="revert")
        repo.apply(repo.plan_paths("good", ["b.txt"]), run="r", step="paths")
        lab.write("new.txt", "new")
        repo.commit(["new.txt", "b.txt"], "rollback: b", run="r", step="commit")
        repo.tag("rolled-back", message="note")
        repo.push("rollback-x", "origin")
        repo.apply(repo.plan_reset("good", force=True), run="r", step="reset")
    assert not marker.exists(), marker.read_text()
    assert lab.read("a.txt") == "good a\n"


def test_a_filter_that_is_declared_changes_no_byte(lab: Lab) -> None:
    lab.commit("attributes", {".gitattributes": "*.txt text eol=crlf ident\n"})
    with lab.open() as repo:
        repo.apply(repo.plan_paths("good", ["a.txt"]), run="r", step="s")
    assert lab.read("a.txt") == "good a\n"


@pytest.mark.parametrize("packed", [False, True])
def test_a_missing_object_is_found_before_the_first_change(lab: Lab, packed: bool) -> None:
    oid = lab.id("good:sub/c.txt")
    if packed:
        lab.git("repack", "-adq")
        lab.git("unpack-objects", "-q", status=None)
        pack = next((lab.path / ".git/objects/pack").glob("*.pack"))
        data = pack.read_bytes()
        for file in list((lab.path / ".git/objects/pack").iterdir()):
            file.unlink()
        lab.git("unpack-objects", "-q", stdin=data)
    loose(lab, oid).unlink()
    before = lab.everything()
    with lab.open() as repo:
        assert repo.prove(lab.id("good")).answer is Answer.FAIL
        assert repo.prove(lab.id("HEAD")).answer is Answer.PASS
        with pytest.raises(ObjectMissing, match=oid):
            repo.plan_reset("good")
        with pytest.raises(ObjectMissing, match=oid):
            repo.plan_revert(matching="^bad")
    assert lab.everything() == before


def test_an_object_lost_between_plan_and_apply_is_found_before_the_first_file_changes(
    lab: Lab,
) -> None:
    with lab.open() as repo:
        plan = repo.plan_reset("good")
    loose(lab, lab.id("good:sub/c.txt")).unlink()
    files = lab.files()
    with lab.open() as repo, pytest.raises(ObjectMissing):
        repo.apply(plan, run="r", step="s")
    assert lab.files() == files
    assert lab.git("status", "--porcelain") == ""


@pytest.mark.parametrize("what", ["good:sub/c.txt", "good^{tree}", "good:sub", "good^{commit}"])
@pytest.mark.parametrize("how", ["swapped", "flipped", "empty"])
def test_bytes_under_a_wrong_id_are_never_served(lab: Lab, what: str, how: str) -> None:
    oid = lab.id(what)
    path = loose(lab, oid)
    kind, body = zlib.decompress(path.read_bytes()).split(b"\0", 1)
    if how == "swapped":
        evil = body.replace(b"good", b"evil") if b"good" in body else body[:-1] + b"!"
        path.write_bytes(zlib.compress(kind + b"\0" + evil))
    elif how == "flipped":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))
    else:
        path.write_bytes(b"")
    before = lab.everything()
    with lab.open() as repo, pytest.raises(RollbackError):
        repo.apply(repo.plan_reset("good"), run="r", step="s")
    with lab.open() as repo:
        found = repo.resolve("good")
        assert found[0].valid is (what in ("good:sub/c.txt", "good:sub"))
    assert lab.everything() == before


def test_we_hash_ourselves_and_do_not_lean_on_libgit2(lab: Lab) -> None:
    path = loose(lab, lab.id("good:a.txt"))
    path.write_bytes(zlib.compress(b"blob 7\0evil a\n"))
    with lab.open() as repo:
        pygit2.settings.enable_strict_hash_verification(False)
        try:
            with pytest.raises(ObjectCorrupt, match="other bytes"):
                repo.read(lab.id("good"), "a.txt")
        finally:
            pygit2.settings.enable_strict_hash_verification(True)


def test_configuration_of_the_user_and_the_machine_is_not_read(lab: Lab) -> None:
    with lab.open():
        for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
            assert pygit2.settings.search_path[level] == ""
        assert pygit2.settings.owner_validation


def raw_tree(lab: Lab, *entries: tuple[str, bytes, str]) -> str:
    data = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid)
                    for mode, name, oid in entries)  # fmt: skip
    return lab.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=data)


EVIL = (b"..", b".", b".git", b".GIT", b".Git", b"git~1", b".git ", b".g\xe2\x80\x8cit", b"a\\b",
        b"../passwd", b"x" * 256, b"", b".git::$INDEX_ALLOCATION")  # fmt: skip


@pytest.mark.parametrize("name", EVIL, ids=[repr(name)[:24] for name in EVIL])
@pytest.mark.parametrize("nested", [False, True])
def test_a_tree_with_a_name_that_leaves_its_folder_is_refused(
    lab: Lab, name: bytes, nested: bool
) -> None:
    blob = lab.id("good:a.txt")
    tree = raw_tree(lab, ("100644", name, blob))
    if nested:
        tree = raw_tree(lab, ("40000", b"sub", tree))
    commit = lab.git("commit-tree", tree, "-m", "evil")
    before = lab.everything()
    with lab.open() as repo:
        with pytest.raises((Refused, PlanError, ObjectCorrupt), match=r"bad entry|never written"):
            repo.plan_reset(commit)
        with pytest.raises((Refused, ObjectCorrupt)):
            list(repo.source(commit).entries())
    assert lab.everything() == before


def test_a_tree_that_holds_a_link_and_a_folder_of_one_name_is_refused(lab: Lab) -> None:
    link = lab.git("hash-object", "-w", "--stdin", stdin=b"/etc")
    inner = raw_tree(lab, ("100644", b"passwd", lab.id("good:a.txt")))
    tree = raw_tree(lab, ("120000", b"evil", link), ("40000", b"evil", inner))
    commit = lab.git("commit-tree", tree, "-m", "evil")
    with lab.open() as repo, pytest.raises(RollbackError, match="bad entry"):
        repo.plan_reset(commit)


def test_a_submodule_is_refused_where_it_differs_and_let_be_where_it_does_not(lab: Lab) -> None:
    module = f"160000,{lab.id('good')},vendor"
    lab.git("update-index", "--add", "--cacheinfo", module)
    lab.git("commit", "-qm", "module")
    lab.git("tag", "with-module")
    lab.write("a.txt", "again\n")
    lab.git("add", "a.txt")
    lab.git("commit", "-qm", "edit")
    with lab.open() as repo:
        with pytest.raises(Refused, match="vendor"):
            repo.plan_reset("good")
        with pytest.raises(Refused, match="vendor"):
            repo.source(lab.id("with-module"))
        repo.apply(repo.plan_reset("with-module"), run="r", step="s")
    assert lab.read("a.txt") == "bad a\n"


def test_a_large_file_pointer_is_refused_not_written(lab: Lab) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    lab.commit("pointer", {"model.bin": text})
    lab.git("tag", "pointer")
    lab.commit("gone", {"model.bin": "real content"})
    with lab.open() as repo, pytest.raises(Refused, match="pointer"):
        repo.plan_reset("pointer")


def test_a_sha256_repository_a_bare_one_and_none_are_refused(lab: Lab, tmp_path: Path) -> None:
    lab.git("init", "-q", "--object-format=sha256", str(tmp_path / "new"))
    lab.git("init", "-q", "--bare", str(tmp_path / "bare"))
    for name, guardrail in (("new", "git-sha256"), ("bare", "git-bare")):
        with pytest.raises(Refused) as caught:
            Repository.at(tmp_path / name, Host())
        assert caught.value.guardrail == guardrail
        assert caught.value.hint
    with pytest.raises(UsageError):
        Repository.at(tmp_path, Host())


def test_files_somewhere_else_are_refused(lab: Lab, tmp_path: Path) -> None:
    other = tmp_path / "victim"
    other.mkdir()
    lab.git("worktree", "add", "-q", str(tmp_path / "linked"), "good")
    with pytest.raises(Refused, match="git-elsewhere"):
        Repository.at(tmp_path / "linked", Host())
    lab.git("config", "core.worktree", str(other))
    with pytest.raises(Refused, match="git-elsewhere"):
        lab.open()
    lab.git("config", "--unset", "core.worktree", status=None)
    assert list(other.iterdir()) == []


def test_a_repository_of_another_user_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    with pytest.raises(Refused, match="git-owner") as caught:
        lab.open()
    assert str(real) in caught.value.hint


def test_a_git_directory_behind_a_link_is_refused(lab: Lab, tmp_path: Path) -> None:
    (lab.path / ".git").rename(tmp_path / "elsewhere")
    (lab.path / ".git").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="git-elsewhere"):
        lab.open()


def test_grafts_are_refused_and_replacements_are_not_believed(lab: Lab) -> None:
    evil = lab.git("hash-object", "-w", "--stdin", stdin=b"evil\n")
    lab.git("replace", lab.id("good:a.txt"), evil)
    with lab.open() as repo:
        assert repo.read(lab.id("good"), "a.txt") == b"good a\n"
        repo.apply(repo.plan_reset("good"), run="r", step="s")
    assert lab.read("a.txt") == "good a\n"
    (lab.path / ".git/info/grafts").write_text(lab.id("HEAD") + "\n")
    with pytest.raises(Refused, match="grafts"):
        lab.open()


def test_objects_may_come_from_an_alternate_and_are_hashed_there_too(
    lab: Lab, tmp_path: Path
) -> None:
    lab.git("clone", "-q", "--shared", str(lab.path), str(tmp_path / "clone"))
    clone = Lab(tmp_path / "clone", create=False)
    with clone.open() as repo:
        repo.apply(repo.plan_reset("good"), run="r", step="s")
        assert clone.read("a.txt") == "good a\n"
    path = loose(lab, lab.id("HEAD:a.txt"))
    path.write_bytes(zlib.compress(b"blob 6\0evil!\n"))
    with clone.open() as repo, pytest.raises(ObjectCorrupt):
        repo.plan_reset(lab.id("HEAD"))


def test_alternates_that_go_in_circles_end(lab: Lab, tmp_path: Path) -> None:
    lab.git("clone", "-q", "--shared", str(lab.path), str(tmp_path / "clone"))
    info = lab.path / ".git/objects/info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text(f"{tmp_path}/clone/.git/objects\n")
    with lab.open() as repo:
        repo.apply(repo.plan_reset("good"), run="r", step="s")
    assert lab.read("a.txt") == "good a\n"


def test_a_shallow_clone_goes_back_as_far_as_it_has(lab: Lab, tmp_path: Path) -> None:
    lab.git("clone", "-q", "--depth", "1", f"file://{lab.path}", str(tmp_path / "clone"))
    clone = Lab(tmp_path / "clone", create=False)
    with clone.open() as repo:
        assert repo.prove(repo.head()[1]).answer is Answer.PASS
        assert len(repo.log("a.txt")) <= 1
        with pytest.raises(RollbackError):
            repo.plan_reset(lab.id("good"))


def test_odd_refs_do_not_get_in_the_way(lab: Lab) -> None:
    head = lab.id("HEAD")
    packed = lab.path / ".git/packed-refs"
    packed.write_bytes(b"".join(f"{head} ".encode() + name + b"\n" for name in (
        b"refs/heads/-x", b"refs/heads/\xff\xfe", b"refs/tags/v\xc3\xa9")))  # fmt: skip
    (lab.path / ".git/refs/heads/broken").write_text("garbage\n")
    with lab.open() as repo:
        assert [c.ref for c in repo.resolve("v*")] == ["refs/tags/v\u00e9"]
        assert [c.commit for c in repo.resolve("-x")] == [head]
        for bad in ("-x", "a..b", "HEAD", "a b", "refs/heads/x", "a.lock", "x\x1b", ""):
            with pytest.raises(UsageError):
                repo.branch(bad)


def test_a_link_out_of_the_root_is_stored_as_a_link_and_never_followed(lab: Lab) -> None:
    (lab.path / "door").symlink_to("/etc")
    lab.commit("door")
    lab.git("tag", "door")
    (lab.path / "door").unlink()
    lab.commit("no door", {"door/hosts": "ours\n"})
    hosts = Path("/etc/hosts").read_bytes()
    with lab.open() as repo:
        old = lab.id("HEAD")
        repo.apply(repo.plan_reset("door"), run="r", step="s")
        assert os.readlink(lab.path / "door") == "/etc"
        repo.apply(repo.plan_reset(old), run="r", step="t")
    assert lab.read("door/hosts") == "ours\n"
    assert Path("/etc/hosts").read_bytes() == hosts


def test_a_fifo_where_a_file_belongs_is_named_not_opened(lab: Lab) -> None:
    (lab.path / "a.txt").unlink()
    os.mkfifo(lab.path / "a.txt")
    with lab.open() as repo, pytest.raises(Refused, match=r"a\.txt"):
        repo.apply(repo.plan_reset("good", force=True), run="r", step="s")
    assert stat.S_ISFIFO((lab.path / "a.txt").stat().st_mode)


@pytest.mark.parametrize("path", [b"a/b", b".gitignore", b".github/x", b"a.git", b"git", b"a..b"])
def test_ordinary_names_are_safe(path: bytes) -> None:
    assert unsafe(path) == ""


def test_ids_are_computed_as_git_computes_them(lab: Lab) -> None:
    assert object_id(3, b"good a\n") == lab.id("good:a.txt")
    with lab.open() as repo:
        entries = {e.path: e for e in repo.source(lab.id("good")).entries()}
        assert entries[b"a.txt"].mode == FILE & 0o777
        assert b"".join(repo.source(lab.id("good"), "sub").read(
            next(e for e in repo.source(lab.id("good"), "sub").entries()))) == b"good c\n"  # fmt: skip
        single = repo.source(lab.id("good"), "a.txt")
        assert [e.path for e in single.entries()] == [b"."]
