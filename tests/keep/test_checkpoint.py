"""Checkpoints: a listed one is restorable, whatever dies, fills up or rots meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback.host import Tap
from rollback.host.looking import Reading
from rollback.keep import capture, pending
from rollback.keep.content import Site
from rollback.keep.life import Life
from rollback.model.errors import (
    Confined,
    ObjectCorrupt,
    Partial,
    PlanError,
    RollbackError,
    RunLocked,
    UsageError,
)
from rollback.model.finding import Answer
from tests.keep.standin import World, component, settle, walked
from tests.killed import KILLED, CountingTap, DyingTap, Failing, in_child, shots

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="checkpoint-"))
    base.chmod(0o755)
    found = World(base, {"app": component("app"), "conf": component("conf.txt", order=1)}).make()
    (found.root / "app/sub").mkdir(parents=True)
    (found.root / "app/f").write_text("then")
    (found.root / "app/sub/g").write_bytes(os.urandom(3000))
    (found.root / "conf.txt").write_text("conf")
    yield found
    shutil.rmtree(base)


def restored_whole(world: World, wanted: str, then: dict[bytes, object]) -> None:
    """Every component put back into an empty root is what it was."""
    for path in world.root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with world.open() as checkpoints:
        for name in world.components:
            checkpoints.restore(wanted, name, step=f"r-{name}")
    now = walked(world.root)
    assert {path: seen for path, seen in now.items() if path != b"."} == {
        path: seen for path, seen in then.items() if path != b"."}  # fmt: skip


def test_a_checkpoint_is_named_by_the_digest_of_its_record(world: World) -> None:
    """`sha256sum` of the record is the id, of a manifest's object the manifest digest."""
    with world.open() as checkpoints:
        made = checkpoints.create("first", reason="before the release")
        record = world.state / f"store/checkpoints/{made.id}.json"
        assert hashlib.sha256(record.read_bytes()).hexdigest() == made.id
        assert stat.S_IMODE(record.stat().st_mode) == 0o600
        assert (made.name, made.kind, made.state, made.target) == ("first", "manual", "whole", True)
        for name, digest in made.components.items():
            assert hashlib.sha256(checkpoints.store.get(digest)).hexdigest() == digest
            assert checkpoints.manifest("first", name).digest == digest
        assert made.size_bytes == 4 + 3000 + 4


@pytest.mark.requirement("MB-37")
def test_the_newest_is_listed_first_and_found_by_id_beginning_or_name(world: World) -> None:
    """Ids differ though nothing changed; an unknown one is refused with the nearest name."""
    with world.open() as checkpoints:
        first = checkpoints.create("release-1")
        second = checkpoints.create(kind="safety")
        assert [one.id for one in checkpoints.list()] == [second.id, first.id]
        assert first.id != second.id
        assert checkpoints.get("release-1").id == first.id
        assert checkpoints.get(second.id[:10]).id == second.id
        assert checkpoints.last_good().id == first.id
        with pytest.raises(PlanError) as caught:
            checkpoints.get("release-2")
        assert "release-1" in caught.value.hint


def test_newest_is_the_last_whole_one_that_is_no_copy_of_a_broken_present(world: World) -> None:
    """As a word where an id is asked for; a checkpoint that bears the name goes first."""
    with world.open() as checkpoints:
        with pytest.raises(PlanError):
            checkpoints.get("newest")
        checkpoints.create("one")
        two = checkpoints.create()
        checkpoints.create("aside", kind="safety")
        assert checkpoints.get("newest").id == two.id
        named = checkpoints.create("newest")
        checkpoints.create("later")
        assert checkpoints.get("newest").id == named.id


def test_a_name_is_given_once(world: World) -> None:
    """The second checkpoint of a name is refused; after deletion the name is free."""
    with world.open() as checkpoints:
        checkpoints.create("n")
        with pytest.raises(UsageError, match="already taken"):
            checkpoints.create("n")
        Life(checkpoints).delete("n")
        checkpoints.create("n")
        with pytest.raises(UsageError, match="no component"):
            checkpoints.create("m", components=("nothing",))


@pytest.mark.requirement("MB-39", "MB-43")
def test_one_component_goes_back_alone(world: World) -> None:
    """The others stay as they are now."""
    with world.open() as checkpoints:
        checkpoints.create("then")
        (world.root / "app/f").write_text("now")
        (world.root / "conf.txt").write_text("now")
        assert {change.path for change in checkpoints.diff("then")} == {b"app/f", b"conf.txt"}
        checkpoints.restore("then", "app", step="s")
        assert (world.root / "app/f").read_text() == "then"
        assert (world.root / "conf.txt").read_text() == "now"
        assert [change.path for change in checkpoints.diff("then", "conf")] == [b"conf.txt"]


