"""Steps that move things aside: what they take, what they leave, and what they refuse to touch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rollback.act.actions.clear import ClearStep
from rollback.act.plan import bind
from rollback.keep import frozen
from rollback.model.errors import Confined, HostError, PlanError, Refused
from rollback.model.finding import Answer

from .conftest import World


def fill(world: World) -> None:
    """Items, and a folder of scratch files outside the root."""
    for name, text in (("items/one", "1"), ("items/two/deep", "2"), ("items/-rf", "odd"),
                       ("done/one", "old"), ("items/new\nline", "odd too")):  # fmt: skip
        path = world.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def done(world: World, kind: str, parameters: dict[str, Any], **more: Any) -> tuple[Any, Any]:
    step, scene = world.bound(kind, parameters, **more)
    step.apply(scene)
    assert step.probe(scene).answer is Answer.PASS
    return step, scene


def test_only_what_is_named_is_removed_and_nothing_is_lost(world: World) -> None:
    """A star stops at a slash; names that look like options are names; the bytes are kept."""
    fill(world)
    before = world.files()
    step, scene = done(world, "remove", {"paths": ["items/o*", "items/two", "items/-rf"]})
    gone = {"items/one", "items/two/deep", "items/-rf"}
    assert world.files() == {name: data for name, data in before.items() if name not in gone}
    kept = world.state.path / "quarantine" / "run-1-1" / "kept"
    assert {str(p.relative_to(kept)) for p in kept.rglob("*") if p.is_file()} == gone
    assert os.stat(kept.parent).st_mode & 0o077 == 0
    step.undo(scene)
    assert world.files() == before


@pytest.mark.parametrize(
    ("paths", "why"),
    [(["logs"], "append-only"), (["logs/audit.jsonl"], "append-only"), ([".git/config"], "git"),
     (["*"], "own|only ever|repository"), (["."], "own-state")],
)  # fmt: skip
def test_what_no_step_may_move_is_refused_at_planning(
    world: World, paths: list[str], why: str
) -> None:
    """The trail, the repository, the root itself."""
    before = world.files()
    with pytest.raises(Refused, match=why):
        world.bound("remove", {"paths": paths})
    assert world.files() == before


def test_a_link_in_the_way_is_not_followed(world: World, tmp_path: Path) -> None:
    """Neither by a plain path nor by a pattern."""
    fill(world)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    (world.root / "way").symlink_to(outside)
    for paths in (["way/canary"], ["way/*"], ["w*/canary"]):
        _, scene = world.bound("remove", {"paths": paths})
        assert scene.bound["paths"] == []
    done(world, "remove", {"paths": ["way"]})
    assert not (world.root / "way").is_symlink()
    assert (outside / "canary").read_text() == "alive"


def test_immutable_files_stay_and_nothing_else_moves(world: World) -> None:
    """Refused as a whole, before the first of them moves; where flags cannot be set, chattr says so."""
    fill(world)
    fixed = world.root / "items/two/deep"
    marked = subprocess.run(["chattr", "+i", str(fixed.parent)], capture_output=True, check=False)
    step, scene = world.bound("remove", {"paths": ["items/one", "items/two"]})
    try:
        if marked.returncode == 0:
            with pytest.raises(Refused, match="immutable"):
                step.apply(scene)
            assert (world.root / "items/one").exists()
        else:
            step.apply(scene)
            assert not (world.root / "items/one").exists()
    finally:
        subprocess.run(["chattr", "-i", str(fixed.parent)], capture_output=True, check=False)


def test_of_two_names_both_are_kept(world: World) -> None:
    """In whatever order; what came to stand there since stops the step."""
    fill(world)
    (world.root / "done/one.2").write_text("older")
    step, scene = world.bound("move", {"paths": ["items/one"], "to": "done"})
    (world.root / "done/one.3").write_text("came since")
    with pytest.raises(HostError, match="came to stand"):
        step.apply(scene)
    done(world, "move", {"paths": ["items/one"], "to": "done"}, step="2")
    found = {path.name: path.read_text() for path in (world.root / "done").iterdir()}
    assert found == {"one": "old", "one.2": "older", "one.3": "came since", "one.4": "1"}
    with pytest.raises(PlanError, match="into itself"):
        world.bound("move", {"paths": ["items/two"], "to": "items/two/deeper"})


@pytest.mark.requirement("VR-44")
def test_an_item_comes_back_at_most_so_often(world: World) -> None:
    """Both of one name are kept, and what came back too often stays, by name."""
    fill(world)
    parameters = {"from": ["items"], "to": "done", "at_most": 2}
    for number in (1, 2, 3):
        _, scene = world.bound("requeue", parameters, step=str(number))
        stays = scene.bound["stays"]
        done(world, "requeue", parameters, step=str(number))
        if number < 3:
            assert stays == []
            (world.root / "done/one.2").rename(world.root / "items/one")
    assert stays == ["one"]
    assert (world.root / "items/one").read_text() == "1"
    assert (world.root / "done/one").read_text() == "old"
    assert (world.root / "done/two/deep").read_text() == "2"


@pytest.mark.requirement("VR-43")
def test_a_place_is_cleared_of_what_matches_and_of_nothing_else(world: World) -> None:
    """Only where its `may` says clear; kept aside; nothing that holds the root."""
    scratch = world.folder / "scratch"
    scratch.mkdir()
    for name in ("tmp-1", "tmp-2", "other", ".tmp-3"):
        (scratch / name).write_text(name)
    (scratch / "tmp-link").symlink_to(world.root / "config")
    step, scene = done(world, "clear", {"place": "scratch", "pattern": "tmp-*"})
    assert sorted(p.name for p in scratch.iterdir() if ".rollback" not in p.name) == [
        ".tmp-3", "other"]  # fmt: skip
    assert (world.root / "config/config.yaml").exists()
    step.undo(scene)
    assert (scratch / "tmp-1").read_text() == "tmp-1"
    with pytest.raises(PlanError, match="may not be used to clear"):
        world.bound("clear", {"place": "archives", "pattern": "a*"})
    for pattern in ("*", "a/b", "**"):
        with pytest.raises(ValidationError):
            ClearStep(place="scratch", pattern=pattern)


def test_a_place_behind_a_link_is_refused(world: World, tmp_path: Path) -> None:
    """Wherever on the way the link is."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "tmp-1").write_text("alive")
    (world.folder / "scratch").symlink_to(real)
    with pytest.raises(Confined):
        world.bound("clear", {"place": "scratch", "pattern": "tmp-*"})
    assert (real / "tmp-1").read_text() == "alive"


