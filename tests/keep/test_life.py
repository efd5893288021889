"""The end of checkpoints: what is freed was needed by none, whenever the freeing dies."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollback.host import Tap
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.checkpoint_record import Checkpoint
from rollback.keep.life import Life
from rollback.keep.retention import judged
from rollback.keep.stat_cache import RACY_NS
from rollback.model.errors import PlanError, StoreError, UsageError
from rollback.model.finding import Answer
from rollback.model.operations import CheckpointKind
from tests.keep.standin import World, component, walked
from tests.killed import KILLED, CountingTap, DyingTap, Failing, in_child, shots

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
FILES = 12
HOURLY = CheckpointKind(on="schedule", every="1h", retention="1h")
KINDS = {"hourly": HOURLY, "named": CheckpointKind(on="manual", retention="1h")}


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="life-"))
    base.chmod(0o755)
    found = World(base, {"app": component("app"), "conf": component("conf.txt", order=1)}).make()
    (found.root / "app/sub").mkdir(parents=True)
    fill(found, range(FILES))
    (found.root / "conf.txt").write_text("conf")
    yield found
    shutil.rmtree(base)


def fill(world: World, numbers: Any) -> None:
    """Bytes that nothing can compress in these files."""
    for number in numbers:
        (world.root / f"app/sub/{number}").write_bytes(os.urandom(3000))


def store_bytes(world: World) -> int:
    return sum(path.stat().st_size for path in (world.state / "store/packs").iterdir())


def emptied(world: World) -> None:
    for path in world.root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def all_whole(world: World, then: dict[str, dict[bytes, Any]]) -> None:
    """Every listed checkpoint is read to its last byte, and put back is what it was."""
    with world.open() as checkpoints:
        for one in checkpoints.list():
            assert one.target, one.problems
            assert all(x.answer is Answer.PASS for x in checkpoints.verify(one.id, deep=True))
            emptied(world)
            for name in one.parts:
                checkpoints.restore(one.id, name, step=f"r-{name}")
            now = walked(world.root)
            now.pop(b".")
            assert now == then[one.id]


def seen(world: World) -> dict[bytes, Any]:
    found = walked(world.root)
    found.pop(b".")
    return found


def thin(world: World) -> tuple[Checkpoint, Checkpoint]:
    """Two checkpoints; of the pack of the first, the second needs one file alone."""
    with world.open() as checkpoints:
        first = checkpoints.create(kind="hourly")
        fill(world, range(1, FILES))
        second = checkpoints.create("second")
    return first, second


def later(checkpoints: Checkpoints, by: timedelta) -> Life:
    """The life of the checkpoints, that much later."""
    real = checkpoints.host.clock
    clock = SimpleNamespace(now=lambda: real.now() + by, poll=real.poll, boot_s=real.boot_s,
                            boot=real.boot, sleep=real.sleep)  # fmt: skip
    checkpoints.host = SimpleNamespace(clock=clock)
    return Life(checkpoints)


def test_a_pack_of_which_little_is_needed_is_rewritten_and_what_it_frees_was_told(
    world: World,
) -> None:
    """The figure of the dry run is the figure of the doing, to the byte."""
    first, second = thin(world)
    then = {second.id: seen(world)}
    before = store_bytes(world)
    with world.open() as checkpoints:
        old = set(checkpoints.store.packs())
        life = later(checkpoints, timedelta(hours=2))
        would = life.look(KINDS, {})
        assert [one.id for one in would.going] == [first.id]
        assert store_bytes(world) == before
        assert len(would.collection.thin) == 1
        done = life.prune(KINDS, {})
        assert done.freed_bytes == would.collection.frees_bytes == before - store_bytes(world)
        assert done.freed_bytes > 3000 * (FILES - 2)
        assert len(set(checkpoints.store.packs()) - old) == 1
    all_whole(world, then)


@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_killed_at_any_change_of_a_pruning_every_listed_checkpoint_goes_back(
    world: World, how: str
) -> None:
    """And the next pruning ends what the dead one began; the next capture works too."""
    first, second = thin(world)
    with world.open() as checkpoints:
        (world.root / "conf.txt").write_text("other")
        third = checkpoints.create(kind="hourly", components=("conf",))
        (world.root / "conf.txt").write_text("newest")
        fourth = checkpoints.create("fourth")
    now = seen(world)
    with_second = {**now, b"conf.txt": now[b"conf.txt"]}
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)

    def prune(tap: Tap) -> None:
        with world.open(tap) as checkpoints:
            later(checkpoints, timedelta(hours=2)).prune(KINDS, {})

    counting = CountingTap()
    prune(counting)
    ended = store_bytes(world)
    points = [number for number, mode in shots(counting.points) if mode == how]
    assert len(points) >= (5 if how != "torn" else 1)
    for point in points:
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point: prune(DyingTap(at, how))) == KILLED  # type: ignore[misc]
        with world.open() as checkpoints:
            listed = {one.id for one in checkpoints.list()}
            assert {second.id, fourth.id} <= listed <= {first.id, second.id, third.id, fourth.id}
            for one in checkpoints.list():
                assert one.target, one.problems
                assert all(x.answer is Answer.PASS for x in checkpoints.verify(one.id, deep=True))
            emptied(world)
            for name in ("app", "conf"):
                checkpoints.restore("fourth", name, step=f"r-{name}")
            assert seen(world) == with_second
            assert checkpoints.create("after").target
            Life(checkpoints).delete("after")
        prune(Tap())
        with world.open() as checkpoints:
            assert {one.id for one in checkpoints.list()} == {second.id, fourth.id}
        assert store_bytes(world) == ended


def test_a_full_disk_at_any_change_of_a_pruning_loses_nothing(world: World) -> None:
    """It says so, and what is listed can be put back."""
    _, second = thin(world)
    then = {second.id: seen(world)}
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)

    def prune(tap: Tap) -> None:
        with world.open(tap) as checkpoints:
            later(checkpoints, timedelta(hours=2)).prune(KINDS, {})

    counting = CountingTap()
    prune(counting)
    for point in range(1, len(counting.points) + 1):
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point: prune(Failing(at, forever=True))) in (0, 7)  # type: ignore[misc]
        with world.open() as checkpoints:
            assert all(one.target for one in checkpoints.list())
            assert all(x.answer is Answer.PASS for x in checkpoints.verify("second", deep=True))
    prune(Tap())
    all_whole(world, then)


def test_looks_of_folders_do_not_vouch_for_what_was_freed(world: World) -> None:
    """A tree that the last capture saw lies on in a pack that others need, a file of it does not.

    The next capture reads that file again.
    """
    with world.open() as checkpoints:
        checkpoints.create("first", components=("app",))
        fill(world, [FILES])
        shutil.copy(world.root / f"app/sub/{FILES}", world.root / "conf.txt")
        changed_ns = max(path.stat().st_ctime_ns for path in world.root.rglob("*"))
        while time.time_ns() - changed_ns < 5 * RACY_NS:  # else nothing is believed of it
            time.sleep(0.01)
        checkpoints.create("second", components=("app",))
        checkpoints.create("third", components=("conf",))
    with world.open() as checkpoints:
        Life(checkpoints).delete("second")
        Life(checkpoints).delete("first")
        made = checkpoints.create("again")
        assert made.target
        assert checkpoints.get("again").target, checkpoints.get("again").problems
        then = {made.id: seen(world)}
        Life(checkpoints).delete("third")
    all_whole(world, then)


def test_the_looks_of_folders_stay_while_a_checkpoint_has_the_tree(world: World) -> None:
    """Freeing costs the next capture nothing when the newest checkpoint is kept."""
    thin(world)
    with world.open() as checkpoints:
        later(checkpoints, timedelta(hours=2)).prune(KINDS, {})
    assert (world.state / "cache/app.stat").exists()


def test_a_damaged_object_keeps_its_pack_and_stops_nothing_else(world: World) -> None:
    """What cannot be copied is not thrown away: a copy elsewhere may mend it some day."""
    first, _ = thin(world)
    with world.open() as checkpoints:
        (name,) = Life(checkpoints).look({}, {}).collection.thin or (None,)
        assert name is None
        old = set(checkpoints.store.packs())
        kept = (world.root / "app/sub/0").read_bytes()
    for path in (world.state / "store/packs").iterdir():
        data = path.read_bytes()
        at = data.find(kept)
        if at >= 0:
            damaged = path
            path.write_bytes(data[:at] + b"\0" + data[at + 1 :] if data[at] else b"\1" + data[at:])
    with world.open() as checkpoints:
        done = later(checkpoints, timedelta(hours=2)).prune(KINDS, {})
        assert [one.id for one in done.going] == [first.id]
        assert damaged.exists()
        assert damaged.stem in old & set(checkpoints.store.packs())
        (bad,) = [x for x in checkpoints.verify("second") if x.answer is not Answer.PASS]
        assert "sub/0" in str(bad.details["paths"])


def test_nothing_is_freed_while_a_tree_cannot_be_read(world: World) -> None:
    """Who knows what is in it."""
    thin(world)
    with world.open() as checkpoints:
        tree = checkpoints.manifest("second", "app").top.tree
        pack = world.state / f"store/packs/{checkpoints.store.pack_of(tree)}.pack"
        raw = bytearray(pack.read_bytes())
        at = raw.find(bytes.fromhex(tree)) + 60
        raw[at] ^= 1
        pack.write_bytes(raw)
    before = store_bytes(world)
    with world.open() as checkpoints:
        would = later(checkpoints, timedelta(hours=2)).look(KINDS, {})
        assert "not known" in would.collection.blocked
        assert later(checkpoints, timedelta(hours=2)).prune(KINDS, {}).freed_bytes == 0
    assert store_bytes(world) == before


# -- retention -----------------------------------------------------------------------------

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def one(identity: str, hours: float, kind: str = "hourly", **given: Any) -> Checkpoint:
    at = (NOW - timedelta(hours=hours)).isoformat()
    parts = {name: SimpleNamespace(damage="") for name in given.pop("parts", ("app",))}
    return Checkpoint(identity, given.pop("name", ""), kind, at, given.pop("state", "whole"),
                      parts=parts, **given)  # type: ignore[arg-type]  # fmt: skip


def going(*listed: Checkpoint, held: dict[str, str] | None = None, **kinds: Any) -> set[str]:
    told = judged(listed, kinds or KINDS, NOW, held or {})
    assert [x.checkpoint.id for x in told] == [x.id for x in listed]
    assert all(x.why for x in told)
    return {x.checkpoint.id for x in told if x.goes}


@pytest.mark.requirement("MB-36")
def test_what_a_person_named_is_kept_until_a_person_deletes_it() -> None:
    """However old, whatever its kind's retention; unnamed ones of the kind go."""
    listed = (one("new", 0), one("a", 9000, "manual", name="release"), one("b", 9000, "manual"))
    assert going(*listed) == {"b"}