@pytest.mark.parametrize(("how", "packs"), [
    ("before", 1), ("after", 1), ("torn", 1), ("before", 4), ("torn", 4)])  # fmt: skip
def test_killed_at_any_change_of_a_capture_only_whole_checkpoints_are_listed(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str, packs: int
) -> None:
    """What lists can be put back; the next capture works and sweeps what the dead one left.

    Of several packs, all but the last are written while the capture goes on.
    """
    then = walked(world.root)
    with world.open() as checkpoints:
        checkpoints.create("base")
    if packs > 1:
        monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 2000 // packs)
        monkeypatch.setattr(pending, "_BATCH_BYTES", 100)
        monkeypatch.setattr(pending, "_BATCHES_MAX", 0)
    for number in range(packs):
        (world.root / f"app/new{number}").write_bytes(os.urandom(2000 // packs))
    later = walked(world.root)
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)

    def create(tap: Tap) -> None:
        with world.open(tap) as checkpoints:
            checkpoints.create("next")

    counting = CountingTap()
    create(counting)
    assert len(counting.points) >= 10
    made = [point for point in counting.points if point.call == "rename" and ".pack" in point.where]
    assert len(made) >= packs
    for point in [number for number, mode in shots(counting.points) if mode == how]:
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point: create(DyingTap(at, how))) == KILLED  # type: ignore[misc]
        with world.open() as checkpoints:
            for one in checkpoints.list():
                assert one.target
                assert {found.answer for found in checkpoints.verify(one.id, deep=True)} == {
                    Answer.PASS
                }
            if "next" not in {one.name for one in checkpoints.list()}:
                checkpoints.create("next")
            left = [path for path in world.state.rglob("*") if ".rollback-tmp-" in path.name]
            assert left == []
        if point % 5 == 0:
            saved_root = world.base / "root-saved"
            shutil.copytree(world.root, saved_root, symlinks=True)
            restored_whole(world, "next", later)
            shutil.rmtree(world.root)
            saved_root.rename(world.root)
            for path, seen in sorted(later.items(), reverse=True):
                os.utime(os.fsencode(world.root) + b"/" + path, ns=(seen[3], seen[3]))
    restored_whole(world, "base", then)


@pytest.mark.parametrize("forever", [False, True])
def test_a_full_disk_at_any_change_of_a_capture_lists_nothing_half(
    world: World, forever: bool
) -> None:
    """Either the checkpoint is there and whole, or an error of ours and none."""
    counting = CountingTap()
    with world.open(counting) as checkpoints:
        checkpoints.create()
    shutil.rmtree(world.state)
    world.state.mkdir(mode=0o700)
    said = set()
    for point in range(1, len(counting.points) + 1):
        shutil.rmtree(world.state)
        world.state.mkdir(mode=0o700)
        failed = False
        try:
            with world.open(Failing(point, forever)) as checkpoints:
                checkpoints.create("x")
        except RollbackError:
            failed = True
        with world.open() as checkpoints:
            for one in checkpoints.list():
                assert all(found.answer is Answer.PASS for found in checkpoints.verify(one.id))
            assert failed or checkpoints.list(), "said to be done"
            if not checkpoints.list():
                checkpoints.create("x")
            assert checkpoints.get("x").target
        said.add(failed)
    assert said == {True, False}, "a cache that cannot be written fails no checkpoint; a pack does"


def test_every_flipped_bit_of_the_store_is_found_and_named(world: World) -> None:
    """A record, a manifest or a file's bytes: verify fails or the list says why; never served."""
    with world.open() as checkpoints:
        made = checkpoints.create("then")
    (pack,) = (world.state / "store/packs").iterdir()
    record = world.state / f"store/checkpoints/{made.id}.json"
    for path in (pack, record):
        whole = path.read_bytes()
        for at in range(0, len(whole), 13 if path == pack else 29):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with world.open() as checkpoints:
                (listed,) = checkpoints.list()
                findings = checkpoints.verify(made.id[:16], deep=True)
                bad = [found for found in findings if found.answer is Answer.FAIL]
                assert bad, (path, at)
                assert any(name in found.evidence for found in bad
                           for name in (path.stem, "object")), bad  # fmt: skip
                if path == record:
                    assert (listed.state, listed.target) == ("damaged", False)
        path.write_bytes(whole)
    with world.open() as checkpoints:
        assert all(found.answer is Answer.PASS for found in checkpoints.verify("then", deep=True))


