"""The stat cache spares reading, and never hides a change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host.looking import Looking
from rollback.keep import capture
from rollback.keep.checkpoint import Checkpoints
from rollback.model.finding import Answer
from tests.keep.standin import World, component, settle, walked

OLD_NS = 10**18  # long before now: no racy entry


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"app": component("app")}).make()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were opened to be read."""
    seen: list[bytes] = []
    real = Looking.open_read

    def watching(self: Looking, path: bytes | str) -> int:
        if os.fsencode(path).startswith(b"app"):
            seen.append(os.fsencode(path))
        return real(self, path)

    monkeypatch.setattr(Looking, "open_read", watching)
    return seen


def filled(world: World) -> Path:
    app = world.root / "app"
    for number in range(30):
        path = app / f"d{number % 3}" / f"e{number % 5}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * 50)
    settle(world)
    return app


def test_what_looks_as_it_did_is_not_read_again(world: World, opened: list[bytes]) -> None:
    """A second capture opens nothing; after one change it opens one file."""
    app = filled(world)
    with world.open() as checkpoints:
        one = checkpoints.create("one")
        assert len(opened) == 30
        opened.clear()
        two = checkpoints.create("two")
        assert opened == []
        assert one.components == two.components
        (app / "d1/e1/f1").write_text("other")
        three = checkpoints.create("three")
        assert opened == [b"app/d1/e1/f1"]
        assert three.components != two.components
        assert checkpoints.diff("three") == ()
        assert {c.path for c in checkpoints.diff("two")} == {b"app/d1/e1/f1"}


def test_asked_to_look_deep_it_believes_nothing(world: World, opened: list[bytes]) -> None:
    """Everything is read again, and what was found is the next cache."""
    filled(world)
    with world.open() as checkpoints:
        checkpoints.create("one")
        opened.clear()
        checkpoints.deep = True
        checkpoints.diff("one")
        assert len(opened) == 30
        checkpoints.create("two")
        assert len(opened) == 60
        checkpoints.deep = False
        checkpoints.create("three")
        assert len(opened) == 60


def test_a_restore_reads_only_what_differs(world: World, opened: list[bytes]) -> None:
    """And the tree is right, as another walker sees it."""
    app = filled(world)
    with world.open() as checkpoints:
        checkpoints.create("then")
        then = walked(app)
        (app / "d0/e0/f0").write_text("x")
        (app / "d2/new").mkdir()
        shutil.rmtree(app / "d1/e2")
        opened.clear()
        checkpoints.restore("then", "app", step="s")
        assert set(opened) <= {b"app/d0/e0/f0"}
        assert walked(app) == then


def test_a_change_within_one_tick_of_the_clock_is_found(world: World) -> None:
    """Same size, same inode, same times as `stat` tells them: the racy entry is read again."""
    app = world.root / "app"
    app.mkdir()
    path = app / "f"
    path.write_bytes(b"one")
    os.utime(path, ns=(OLD_NS, OLD_NS))
    tried = 0
    while True:
        before = path.stat()
        with world.open() as checkpoints:
            checkpoints.create(f"then{tried}")
            wanted = path.read_bytes()
            with path.open("r+b") as file:
                file.write(b"two" if wanted == b"one" else b"one")
            os.utime(path, ns=(OLD_NS, OLD_NS))
            found = checkpoints.diff(f"then{tried}")
            assert [change.path for change in found] == [b"app/f"]
        tried += 1
        if tried == 40 or path.stat().st_ctime_ns == before.st_ctime_ns:
            return