def test_retention_ends_at_its_second() -> None:
    """A second before nothing goes."""
    assert going(one("new", 0), one("old", 1.0)) == {"old"}
    assert going(one("new", 0), one("old", 1.0 - 1 / 3600)) == set()


def test_the_newest_good_one_of_each_component_stays() -> None:
    """A partial, revoked, damaged or safety one does not take its place."""
    listed = (
        one("p", 2, state="partial"), one("r", 2.5, revoked="revoked by x"),
        one("s", 2.7, "safety"), one("m", 2.8, problems=("app: missing",)),
        one("good", 3), one("older", 4), one("conf", 50, parts=("conf",)),
    )  # fmt: skip
    gone = going(*listed, hourly=HOURLY, safety=CheckpointKind(on="rollback", retention="1h"))
    assert gone == {"p", "r", "s", "m", "older"}


def test_what_is_held_undeclared_kept_or_unreadable_stays() -> None:
    """And a clock that was set back lets nothing go."""
    listed = (
        one("new", 0), one("held", 90), one("other", 90, "unknown"), one("keep", 90, "keeps"),
        one("future", -5), one("damaged", 90, state="damaged"),
    )  # fmt: skip
    kinds = {**KINDS, "keeps": CheckpointKind(on="phase", retention="keep")}
    assert going(*listed, held={"held": "run r0001 goes back to it"}, **kinds) == set()