def test_a_missing_pack_makes_a_checkpoint_no_target_and_others_stay(world: World) -> None:
    """The list says so before anybody relies on it."""
    with world.open() as checkpoints:
        first = checkpoints.create("first")
        (world.root / "app/f").write_text("changed")
        second = checkpoints.create("second")
    packs = sorted(
        (world.state / "store/packs").iterdir(), key=lambda path: path.stat().st_mtime_ns
    )
    packs[1].unlink()
    with world.open() as checkpoints:
        listed = {one.id: one for one in checkpoints.list()}
        assert listed[first.id].target
        assert not listed[second.id].target
        assert "missing" in listed[second.id].problems[0] or "not in the store" in str(
            listed[second.id].problems[0])  # fmt: skip
        assert checkpoints.last_good().id == first.id
        before = walked(world.root)
        with pytest.raises(RollbackError):
            checkpoints.restore("second", "app", step="s")
        assert walked(world.root) == before


def test_a_bad_new_copy_is_noticed_before_the_record_is_written(world: World) -> None:
    """What a disk gives back is hashed before anything is claimed."""

    class Rotting(CountingTap):
        """The bytes of a pack change after they were written and synced."""

        def change(self, call, where, do, torn=None):  # type: ignore[no-untyped-def]
            done = super().change(call, where, do, torn)
            if call == "rename" and os.fsencode(where).endswith(b".pack"):
                path = where if isinstance(where, bytes) else os.fsencode(where)
                if not path.startswith(b"/"):
                    path = os.fsencode(world.state / "store") + b"/" + path
                data = bytearray(Path(os.fsdecode(path)).read_bytes())
                data[80] ^= 1
                Path(os.fsdecode(path)).write_bytes(data)
            return done

    with world.open(Rotting()) as checkpoints, pytest.raises(ObjectCorrupt):
        checkpoints.create("x")
    with world.open() as checkpoints:
        assert checkpoints.list() == ()


def test_what_cannot_be_read_makes_it_partial_with_the_path(world: World) -> None:
    """PARTIAL is written, named, and never a target; the name stays free."""
    secret = world.root / "app/secret"
    secret.write_text("s")
    secret.chmod(0o000)
    for path in [world.base, *world.base.rglob("*")]:
        os.chown(path, 65534, 65534) if os.geteuid() == 0 else None

    def create() -> None:
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        with world.open() as checkpoints:
            with pytest.raises(Partial) as caught:
                checkpoints.create("p")
            assert caught.value.paths == ("app: secret: Permission denied",)
            made = checkpoints.create("p", allow_partial=True)
            assert (made.state, made.target) == ("partial", False)
            assert checkpoints.last_good() is None
            with pytest.raises(Partial):
                checkpoints.restore(made.id, "app", step="s")
            checkpoints.restore(made.id, "conf", step="s")

    assert in_child(create) == 0