def test_a_component_is_as_it_was_declared_to_begin(world: World) -> None:
    """Empty, the folder itself still there, all of it in quarantine; others are refused."""
    fill(world)
    with world.scene().checkpoints as kept:
        safety = kept.create("safety", kind="safety", components=("items",))
    before = world.files()
    step, scene = done(world, "clear", {"component": "items"}, safety=safety.id)
    assert list((world.root / "items").iterdir()) == []
    step.undo(scene)
    assert world.files() == before
    with pytest.raises(PlanError, match="does not begin empty"):
        world.bound("clear", {"component": "config"})


def test_what_is_quarantined_is_known_by_its_digests_and_nobody_else_reads_it(
    world: World,
) -> None:
    """Bytes unchanged, the reason beside them, folders closed."""
    fill(world)
    done(world, "quarantine", {"component": "items", "items": ["one", "two"], "reason": "torn"})
    about = json.loads((world.state.path / "quarantined/run-1-1.json").read_text())
    assert about["reason"] == "torn"
    assert set(about["items"]) == {"items/one", "items/two/deep"}
    kept = world.state.path / "quarantine/run-1-1/kept/items/one"
    assert kept.read_text() == "1"
    assert os.stat(world.state.path).st_mode & 0o077 == 0
    assert not (world.root / "items/one").exists()
    assert (world.root / "done/one").exists()


def test_what_is_frozen_is_refused_to_others_until_it_is_thawed(world: World) -> None:
    """By mode, and by the planner of every other run."""
    fill(world)
    modes = {p: p.stat().st_mode for p in (world.root / "items").rglob("*")}
    done(world, "freeze", {"components": ["items"]})
    for path in (world.root / "items", *(world.root / "items").rglob("*")):
        assert path.stat().st_mode & 0o222 == 0
    other = world.scene(run="run-2")
    with pytest.raises(Refused, match="frozen by run run-1"):
        bind(other, "1", "remove", {"paths": ["items/one"]})
    bind(other, "1", "remove", {"paths": ["done/one"]})
    with pytest.raises(Refused, match="frozen by run run-1"):
        world.bound("freeze", {"components": ["items"]}, run="run-2")
    (world.root / "items/one").chmod(0o600)  # somebody decided otherwise meanwhile
    done(world, "thaw", {"components": ["items"]}, run="run-2")
    modes[world.root / "items/one"] = 0o100600
    assert {p: p.stat().st_mode for p in (world.root / "items").rglob("*")} == modes
    assert frozen.read(world.state.tree, "items") is None
    bind(other, "1", "remove", {"paths": ["items/one"]})