def test_a_safety_checkpoint_goes_as_the_kind_on_rollback_says() -> None:
    """Its name was given by a run, and is no person's."""
    kinds = {"before": CheckpointKind(on="rollback", retention="1h")}
    assert going(one("new", 0, "manual"), one("s", 2, "safety", name="safety-r0001"), **kinds) == {
        "s"}  # fmt: skip


# -- revoked -------------------------------------------------------------------------------


def test_a_revoked_checkpoint_is_listed_unchanged_and_never_put_back(world: World) -> None:
    """The record of the checkpoint is as it was; what says so is a file of its own, written once."""
    with world.open() as checkpoints:
        made = checkpoints.create("bad")
        before = (world.state / f"store/checkpoints/{made.id}.json").read_bytes()
        found = Life(checkpoints).revoke("bad", reason="it holds a leaked key", by="ada")
        assert "by ada" in found.revoked
        assert "leaked key" in found.revoked
        assert not found.target
        assert checkpoints.list()[0].revoked == found.revoked
        assert checkpoints.last_good() is None
        with pytest.raises(PlanError, match="revoked by ada"):
            checkpoints.restore("bad", "app", step="s")
        assert checkpoints.diff("bad") == ()
        with pytest.raises(UsageError, match="revoked by ada"):
            Life(checkpoints).revoke("bad", reason="other words", by="eve")
        with pytest.raises(UsageError, match="says why"):
            Life(checkpoints).revoke("bad", reason=" ", by="eve")
        assert (world.state / f"store/checkpoints/{made.id}.json").read_bytes() == before
        mark = world.state / f"store/checkpoints/{made.id}.revoked"
        mark.write_bytes(b"{")
        assert "damaged" in checkpoints.get("bad").revoked
        Life(checkpoints).delete("bad")
        assert not mark.exists()