def test_a_file_that_never_holds_still_makes_it_partial(world: World) -> None:
    """Three tries, then its path is named; a torn read is never stored as the file."""
    restless = world.root / "app/restless"
    with restless.open("wb") as file:
        file.truncate(150 * 2**20)  # long enough to read that the writer gets its turn meanwhile
    script = (
        "import sys\nf = open(sys.argv[1], 'r+b', 0)\nprint('on', flush=True)\n"
        "while 1: f.seek(0); f.write(b'1')"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(restless)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        with world.open() as checkpoints, pytest.raises(Partial) as caught:
            checkpoints.create("p")
        assert caught.value.paths == ("app: restless: changed while it was read",)
    finally:
        writer.kill()
        writer.wait()
        if writer.stdout is not None:
            writer.stdout.close()


def test_names_that_come_behind_the_walks_back_make_it_partial(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that appears in a folder already listed would be missed silently: it is not."""
    real, came = capture.read_steadily, 0

    def meanwhile(site: Site, full: bytes) -> object:
        nonlocal came
        if full.startswith(b"app/sub/"):
            came += 1
            (world.root / f"app/sub/new{came}").write_text("new")
        return real(site, full)

    monkeypatch.setattr(capture, "read_steadily", meanwhile)
    with world.open() as checkpoints:
        with pytest.raises(Partial) as caught:
            checkpoints.create("p")
        assert caught.value.paths == ("app: sub: names changed while it was read",)
        assert came >= capture.TRIES


@pytest.mark.parametrize("times", [1, 2, capture.TRIES])
def test_a_checkpoint_never_mixes_what_stood_at_two_moments(
    world: World, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Both files are rewritten in place when one is read and the other is not: old and new never mix."""
    first, last = world.root / "app/a/f", world.root / "app/b/g"
    for path in (first, last):
        path.parent.mkdir()
        path.write_text("version 0")
    real, turn = capture.read_steadily, 0

    def meanwhile(site: Site, full: bytes) -> object:
        nonlocal turn
        if full == b"app/b/g" and turn < times:
            turn += 1
            first.write_text(f"version {turn}")
            last.write_text(f"version {turn}")
        return real(site, full)

    monkeypatch.setattr(capture, "read_steadily", meanwhile)
    with world.open() as checkpoints:
        if times == capture.TRIES:
            with pytest.raises(Partial) as caught:
                checkpoints.create("then")
            assert caught.value.paths == tuple(f"app: {name}: changed while it was read"
                                               for name in ("a/f", "b/g"))  # fmt: skip
            return
        made = checkpoints.create("then")
        checkpoints.restore(made.id, "app", step="s")
        assert (first.read_text(), last.read_text()) == (f"version {times}",) * 2


def test_only_what_moved_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reading opens the file that was rewritten, and not the others."""
    app = world.root / "app"
    (app / "a").mkdir()
    for number in range(20):
        (app / f"a/{number:02}").write_text("x")
    settle(world)
    read: list[bytes] = []
    real = capture.read_steadily

    def meanwhile(site: Site, full: bytes) -> object:
        read.append(full)
        if full == b"app/f" and read.count(full) == 1:
            (app / "a/07").write_text("y")
        return real(site, full)

    monkeypatch.setattr(capture, "read_steadily", meanwhile)
    with world.open() as checkpoints:
        checkpoints.create("then", components=("app",))
        again = read[len(set(read)) :]
        assert again == [b"app/a/07"]
        assert checkpoints.diff("then") == ()


def test_a_link_where_a_component_should_be_is_kept_as_a_link(world: World) -> None:
    """The link is captured, not what it leads to; a link above the component is refused."""
    shutil.rmtree(world.root / "app")
    (world.base / "elsewhere").mkdir()
    (world.base / "elsewhere/app").mkdir()
    (world.root / "app").symlink_to(world.base / "elsewhere")
    with world.open() as checkpoints:
        made = checkpoints.create("l")
        (entry,) = checkpoints.entries(made.id, "app")
        assert entry.kind == "symlink"
        world.components["app"].path = "app/app"
        with pytest.raises(Confined):
            checkpoints.create("m")


def test_deleting_keeps_what_others_need(world: World) -> None:
    """Packs go when no record needs them, and not before."""
    with world.open() as checkpoints:
        checkpoints.create("first")
        (world.root / "app/f").write_text("changed")
        checkpoints.create("second")
        (world.root / "app/f").write_text("again")
        checkpoints.create("third")
        assert len(checkpoints.store.packs()) == 3
        Life(checkpoints).delete("third")
        assert len(checkpoints.store.packs()) == 2
        Life(checkpoints).delete("first")
        assert all(found.answer is Answer.PASS for found in checkpoints.verify("second"))
        Life(checkpoints).delete("second")
        assert checkpoints.store.packs() == ()
        assert checkpoints.list() == ()


def test_nothing_is_removed_while_a_record_cannot_be_read(world: World) -> None:
    """Who knows what the unreadable one needs."""
    with world.open() as checkpoints:
        first = checkpoints.create("first")
        (world.root / "app/f").write_text("changed")
        checkpoints.create("second")
        (world.state / f"store/checkpoints/{first.id}.json").write_bytes(b"{}")
        before = checkpoints.store.packs()
        Life(checkpoints).delete("second")
        assert checkpoints.store.packs() == before


def test_two_captures_at_once_take_turns(world: World) -> None:
    """The second waits for the first, or says that the store is locked."""
    with world.open() as one, world.open() as other, one.store.lock():
        with pytest.raises(RunLocked):
            with other.store.place.lock(within_s=0.1):
                pass


def test_a_checkpoint_of_another_system_is_no_target(world: World) -> None:
    """Stores do not mix systems."""
    with world.open() as checkpoints:
        checkpoints.create("first")
        checkpoints._system.system.id = "other"
        assert not checkpoints.list()[0].target
        with pytest.raises(PlanError, match="another system"):
            checkpoints.restore("first", "app", step="s")


def test_a_kind_of_content_that_is_not_built_makes_it_partial(world: World) -> None:
    """Honest: what cannot be captured is named."""
    world.components["pg"] = component("pg", content="redis")
    with world.open() as checkpoints, pytest.raises(Partial, match="PARTIAL"):
        checkpoints.create("x")


def test_a_file_system_that_gives_less_at_a_time_than_was_asked_for_is_read_to_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those over a network and in user space may: the file is whole, and so is the checkpoint."""
    (world.root / "app/short").write_bytes(os.urandom(5000))
    at, read = Reading.at, os.read
    monkeypatch.setattr(Reading, "at", lambda self, offset, size: at(self, offset, min(size, 1000)))
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 1000)))
    with world.open() as checkpoints:
        made = checkpoints.create("short")
        assert made.state == "whole"
        assert all(found.answer is Answer.PASS for found in checkpoints.verify(made.id, deep=True))
