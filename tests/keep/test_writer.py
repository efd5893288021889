"""The one writer, judged by a walker of its own: exact trees, true dry runs, kills, full disks."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host import Host, Tap
from rollback.keep.changes import Changes
from rollback.keep.comparing import changes
from rollback.keep.entry import Entry
from rollback.keep.writer import Intent, Limits, put_back
from rollback.model.errors import Confined, HostError, ObjectCorrupt, Refused, RollbackError
from tests.keep.standin import World, component, tree_of, walked
from tests.killed import (
    KILL_SOME,
    KILLED,
    CountingTap,
    DyingTap,
    Failing,
    Lacking,
    in_child,
    shots,
    without_renameat2,
)

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
NAMES = [b"a", b"b", b"-rf", b"new\nline", b"\xff\xfe", b"x" * 255, b" lead", b".dot", b"\x1b[2J",
         "\u202ertl".encode(), b"*"]  # fmt: skip
OWNERS = [(0, 0), (1234, 4321)] if os.geteuid() == 0 else [(os.geteuid(), os.getegid())]

bodies = st.sampled_from([b"", b"x", b"y", b"long " * 900])
dress = st.tuples(
    st.sampled_from([0o644, 0o600, 0o755, 0o400, 0o000]),
    st.sampled_from([0, 1, 10**18, 1_700_000_000_123_456_789, -5_000_000_000]),
    st.sampled_from(OWNERS),
)
leaf = st.one_of(
    st.tuples(st.just("file"), bodies, dress),
    st.tuples(st.just("link"), st.sampled_from([b"a", b"../a", b"/nowhere", b"\xff", b"."]), dress),
    st.tuples(st.just("hard"), st.integers(0, 20), dress),
)
node: Any = st.recursive(
    leaf, lambda inner: st.tuples(st.just("folder"), st.dictionaries(
        st.sampled_from(NAMES), inner, max_size=4), dress), max_leaves=12)  # fmt: skip
trees = st.dictionaries(st.sampled_from(NAMES), node, max_size=5)


def build(top: bytes, spec: dict[bytes, Any]) -> None:
    """The tree of a spec: files first, hard links to earlier files, then modes and times."""
    files: list[bytes] = []
    late: list[tuple[bytes, Any]] = []

    def make(path: bytes, what: Any) -> None:
        kind, body, dressing = what
        if kind == "hard" and files:
            os.link(files[body % len(files)], path)
            return
        if kind in ("file", "hard"):
            with open(path, "wb") as file:
                file.write(body if isinstance(body, bytes) else b"lonely")
            files.append(path)
        elif kind == "link":
            os.symlink(body, path)
        else:
            os.mkdir(path)
            for name, below in body.items():
                make(path + b"/" + name, below)
        late.append((path, dressing))

    os.makedirs(top, exist_ok=True)
    for name, what in spec.items():
        make(top + b"/" + name, what)
    for path, (mode, when, owner) in late:
        os.chown(path, *owner, follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, mode | (0o700 if os.path.isdir(path) else 0))
        os.utime(path, ns=(when, when), follow_symlinks=False)
    os.utime(top, ns=(77, 77))


@contextmanager
def world(**parts: Any) -> Iterator[World]:
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="writer-"))
    try:
        yield World(base, parts or {"app": component("app")}).make()
    finally:
        subprocess.run(["rm", "-rf", base], check=True)  # deeper than rmtree goes


def rebuild(found: World, spec: dict[bytes, Any]) -> None:
    shutil.rmtree(found.root)
    found.root.mkdir()
    build(os.fsencode(found.root / "app"), spec)


def below(path: bytes, tops: set[bytes]) -> bool:
    while path:
        if path in tops:
            return True
        path = os.path.dirname(path)
    return False


def assert_told_truly(said: Changes, before: dict[bytes, Any], after: dict[bytes, Any]) -> None:
    """The dry run named what the walk before and the walk after differ in, and nothing else."""

    def relative(found: tuple[Any, ...]) -> set[bytes]:
        return {os.path.relpath(change.path, b"app") for change in found}

    gone = relative(said.removes)
    retyped = {os.path.relpath(one.path, b"app") for one in said.modifies
               if one.why.startswith("folder ->")}  # fmt: skip
    assert {path for path in before if path not in after} == {
        path for path in before if path not in after and below(path, gone | retyped)}  # fmt: skip
    assert {path for path in gone if path in after} == set()
    assert {path for path in after if path not in before} == relative(said.adds)
    touched = relative(said.modifies) | relative(said.chmods)
    both = before.keys() & after.keys()
    assert {path for path in both if before[path][:5] != after[path][:5]} <= touched
    for path in touched:
        same_group = before[path][5:] == after[path][5:]
        assert before[path][:5] != after[path][:5] or not same_group or any(
            len(before[path][5]) > 1 or len(after[path][5]) > 1 for _ in (0,)), path  # fmt: skip


@pytest.mark.requirement("MB-38", "MB-40")
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(then=trees, now=trees)
def test_any_tree_comes_back_exactly_from_any_other(
    then: dict[bytes, Any], now: dict[bytes, Any]
) -> None:
    """Names, types, bytes, modes, owners, times, links, groups; the dry run said so before.

    The second restore changes nothing, and nothing that was extra is lost.
    """
    with world() as found:
        build(os.fsencode(found.root / "app"), then)
        with found.open() as checkpoints:
            checkpoints.create("then")
            wanted = walked(found.root / "app")
            rebuild(found, now)
            before = walked(found.root / "app")
            said = checkpoints.restore("then", "app", step="s1", dry_run=True)
            assert walked(found.root / "app") == before
            assert checkpoints.restore("then", "app", step="s1") == said
            after = walked(found.root / "app")
            assert after == wanted
            assert_told_truly(said, before, after)
            counting = CountingTap()
            with found.open(counting) as second:
                assert not second.restore("then", "app", step="s2")
            assert not [point for point in counting.points if "app" in point.where]
        extra = {path: seen for path, seen in before.items() if path not in wanted}
        kept = walked(found.state / "quarantine/s1/kept")
        for path, seen in extra.items():
            if seen[4] is not None:
                assert kept[path][:5] == seen[:5]


PAGES = bytes(16384) + os.urandom(16384) * 300  # a large file, with a page of zeros
CASES_THEN: dict[bytes, Any] = {
    b"large": ("file", PAGES, (0o640, 1, OWNERS[0])),
    b"changed": ("file", b"then" * 50, (0o640, 1, OWNERS[0])),
    b"gone": ("file", b"gone", (0o600, 2, OWNERS[-1])),
    b"same": ("file", b"same", (0o644, 3, OWNERS[0])),
    b"mode": ("file", b"mode", (0o755, 3, OWNERS[0])),
    b"file-now-folder": ("file", b"f", (0o644, 4, OWNERS[0])),
    b"folder-now-file": ("folder", {b"in": ("file", b"in", (0o644, 5, OWNERS[0]))},
                         (0o755, 6, OWNERS[0])),
    b"link": ("link", b"same", (0o777, 7, OWNERS[0])),
    b"new": ("folder", {b"deep": ("folder", {b"x": ("file", b"deep", (0o644, 8, OWNERS[0]))},
                                  (0o755, 8, OWNERS[0]))}, (0o755, 9, OWNERS[0])),
    b"twin": ("hard", 0, (0o644, 1, OWNERS[0])),
}  # fmt: skip
CASES_NOW: dict[bytes, Any] = {
    b"large": ("file", PAGES[16384:] + b"now" * 7, (0o644, 11, OWNERS[0])),
    b"changed": ("file", b"now", (0o644, 11, OWNERS[0])),
    b"same": CASES_THEN[b"same"],
    b"mode": ("file", b"mode", (0o700, 12, OWNERS[0])),
    b"file-now-folder": ("folder", {b"y": ("file", b"extra y", (0o644, 5, OWNERS[0]))},
                         (0o755, 6, OWNERS[0])),
    b"folder-now-file": ("file", b"was folder", (0o644, 4, OWNERS[0])),
    b"link": ("file", b"was link", (0o644, 1, OWNERS[0])),
    b"extra": ("folder", {b"z": ("file", b"extra z", (0o644, 5, OWNERS[0]))}, (0o755, 6, OWNERS[0])),
}  # fmt: skip
LOST_IF_DELETED = {b"extra y", b"extra z", b"was folder", b"was link"}


class Broken:
    """A world in which every kind of change is due, put back to that state as often as needed."""

    def __init__(self, found: World) -> None:
        self.world = found
        build(os.fsencode(found.root / "app"), CASES_THEN)
        with found.open() as checkpoints:
            checkpoints.create("then")
        self.then = walked(found.root / "app")
        self.again()
        self.restore()  # what only the first one makes is there: folders, what was judged
        self.again()
        self.now = walked(found.root / "app")

    def again(self) -> None:
        rebuild(self.world, CASES_NOW)
        for name in ("quarantine", "intents"):
            shutil.rmtree(self.world.state / name, ignore_errors=True)

    def restore(self, tap: Tap | None = None) -> Changes:
        with self.world.open(tap) as checkpoints:
            return checkpoints.restore("then", "app", step="s")  # type: ignore[no-any-return]

    def assert_old_or_new(self, *, folders: bool = True) -> None:
        """Every path that holds bytes or a target in both has the old or the new ones.

        Without `folders`, where a folder comes or goes nothing may stand for a moment.
        """
        seen = walked(self.world.root / "app")
        if seen != self.now:
            intents = self.world.state / "intents"
            assert list(intents.iterdir()) or seen == self.then
        for path in self.then.keys() & self.now.keys():
            if not folders and path in (b"file-now-folder", b"folder-now-file"):
                continue
            assert seen[path][4] in (self.then[path][4], self.now[path][4]), path
        assert not [path for path in seen if path not in self.then and path not in self.now]

    def assert_converges(self, tap: Tap | None = None) -> None:
        self.restore(tap)
        assert walked(self.world.root / "app") == self.then
        assert list((self.world.state / "intents").iterdir()) == []
        assert not (self.world.state / "quarantine/s/stage").exists()
        kept = {path.read_bytes() for path in (self.world.state / "quarantine").rglob("*")
                if path.is_file() and not path.is_symlink()}  # fmt: skip
        assert kept >= LOST_IF_DELETED


@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_killed_at_any_change_each_file_is_old_or_new_and_the_next_call_converges(how: str) -> None:
    """Every change of a restore is a point at which the process may die."""
    with world() as found:
        broken = Broken(found)
        counting = CountingTap()
        broken.restore(counting)
        assert len(counting.points) > 60
        for point in [number for number, mode in shots(counting.points) if mode == how]:
            broken.again()
            status = in_child(lambda at=point: broken.restore(DyingTap(at, how)))  # type: ignore[misc]
            assert status == KILLED, point
            broken.assert_old_or_new()
            broken.assert_converges()


WITHOUT = {"enosys": errno.ENOSYS, "einval": errno.EINVAL}  # no such call; not on this file system


@pytest.mark.long
@pytest.mark.parametrize("code", WITHOUT)
def test_without_renameat2_it_comes_back_all_the_same_killed_at_any_change(code: str) -> None:
    """An old kernel, or a file system that knows no flags: nothing is lost, and it converges."""
    with world() as found:
        broken = Broken(found)
        counting = CountingTap()
        broken.restore(Lacking("renameat2", code=WITHOUT[code], inner=counting))
        assert walked(found.root / "app") == broken.then
        assert len(counting.points) > 60
        for at, how in shots(counting.points)[::KILL_SOME]:
            broken.again()
            dying = Lacking("renameat2", code=WITHOUT[code], inner=DyingTap(at, how))
            assert in_child(lambda tap=dying: broken.restore(tap)) == KILLED, at  # type: ignore[misc]
            broken.assert_old_or_new(folders=False)
            broken.assert_converges(Lacking("renameat2", code=WITHOUT[code]))


def test_where_the_kernel_has_no_renameat2_a_restore_comes_to_its_end() -> None:
    """The call itself is refused by the kernel, not by a stand-in of ours."""
    with world() as found:
        broken = Broken(found)

        def old_kernel() -> None:
            without_renameat2()
            broken.restore()

        assert in_child(old_kernel) == 0
        assert walked(found.root / "app") == broken.then
        broken.assert_converges()


@pytest.mark.parametrize("forever", [False, True])
def test_a_full_disk_at_any_change_leaves_old_or_new_and_says_so(forever: bool) -> None:
    """ENOSPC once, or from there on: an error of ours, no half file, and the next call converges."""
    with world() as found:
        broken = Broken(found)
        counting = CountingTap()
        broken.restore(counting)
        for point in range(1, len(counting.points) + 1):
            broken.again()
            with pytest.raises(RollbackError):
                broken.restore(Failing(point, forever))
            broken.assert_old_or_new()
            broken.assert_converges()


def test_a_damaged_object_stops_the_restore_before_the_first_change() -> None:
    """Everything is staged and hashed first; the error names the object, the tree is untouched."""
    with world() as found:
        broken = Broken(found)
        (pack,) = (found.state / "store/packs").iterdir()
        data = bytearray(pack.read_bytes())
        at = data.index(b"deep")
        data[at] ^= 1
        pack.write_bytes(data)
        with found.open() as checkpoints:
            with pytest.raises(ObjectCorrupt):
                checkpoints.restore("then", "app", step="s")
            assert walked(found.root / "app") == broken.now
            assert list((found.state / "intents").iterdir()) == []
            assert not (found.state / "quarantine/s").exists() or not any(
                (found.state / "quarantine/s").iterdir()
            )


def test_a_changed_file_of_the_same_size_and_time_is_found() -> None:
    """What a stat comparison misses."""
    with world() as found:
        build(os.fsencode(found.root / "app"), {b"f": ("file", b"x", (0o644, 5, OWNERS[0]))})
        with found.open() as checkpoints:
            checkpoints.create("then")
            (found.root / "app/f").write_bytes(b"y")
            os.utime(found.root / "app/f", ns=(5, 5))
            (change,) = checkpoints.restore("then", "app", step="s")
            assert (change.path, change.what, change.why) == (b"app/f", "modify", "bytes")
            assert (found.root / "app/f").read_bytes() == b"x"


def test_what_is_excluded_is_neither_captured_nor_changed_nor_moved() -> None:
    """An excluded file inside an extra folder stays where it is, and so does its folder."""
    with world(app=component("app", exclude=("*.log", "cache"))) as found:
        build(os.fsencode(found.root / "app"), {b"f": ("file", b"x", (0o644, 5, OWNERS[0]))})
        with found.open() as checkpoints:
            checkpoints.create("then")
            for name in ("extra/in.log", "extra/in.txt", "cache/deep/f", "top.log", "whole/x"):
                (found.root / "app" / name).parent.mkdir(parents=True, exist_ok=True)
                (found.root / "app" / name).write_text(name)
            said = checkpoints.restore("then", "app", step="s")
            assert {change.path for change in said.removes} == {b"app/extra/in.txt", b"app/whole"}
        assert set(walked(found.root / "app")) == {
            b".", b"f", b"extra", b"extra/in.log", b"cache", b"cache/deep", b"cache/deep/f",
            b"top.log"}  # fmt: skip


def test_the_tools_own_state_inside_the_component_survives() -> None:
    """A component that is the whole root holds the state directory: it is left alone."""
    with world(all=component(".")) as found:
        found.state.rmdir()
        inside = World(found.base, found.components)
        state = found.root / ".rollback"
        state.mkdir(mode=0o700)
        (found.root / "f").write_text("then")
        host = Host()
        from rollback.keep.checkpoint import Checkpoints

        with host.tree(str(state)) as tree, Checkpoints(inside.system(), host, tree) as checkpoints:
            made = checkpoints.create("then")
            names = {entry.path for entry in checkpoints.entries(made.id, "all")}
            assert names == {b".", b"f"}
            assert checkpoints.manifest(made.id, "all").meta["not_captured"] == [
                {"path": ".rollback", "type": "the tool's own"}]  # fmt: skip
            (found.root / "f").write_text("now")
            (found.root / "g").write_text("extra")
            checkpoints.restore("then", "all", step="s")
            assert (found.root / "f").read_text() == "then"
            assert (state / "quarantine/s/kept/g").read_text() == "extra"
            assert checkpoints.get("then").target


def test_special_files_are_named_and_left_alone() -> None:
    """A FIFO is never opened; it is listed as not captured and stays."""
    with world() as found:
        build(os.fsencode(found.root / "app"), {b"f": ("file", b"x", (0o644, 5, OWNERS[0]))})
        os.mkfifo(found.root / "app/pipe")
        with found.open() as checkpoints:
            made = checkpoints.create("then")
            assert made.target
            meta = checkpoints.manifest(made.id, "app").meta
            assert meta["not_captured"] == [{"path": "pipe", "type": "fifo"}]
            (found.root / "app/f").unlink()
            said = checkpoints.restore("then", "app", step="s")
            assert said.notes == ("app/pipe: a fifo is left as it is",)
        assert (found.root / "app/pipe").is_fifo()


def test_names_elsewhere_are_never_changed_through_a_hard_link() -> None:
    """A file that also has a name outside is replaced, not re-moded: the outsider stays as it is."""
    with world() as found:
        build(os.fsencode(found.root / "app"), {b"f": ("file", b"x", (0o600, 5, OWNERS[0]))})
        with found.open() as checkpoints:
            checkpoints.create("then")
            outside = found.base / "outside"
            outside.write_bytes(b"x")
            outside.chmod(0o644)
            os.utime(outside, ns=(9, 9))
            (found.root / "app/f").unlink()
            os.link(outside, found.root / "app/f")
            before = walked(outside)
            checkpoints.restore("then", "app", step="s")
            assert walked(outside) == before
            assert (found.root / "app/f").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_way_is_replaced_and_never_followed() -> None:
    """A folder that became a link to elsewhere: elsewhere is untouched."""
    spec = {b"d": ("folder", {b"f": ("file", b"x", (0o644, 5, OWNERS[0]))}, (0o755, 5, OWNERS[0]))}
    with world() as found:
        build(os.fsencode(found.root / "app"), spec)
        wanted = walked(found.root / "app")
        with found.open() as checkpoints:
            checkpoints.create("then")
            elsewhere = found.base / "elsewhere"
            elsewhere.mkdir()
            (elsewhere / "f").write_text("keep me")
            before = walked(elsewhere)
            shutil.rmtree(found.root / "app/d")
            (found.root / "app/d").symlink_to(elsewhere)
            checkpoints.restore("then", "app", step="s")
            assert walked(elsewhere) == before
        assert walked(found.root / "app") == wanted
        assert os.readlink(found.state / "quarantine/s/kept/d") == str(elsewhere)


def test_a_deep_tree_and_long_paths() -> None:
    """Deeper than one path may be long, and than a process may have files open."""
    with world() as found:
        app = found.root / "app"
        app.mkdir()
        fd = os.open(app, os.O_RDONLY)
        for _ in range(1300):
            os.mkdir("dddd", dir_fd=fd)
            below_fd = os.open("dddd", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below_fd
        os.close(os.open("leaf", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
        with found.open() as checkpoints:
            made = checkpoints.create("then")
            assert len(list(checkpoints.entries(made.id, "app"))) == 1302
            os.unlink("leaf", dir_fd=fd)
            os.close(fd)
            said = checkpoints.restore("then", "app", step="s")
            assert [change.path[-9:] for change in said.adds] == [b"dddd/leaf"]
            assert not checkpoints.diff("then")


def test_sparse_files_stay_sparse() -> None:
    """A hole comes back as a hole."""
    with world() as found:
        (found.root / "app").mkdir()
        with (found.root / "app/sparse").open("wb") as file:
            file.write(b"head")
            file.truncate(64 * 2**20)
        with found.open() as checkpoints:
            checkpoints.create("then")
            wanted = walked(found.root / "app")
            (found.root / "app/sparse").unlink()
            checkpoints.restore("then", "app", step="s")
        assert walked(found.root / "app")[b"sparse"] == wanted[b"sparse"]
        assert (found.root / "app/sparse").stat().st_blocks * 512 < 4 * 2**20


def test_a_component_that_was_absent_goes_to_quarantine_and_one_that_is_gone_comes_back() -> None:
    """Also when the folder above it is gone."""
    with world(one=component("x/y/one"), two=component("two")) as found:
        build(os.fsencode(found.root / "x/y/one"), CASES_THEN)
        wanted = walked(found.root / "x/y/one")
        with found.open() as checkpoints:
            checkpoints.create("then")
            shutil.rmtree(found.root / "x")
            (found.root / "two").mkdir()
            (found.root / "two/f").write_text("kept")
            checkpoints.restore("then", "one", step="s1")
            checkpoints.restore("then", "two", step="s2")
        assert walked(found.root / "x/y/one") == wanted
        assert not (found.root / "two").exists()
        assert (found.state / "quarantine/s2/kept/two/f").read_text() == "kept"


class Given:
    """A source made by hand, as git trees are: no owners, no times, no folders."""

    def __init__(self, given: dict[bytes, bytes], **more: Any) -> None:
        self.given = given
        self.more = more

    def entries(self) -> list[Entry]:
        return [Entry(path, "file", 0o644, size=len(data), **self.more)
                for path, data in self.given.items()]  # fmt: skip

    def read(self, entry: Entry) -> list[bytes]:
        return [self.given[entry.path]]


def restored(found: World, source: Given, **given: Any) -> Changes:
    (found.state / "q").mkdir(exist_ok=True)
    with tree_of(found.root) as root, tree_of(found.state) as state, state.sub("q") as quarantine:
        return put_back(source, root, at=b"app", quarantine=quarantine,
                        intent=Intent(state, "i"), **given)  # fmt: skip


def test_a_source_without_owners_times_and_folders_leaves_those_as_they_are() -> None:
    """As a git tree is; only the listed extra paths go when asked so."""
    with world() as found:
        (found.root / "app/d").mkdir(parents=True)
        for name in ("d/f", "untracked", "d/tracked-now-gone"):
            (found.root / "app" / name).write_text("old")
        source = Given({b"d/f": b"new", b"e/g": b"g"})
        gone = frozenset({b"d/tracked-now-gone"})
        with tree_of(found.root) as root:
            said = changes(source, root, at=b"app", removes=gone)
        assert restored(found, source, removes=gone) == said
        assert [str(change) for change in said] == [
            "- app/d/tracked-now-gone", "~ app/d/f  (bytes)", "+ app/e", "+ app/e/g"
        ] or {str(change) for change in said} == {
            "- app/d/tracked-now-gone", "~ app/d/f  (bytes)", "+ app/e", "+ app/e/g"}  # fmt: skip
        assert (found.root / "app/untracked").read_text() == "old"
        assert (found.root / "app/d/f").read_text() == "new"
        assert (found.root / "app/e").stat().st_mode & 0o777 == 0o755
        assert not restored(found, source, removes=gone)


def test_a_source_that_gives_other_bytes_than_promised_is_refused() -> None:
    """The hash is over what was staged, not over what was said."""
    with world() as found:
        (found.root / "app").mkdir()
        with pytest.raises(ObjectCorrupt):
            restored(found, Given({b"f": b"evil"}, sha256="0" * 64))
        assert set(walked(found.root / "app")) == {b"."}


@pytest.mark.parametrize("path", [b"../out", b"/etc/x", b"a/../../x", b".rollback-tmp-1"])
def test_a_hostile_source_is_refused_before_anything(path: bytes) -> None:
    """Names that leave the component, or are ours."""
    with world() as found:
        (found.root / "app").mkdir()
        with pytest.raises(Confined):
            restored(found, Given({path: b"x"}))
        assert set(walked(found.root)) == {b".", b"app"}


def test_no_space_no_restore() -> None:
    """Space times a factor and a reserve are asked for before the first write."""
    with world() as found:
        (found.root / "app").mkdir()
        with pytest.raises(Refused, match="disk"):
            restored(found, Given({b"f": b"x"}), limits=Limits(reserve_bytes=2**60))
        assert set(walked(found.root / "app")) == {b"."}


def test_setuid_is_refused_unless_allowed() -> None:
    """A file that runs as its owner does not come back by accident."""
    with world() as found:
        (found.root / "app").mkdir()
        (found.root / "app/s").write_text("x")
        (found.root / "app/s").chmod(0o4755)
        with found.open() as checkpoints:
            checkpoints.create("then")
            assert not checkpoints.restore("then", "app", step="s")
            (found.root / "app/s").chmod(0o755)
            with pytest.raises(Refused, match="setuid"):
                checkpoints.restore("then", "app", step="s")
            checkpoints.restore("then", "app", step="s", limits=Limits(setuid=True))
        assert (found.root / "app/s").stat().st_mode & 0o7777 == 0o4755


def test_an_unreadable_live_file_is_an_error_of_ours() -> None:
    """EIO while comparing: said, with the place, and nothing done."""
    with world() as found, tree_of(found.root) as root:
        (found.root / "app").mkdir()
        root.close()
        with pytest.raises(HostError):
            changes(Given({b"f": b"x"}), root, at=b"app")