@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_killed_at_any_change_a_checkpoint_is_revoked_or_not(world: World, how: str) -> None:
    """Never half; and it can be said again."""
    with world.open() as checkpoints:
        made = checkpoints.create("bad")

    def revoke(tap: Tap) -> None:
        with world.open(tap) as checkpoints:
            Life(checkpoints).revoke("bad", reason="bad", by="ada")

    mark = world.state / f"store/checkpoints/{made.id}.revoked"
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)
    counting = CountingTap()
    revoke(counting)
    for point in [number for number, mode in shots(counting.points) if mode == how]:
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point: revoke(DyingTap(at, how))) == KILLED  # type: ignore[misc]
        with world.open() as checkpoints:
            assert "damaged" not in checkpoints.get("bad").revoked
            assert mark.exists() == bool(checkpoints.get("bad").revoked)


@pytest.mark.parametrize(
    ("line", "says"),
    [(b"rollback-store 1\n", "put back what you need with the version that wrote it"),
     (b"rollback-store 3\n", "use the newer version"), (b"", "damaged"),
     (b"rollback-store\xff 2", "damaged")],
)  # fmt: skip
def test_a_store_of_another_format_is_refused_with_what_to_do(
    world: World, line: bytes, says: str
) -> None:
    """One line; nothing in it is touched."""
    with world.open() as checkpoints:
        checkpoints.create("then")
    (world.state / "store/format").write_bytes(line)
    before = {p: p.read_bytes() for p in (world.state / "store").rglob("*") if p.is_file()}
    with pytest.raises(StoreError) as caught, world.open():
        pass
    assert says in f"{caught.value} {caught.value.hint}"
    assert "\n" not in f"{caught.value} {caught.value.hint}"
    assert before == {p: p.read_bytes() for p in (world.state / "store").rglob("*") if p.is_file()}