def test_a_racy_entry_never_matches(
    world: World, opened: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changed just before it was looked at is read again the next time."""
    filled(world)
    with world.open() as checkpoints:
        with monkeypatch.context() as patched:
            patched.setattr(capture, "RACY_NS", 3600 * 10**9)
            checkpoints.create("one")
        opened.clear()
        checkpoints.create("two")
        assert len(opened) == 30
        opened.clear()
        checkpoints.create("three")
        assert opened == []


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone", "folder"])
def test_a_damaged_cache_is_no_cache(world: World, damage: str) -> None:
    """Every damage costs time only."""
    app = filled(world)
    with world.open() as checkpoints:
        checkpoints.create("one")
    cache = world.state / "cache/app.stat"
    whole = cache.read_bytes()
    ends = range(0, len(whole), max(1, len(whole) // 40)) if damage in ("cut", "flip") else [0]
    for end in ends:
        if damage == "cut":
            cache.write_bytes(whole[:end])
        elif damage == "flip":
            cache.write_bytes(whole[:end] + bytes([whole[end] ^ 1]) + whole[end + 1 :])
        elif damage == "empty":
            cache.write_bytes(b"")
        else:
            cache.unlink()
            if damage == "folder":
                cache.mkdir()
        (app / "d1/e1/f1").write_bytes(os.urandom(8))
        with world.open() as checkpoints:
            assert [c.path for c in checkpoints.diff("one")] == [b"app/d1/e1/f1"]


def test_the_cache_of_another_scope_is_not_believed(world: World) -> None:
    """What is excluded now is not taken from a time when it was not."""
    app = filled(world)
    with world.open() as checkpoints:
        checkpoints.create("all")
    world.components["app"] = component("app", exclude=("f1",))
    with world.open() as checkpoints:
        made = checkpoints.create("fewer")
        assert b"d1/e1/f1" not in {entry.path for entry in checkpoints.entries(made.id, "app")}
        (named,) = checkpoints.manifest(made.id, "app").meta["not_captured"]
        assert named == {"path": "d1/e1/f1", "type": "excluded"}
    assert (app / "d1/e1/f1").exists()


def test_a_cache_whose_objects_are_gone_is_not_built_upon(world: World) -> None:
    """The store was lost, the cache was not: everything is read and stored again."""
    filled(world)
    with world.open() as checkpoints:
        checkpoints.create("one")
    shutil.rmtree(world.state / "store")
    with world.open() as checkpoints:
        made = checkpoints.create("two")
        assert made.target
        found = {finding.answer for finding in checkpoints.verify(made.id, deep=True)}
        assert found == {Answer.PASS}


def test_what_is_lost_from_the_store_is_put_again_though_nothing_changed(world: World) -> None:
    """The tree is there, in a later pack, and a file of it is not: looks are not believed."""
    app = world.root / "app"
    app.mkdir()
    (app / "a").write_bytes(os.urandom(900))
    (app / "b").write_bytes(b"then")
    settle(world)
    with world.open() as checkpoints:
        one = checkpoints.create("one")
        (pack,) = (world.state / "store/packs").iterdir()
        (app / "b").write_bytes(b"now!")
        settle(world)
        checkpoints.create("two")
    pack.unlink()
    with world.open() as checkpoints:
        assert not checkpoints.get("two").target
        assert checkpoints.create("three").target
        found = {finding.answer for finding in checkpoints.verify("three", deep=True)}
        assert found == {Answer.PASS}
        assert checkpoints.get("two").target, "the bytes of the file are there again"
        assert not checkpoints.get(one.id).target


names = st.sampled_from(["a", "b", "a/b", "a/c", "b/a/c", "c"])
deeds = st.lists(
    st.tuples(st.sampled_from(["write", "folder", "remove", "link", "hard", "mode", "time"]), names),
    max_size=6,
)  # fmt: skip


def done(app: Path, deed: str, name: str) -> None:
    """One change somebody makes, where it is possible."""
    path = app / name
    try:
        if deed == "folder":
            path.mkdir(parents=True)
        elif deed == "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif deed == "mode":
            path.chmod(0o700 if path.stat().st_mode & 0o77 else 0o755)
        elif deed == "time":
            os.utime(path, ns=(OLD_NS, OLD_NS))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            if deed == "write":
                path.write_bytes(
                    b"%d" % len(name) * (path.stat().st_size % 7 if path.exists() else 3)
                )
            elif deed == "link":
                path.symlink_to("a")
            else:
                os.link(app / "keep", path)
    except OSError:
        return


def steps() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(deeds, min_size=1, max_size=4))
def test_with_and_without_the_cache_everything_is_the_same(
    rounds: list[list[tuple[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any changes between captures: the same tree ids, and every checkpoint comes back exactly."""
    world = World(tmp_path_factory.mktemp("cache"), {"app": component("app")}).make()
    app = world.root / "app"
    app.mkdir()
    (app / "keep").write_bytes(b"kept")
    seen = []
    with world.open() as checkpoints:
        for number, changes in enumerate(rounds):
            for deed, name in changes:
                done(app, deed, name)
            made = checkpoints.create(f"c{number}")
            shutil.rmtree(world.state / "cache")
            again = checkpoints.create(f"again{number}")
            assert manifests(checkpoints, made.id) == manifests(checkpoints, again.id)
            seen.append((made.id, walked(app)))
        for number, (identity, wanted) in enumerate(seen):
            checkpoints.restore(identity, "app", step=f"s{number}")
            assert walked(app) == wanted
            assert checkpoints.diff(identity) == ()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=deeds, second=deeds, third=deeds)
def test_what_looks_as_it_did_is_passed_over_and_the_tree_is_exact(
    first: list[tuple[str, str]], second: list[tuple[str, str]], third: list[tuple[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    """Back to the newest checkpoint and to the one before it, with looks that are old enough."""
    world = World(tmp_path_factory.mktemp("looks"), {"app": component("app")}).make()
    app = world.root / "app"
    app.mkdir()
    (app / "keep").write_bytes(b"kept")
    seen = []
    with world.open() as checkpoints:
        for name, changes in (("one", first), ("two", second)):
            for deed, path in changes:
                done(app, deed, path)
            settle(world)
            checkpoints.create(name)
            seen.append((name, walked(app)))
        for number, (name, wanted) in enumerate(reversed(seen)):
            for deed, path in third:
                done(app, deed, path)
            before = walked(app)
            said = {change.path for change in checkpoints.diff(name)}
            assert said or before == wanted
            checkpoints.restore(name, "app", step=f"s{number}")
            assert walked(app) == wanted
            assert checkpoints.diff(name) == ()


def manifests(checkpoints: Checkpoints, identity: str) -> dict[str, str]:
    return checkpoints.get(identity).components