@pytest.mark.requirement("AW-19")
def test_an_archive_opens_and_is_what_it_says(world: World) -> None:
    """Members, bytes and digests by other programs; nothing excluded; a second name when taken."""
    fill(world)
    parameters = {"components": ["items", "config", "audit"], "place": "archives",
                  "name": "broken-{epoch}", "exclude": ["*.md"]}  # fmt: skip
    stamp = {"date": "20261120", "time": "120000", "run": "run-1", "epoch": "1795000000"}
    step, scene = done(world, "archive", parameters, stamp=stamp)
    path = world.folder / "archives" / "broken-1795000000.tar.gz"
    out = world.folder / "out"
    out.mkdir()
    subprocess.run(["tar", "xzf", str(path), "-C", str(out)], check=True)
    assert subprocess.run(["sha256sum", "-c", "--quiet", "MANIFEST.sha256"], cwd=out,
                          capture_output=True, check=False).returncode == 0  # fmt: skip
    for name in ("items/one", "items/two/deep", "items/-rf", "items/new\nline",
                 "config/config.yaml", "logs/audit.jsonl"):  # fmt: skip
        assert (out / name).read_bytes() == (world.root / name).read_bytes()
        assert (out / name).stat().st_mtime_ns // 10**9 == (
            world.root / name).stat().st_mtime_ns // 10**9  # fmt: skip
    assert not (out / "config/notes.md").exists()
    assert os.stat(path).st_mode & 0o077 == 0
    assert step.apply(scene)["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    _, again = world.bound("archive", parameters, stamp=stamp)
    assert again.bound["file"] == "broken-1795000000.2.tar.gz"
    with world.scene().checkpoints as kept:
        assert kept.last_good() is None  # what was packed is no state to go back to unasked


def test_a_package_holds_a_bounded_history(world: World) -> None:
    """The commits of the time asked for, and none before."""
    now = world.host.clock.now().timestamp()
    ages_s = {"10d": 864000.0, "1500d": 1500 * 86400.0}
    found = {}
    for name in ages_s:
        done(world, "archive", {"components": ["audit"], "place": "archives", "name": name,
                                "git_log": name}, step=name)  # fmt: skip
        with tarfile.open(world.folder / "archives" / f"{name}.tar.gz") as tar:
            file = tar.extractfile("git-log.txt")
            assert file is not None
            found[name] = file.read().decode().splitlines()
    assert now > 1_700_000_000 + ages_s["10d"]
    assert found["10d"] == []
    assert [line.split(" ", 2)[2] for line in found["1500d"]] == [
        "an unrelated change", "release 2.0: party", "release 1.0"]  # fmt: skip


def test_a_place_takes_no_more_than_its_limit(world: World) -> None:
    """Refused, and nothing of the archive stays."""
    fill(world)
    (world.root / "items/big").write_bytes(os.urandom(2 * 2**20))
    step, scene = world.bound("archive", {"components": ["items"], "place": "archives"})
    with pytest.raises(Refused, match="limit"):
        step.apply(scene)
    assert list((world.folder / "archives").iterdir()) == []
    assert step.probe(scene).answer is Answer.FAIL
    with pytest.raises(PlanError, match="may not be used to archive"):
        world.bound("archive", {"components": ["items"], "place": "scratch"})


def test_a_damaged_archive_is_not_taken_for_done(world: World) -> None:
    """Its own probe reads all of it."""
    fill(world)
    step, scene = done(world, "archive", {"components": ["items"], "place": "archives"})
    (path,) = (world.folder / "archives").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert step.probe(scene).answer is Answer.FAIL
    with pytest.raises(HostError):
        step.apply(scene)
    assert path.read_bytes() == data


def test_a_checkpoint_as_a_step_is_one_to_go_back_to(world: World) -> None:
    """Once, whole, and under its own name."""
    step, scene = done(world, "checkpoint", {"components": ["config"], "name": "before-{run}"})
    step.apply(scene)
    with world.scene().checkpoints as kept:
        (found,) = kept.list()
        assert (found.name, found.target, list(found.parts)) == ("before-run-1", True, ["config"])
