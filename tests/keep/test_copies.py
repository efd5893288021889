"""Copies: a checkpoint is in as many places as it has to be, or that is said; nothing is lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host, Tap
from rollback.keep.checkpoint import Checkpoint, Checkpoints
from rollback.keep.ciphered import Ciphered
from rollback.keep.copies import Copied, Copies
from rollback.keep.fetch import Fetched, fetch
from rollback.keep.life import Life
from rollback.keep.stores import folder
from rollback.model.errors import (
    ObjectCorrupt,
    RollbackError,
    RunLocked,
    StoreError,
    UsageError,
)
from rollback.model.finding import Answer
from rollback.model.operations import Checkpoints as Declared
from tests.keep.standin import World, component, walked
from tests.killed import KILLED, CountingTap, DyingTap, Failing, in_child, shots

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
KEY = "ab" * 32


def declared(**stores: Any) -> Declared:
    """Every kind of checkpoint goes to all of these stores."""
    assert folder
    return Declared.model_validate({"stores": stores})


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="copies-"))
    found = World(base, {"app": component("app"), "conf": component("conf.txt", order=1)}).make()
    found.checkpoints = declared(second={"folder": {"path": "second"}})
    (found.root / "app/sub").mkdir(parents=True)
    (found.root / "app/f").write_text("then")
    (found.root / "app/sub/g").write_bytes(os.urandom(3000))
    (found.root / "conf.txt").write_text("conf")
    yield found
    shutil.rmtree(base)


def copies(world: World, kept: Checkpoints, tap: Tap | None = None) -> Copies:
    host = Host(tap=tap or Tap())
    return Copies(world.system(), host, host.tree(str(world.state)), kept)


def make(
    world: World, name: str | None = None, tap: Tap | None = None
) -> tuple[Checkpoint, Copied]:
    """A checkpoint, copied; what became of the only place."""
    with world.open(tap) as kept:
        made = kept.create(name)
        (done,) = copies(world, kept, tap).make_good()
        return made, done


def standing(world: World) -> dict[str, str]:
    with world.open() as kept:
        found, _ = copies(world, kept).standing(kept.list())
        return {one: f"{how.there}/{how.needed}" for one, how in found.items()}


def brought(world: World, wanted: str | None = None) -> Fetched:
    with world.open() as kept:
        return fetch(kept, copies(world, kept), "small", "second", wanted)


def emptied(root: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.requirement("MB-62")
def test_a_lost_store_comes_back_from_the_mirror_and_restores(world: World) -> None:
    """The local store removed: fetched back, every object hashed, the root is what it was."""
    then = walked(world.root)
    made, done = make(world, "then")
    assert (done.checkpoints, done.problem) == ((made.id,), "")
    assert standing(world) == {made.id: "2/2"}
    shutil.rmtree(world.state / "store")
    assert brought(world) == Fetched((made.id,), ())
    emptied(world.root)
    with world.open() as kept:
        assert {one.answer for one in kept.verify("then", deep=True)} == {Answer.PASS}
        for name in world.components:
            kept.restore("then", name, step=name)
    now = walked(world.root)
    assert {path: now[path] for path in now if path != b"."} == {
        path: then[path] for path in then if path != b"."}  # fmt: skip


def test_a_mirror_is_a_store_that_a_stranger_reads(world: World, tmp_path: Path) -> None:
    """The same names, checked by sha256sum, private, and docs/extract.py takes it out."""
    make(world, "then")
    mirror = world.base / "second"
    for path in (*(mirror / "packs").iterdir(), *(mirror / "checkpoints").iterdir()):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name.partition(".")[0]
        assert path.stat().st_mode & 0o777 == 0o600
    assert mirror.stat().st_mode & 0o777 == 0o700
    import subprocess
    import sys

    script = Path(__file__).parents[2] / "docs/extract.py"
    subprocess.run([sys.executable, "-I", script, mirror, "then", "extract", "app", tmp_path / "out"],
                   check=True, timeout=60)  # fmt: skip
    assert walked(tmp_path / "out") == walked(world.root / "app")


def test_what_the_mirror_has_is_not_copied_again(world: World) -> None:
    """The second copy sends the packs that are new, the third nothing."""
    make(world)
    (world.root / "app/new").write_text("new")
    _, second = make(world)
    assert (len(second.checkpoints), second.packs) == (1, 1)
    with world.open() as kept:
        (third,) = copies(world, kept).make_good()
    assert third == Copied("second")


def test_a_mirror_that_is_away_stops_nothing_and_is_made_good(world: World) -> None:
    """The checkpoint lists and is a target; it says 1/2; the next copy brings both there."""
    world.checkpoints = declared(second={"folder": {"path": "disk/second"}})
    first, done = make(world)
    assert not done.checkpoints
    assert "no such folder" in done.problem
    assert standing(world) == {first.id: "1/2"}
    (world.base / "disk").mkdir()
    second, done = make(world)
    assert sorted(done.checkpoints) == sorted((first.id, second.id))
    assert standing(world) == {first.id: "2/2", second.id: "2/2"}


def test_looking_makes_nothing(world: World) -> None:
    """Neither a list nor a proof leaves a folder where none was."""
    with world.open() as kept:
        kept.create()
        found = copies(world, kept)
        _, problems = found.standing(kept.list())
        assert "no such folder" in problems["second"]
        assert [one.answer for one in found.verify(kept.list())] == [Answer.FAIL]
    assert not (world.base / "second").exists()


def test_a_revocation_goes_along_and_comes_back(world: World) -> None:
    """Made before the copy or after it: what may not be gone back to is not so when fetched."""
    early, _ = make(world, "early")
    with world.open() as kept:
        Life(kept).revoke("early", reason="leaks keys", by="op")
        late = kept.create("late")
        copies(world, kept).make_good()
        Life(kept).revoke("late", reason="leaks more", by="op")
        (done,) = copies(world, kept).make_good()
        assert (done.problem, done.checkpoints) == ("", ())
    shutil.rmtree(world.state)
    world.state.mkdir(mode=0o700)
    assert set(brought(world).checkpoints) == {early.id, late.id}
    with world.open() as kept:
        assert "leaks keys" in kept.get("early").revoked
        assert "leaks more" in kept.get("late").revoked
        Life(kept).delete("late")
        copies(world, kept).make_good()
    names = [path.name for path in world.base.glob("second/checkpoints/*")]
    assert sorted(names) == sorted([f"{early.id}.json", f"{early.id}.revoked"])


def test_two_state_directories_may_share_a_folder(world: World) -> None:
    """What one deletes stays for the other: packs go when no list there names them."""
    make(world, "one")
    mine = world.state
    other = World(world.base, world.components, world.checkpoints)
    mine.rename(world.base / "mine")
    mine.mkdir(mode=0o700)
    made, done = make(other, "two")
    assert done.problem == ""
    assert done.packs == 0, "the same bytes lie there already"
    mine.rename(world.base / "theirs")
    (world.base / "mine").rename(mine)
    with world.open() as kept:
        Life(kept).delete("one")
        (done,) = copies(world, kept).make_good()
        assert done.problem == ""
    assert [path.stem for path in world.base.glob("second/checkpoints/*")] == [made.id]
    shutil.rmtree(mine)
    mine.mkdir(mode=0o700)
    assert brought(world).checkpoints == (made.id,)


def test_a_mirror_that_lost_everything_is_not_taken_for_a_new_one(world: World) -> None:
    """An unmounted disk leaves an empty folder: nothing is written into it until it is adopted."""
    made, _ = make(world)
    emptied(world.base / "second")
    assert standing(world) == {made.id: "1/2"}
    with world.open() as kept:
        (done,) = copies(world, kept).make_good()
        assert "not mounted" in done.problem
        assert [*(world.base / "second").iterdir()] == []
        (done,) = copies(world, kept).make_good(("second",), adopt=True)
        assert done.checkpoints == (made.id,)


@pytest.mark.parametrize("what", ["packs", "lists", "checkpoints"])
def test_whatever_goes_missing_from_a_copy_is_seen_and_made_good(world: World, what: str) -> None:
    made, _ = make(world)
    for path in (world.base / "second" / what).iterdir():
        path.unlink()
    assert standing(world) == {made.id: "1/2"}
    with world.open() as kept:
        (found,) = copies(world, kept).verify(kept.list())
        assert found.answer is Answer.FAIL
        (done,) = copies(world, kept).make_good()
    assert done.problem == ""
    assert standing(world) == {made.id: "2/2"}


@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_killed_at_any_change_of_a_copy_nothing_half_counts(world: World, how: str) -> None:
    """A copy that counts can be fetched and is whole; the next copy goes on and leaves no litter."""
    with world.open() as kept:
        made = kept.create("then")
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)

    def make_copy(tap: Tap) -> None:
        with world.open(tap) as kept:
            copies(world, kept, tap).make_good()

    counting = CountingTap()
    make_copy(counting)
    assert len(counting.points) >= 12
    for point in [number for number, mode in shots(counting.points) if mode == how]:
        for folder_ in (world.state, world.base / "second"):
            shutil.rmtree(folder_, ignore_errors=True)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point: make_copy(DyingTap(at, how))) == KILLED  # type: ignore[misc]
        if standing(world) == {made.id: "2/2"}:
            with world.open() as kept:
                (found,) = copies(world, kept).verify(kept.list(), deep=True)
                assert found.answer is Answer.PASS, point
        with world.open() as kept:
            assert kept.get("then").target
            (done,) = copies(world, kept).make_good()
            assert done.problem == "", point
            (found,) = copies(world, kept).verify(kept.list(), deep=True)
            assert found.answer is Answer.PASS, point
        left = [
            path
            for path in world.base.rglob(".rollback-tmp-*")
            if saved not in path.parents and path.parent.name != "cache"
        ]
        assert left == [], point
        shutil.rmtree(world.state / "store")
        assert brought(world).checkpoints == (made.id,)


def fetched(world: World, tap: Tap) -> None:
    with world.open(tap) as kept:
        fetch(kept, copies(world, kept, tap), "small", "second")


def two_kept(world: World) -> tuple[str, str]:
    """Two checkpoints that lie in the mirror alone, the second of them revoked."""
    first, _ = make(world, "first")
    (world.root / "app/f").write_text("later")
    second, _ = make(world, "second")
    with world.open() as kept:
        Life(kept).revoke(second.id, reason="it leaks", by="somebody")
        copies(world, kept).make_good()
    shutil.rmtree(world.state / "store")
    return first.id, second.id


@pytest.mark.parametrize("how", ["before", "after", "torn"])
def test_killed_at_any_change_of_a_fetch_what_is_listed_is_whole(world: World, how: str) -> None:
    """A checkpoint lists with all it needs, and revoked where it was; the next fetch brings the rest."""
    wanted = two_kept(world)
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)
    counting = CountingTap()
    fetched(world, counting)
    assert len(counting.points) >= 20
    for point in [number for number, mode in shots(counting.points) if mode == how]:
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        assert in_child(lambda at=point: fetched(world, DyingTap(at, how))) == KILLED  # type: ignore[misc]
        with world.open() as kept:
            for one in kept.list():
                assert one.problems == (), point
                assert bool(one.revoked) == (one.id == wanted[1]), point
                assert {x.answer for x in kept.verify(one.id, deep=True)} == {Answer.PASS}, point
        fetched(world, Tap())
        with world.open() as kept:
            assert {one.id: one.target for one in kept.list()} == {
                wanted[0]: True,
                wanted[1]: False,
            }
            for one in kept.list():
                assert {x.answer for x in kept.verify(one.id, deep=True)} == {Answer.PASS}, point
        assert list((world.state / "store").rglob(".rollback-tmp-*")) == [], point


@pytest.mark.parametrize("forever", [False, True])
def test_a_full_disk_at_any_change_of_a_fetch_lists_nothing_half(
    world: World, forever: bool
) -> None:
    """It is said; when there is room again everything comes."""
    wanted = two_kept(world)
    saved = world.base / "saved"
    shutil.copytree(world.state, saved)
    counting = CountingTap()
    fetched(world, counting)
    for point in range(1, len(counting.points) + 1):
        shutil.rmtree(world.state)
        shutil.copytree(saved, world.state)
        world.state.chmod(0o700)
        with suppress(OSError, RollbackError):
            fetched(world, Failing(point, forever))
        with world.open() as kept:
            assert all(one.problems == () for one in kept.list()), point
            assert all(bool(one.revoked) == (one.id == wanted[1]) for one in kept.list()), point
        fetched(world, Tap())
        with world.open() as kept:
            assert {one.id: one.target for one in kept.list()} == {
                wanted[0]: True,
                wanted[1]: False,
            }


@pytest.mark.parametrize("forever", [False, True])
def test_a_full_mirror_at_any_change_is_said_and_made_good(world: World, forever: bool) -> None:
    with world.open() as kept:
        made = kept.create("then")
    counting = CountingTap()
    with world.open() as kept:
        copies(world, kept).notes.writer()
        copies(world, kept, counting).make_good()
    for point in range(1, len(counting.points) + 1):
        shutil.rmtree(world.base / "second")
        (world.state / "copies/of-second.json").unlink(missing_ok=True)
        with world.open() as kept:
            failing = Failing(point, forever)
            if counting.points[point - 1].where.startswith("copies"):  # our own disk is full
                with suppress(OSError, RollbackError):
                    copies(world, kept, failing).make_good()
            else:
                (done,) = copies(world, kept, failing).make_good()
                assert "No space left" in done.problem, (point, done)
            assert kept.get("then").target
            (done,) = copies(world, kept).make_good(adopt=True)
            assert done.problem == ""
        assert standing(world) == {made.id: "2/2"}


class Vanishing(CountingTap):
    """The mirror is gone after the nth change."""

    def __init__(self, at: int, mirror: Path) -> None:
        super().__init__()
        self.at, self.mirror = at, mirror

    def change(self, call: str, where: Any, do: Any, torn: Any = None) -> Any:
        done = super().change(call, where, do, torn)
        if len(self.points) == self.at:
            shutil.rmtree(self.mirror, ignore_errors=True)
        return done


def test_a_mirror_that_vanishes_in_the_midst_is_said_and_made_good(world: World) -> None:
    with world.open() as kept:
        made = kept.create("then")
        copies(world, kept).notes.writer()
        counting = CountingTap()
        copies(world, kept, counting).make_good()
        last = max(one.number for one in counting.points if not one.where.startswith("copies"))
        for point in range(2, last - 1):
            shutil.rmtree(world.base / "second", ignore_errors=True)
            (world.state / "copies/of-second.json").unlink(missing_ok=True)
            (done,) = copies(world, kept, Vanishing(point, world.base / "second")).make_good()
            assert done.problem, point
            assert kept.get("then").target
            assert standing(world) == {made.id: "1/2"}
            (done,) = copies(world, kept).make_good()
            assert done.problem == "", point
            assert standing(world) == {made.id: "2/2"}


def test_every_flipped_bit_and_every_cut_of_a_copy_is_found_and_never_fetched(world: World) -> None:
    """`--deep` says which; a fetch keeps nothing of it; `--repair` and a copy make it good."""
    made, _ = make(world, "then")
    mirror = world.base / "second"
    store = world.base / "gone"
    files = [*(mirror / "packs").iterdir(), *(mirror / "checkpoints").iterdir(),
             *(mirror / "lists").iterdir()]  # fmt: skip
    for path in files:
        whole = path.read_bytes()
        spoiled = [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
                   for at in range(0, len(whole), max(1, len(whole) // 25))]  # fmt: skip
        for bad in (*spoiled, whole[:-1], whole[: len(whole) // 2], b""):
            path.write_bytes(bad)
            with world.open() as kept:
                (found,) = copies(world, kept).verify(kept.list(), deep=True)
                assert found.answer is Answer.FAIL, path
            (world.state / "store").rename(store)
            done = brought(world)
            assert done.checkpoints == (), path
            assert len(done.problems) == 1, path
            shutil.rmtree(world.state / "store")
            store.rename(world.state / "store")
        with world.open() as kept:
            copies(world, kept).verify(kept.list(), deep=True, repair=True)
            (again,) = copies(world, kept).make_good()
            assert again.problem == ""
            (found,) = copies(world, kept).verify(kept.list(), deep=True)
            assert found.answer is Answer.PASS, path
    assert standing(world) == {made.id: "2/2"}
    assert [*(mirror / "damaged").iterdir()], "what was damaged is kept aside"


def test_a_pack_that_rotted_here_does_not_spread(world: World) -> None:
    """The bad bytes are not copied, and that is said."""
    with world.open() as kept:
        kept.create("then")
    (pack,) = (world.state / "store/packs").iterdir()
    whole = pack.read_bytes()
    for at in range(10, len(whole), len(whole) // 20):
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with world.open() as kept:
            (done,) = copies(world, kept).make_good()
        assert "damaged" in done.problem, at
        assert not [*world.base.glob("second/*/*")]


def test_what_is_deleted_goes_from_the_copies_too_and_shared_packs_stay(world: World) -> None:
    """Also when the place was away at that moment; a lost store deletes nothing elsewhere."""
    first, _ = make(world, "first")
    (world.root / "app/new").write_text("new")
    second, _ = make(world, "second")
    packs = len([*(world.base / "second/packs").iterdir()])
    with world.open() as kept:
        Life(kept).delete("second")
        (done,) = copies(world, kept).make_good()
        assert done.problem == ""
    left = [path.stem for path in (world.base / "second/checkpoints").iterdir()]
    assert left == [first.id]
    assert len([*(world.base / "second/packs").iterdir()]) == packs - 1
    shutil.rmtree(world.state / "store")
    make(world, "third")
    assert first.id in {path.stem for path in (world.base / "second/checkpoints").iterdir()}
    assert brought(world, "first").checkpoints == (first.id,)
    assert second.id not in standing(world)


def test_two_at_once_are_one_after_the_other(world: World) -> None:
    """The second is told to wait; nothing is spoiled."""
    with world.open() as kept:
        kept.create()
        busy = copies(world, kept)
        busy.notes.folder()
        host = Host()
        with host.tree(str(world.state)) as state, state.lock("copies/lock", clock=host.clock):
            with pytest.raises(RunLocked):
                copies(world, kept).make_good(within_s=0.0)
        (done,) = copies(world, kept).make_good()
        assert done.problem == ""


def test_kinds_say_in_how_many_places_and_where(world: World) -> None:
    """A declared kind goes where it says; one that is not declared goes everywhere."""
    world.checkpoints = Declared.model_validate({
        "stores": {"second": {"folder": {"path": "second"}}, "third": {"folder": {"path": "third"}}},
        "kinds": {"safety": {"on": "rollback", "copies": 1, "retention": "1d"},
                  "risky": {"on": "risky", "copies": 2, "stores": ["third"], "retention": "1d"}},
    })  # fmt: skip
    with world.open() as kept:
        found = copies(world, kept)
        assert found.wanted("safety").copies == 1
        assert found.wanted("safety").stores == ()
        assert found.wanted("risky").stores == ("third",)
        assert (found.wanted("manual").copies, found.wanted("manual").stores) == (
            3, ("second", "third"))  # fmt: skip
        made = kept.create(kind="risky")
        found.make_good()
    assert standing(world) == {made.id: "2/2"}
    assert not [*world.base.glob("second/checkpoints/*")]


def test_a_partial_checkpoint_is_not_copied(world: World) -> None:
    """It is no target anywhere."""
    (world.root / "app/secret").mkdir()
    os.mkfifo(world.root / "app/secret/fifo")
    with world.open() as kept:
        made = kept.create()
        record = world.state / f"store/checkpoints/{made.id}.json"
        record.write_bytes(record.read_bytes()[:-1])
        (done,) = copies(world, kept).make_good()
    assert done == Copied("second")


def test_a_place_of_another_format_is_not_written_to(world: World) -> None:
    (world.base / "second").mkdir()
    (world.base / "second/format").write_text("something else\n")
    _, done = make(world)
    assert "does not know" in done.problem
    assert [path.name for path in (world.base / "second").iterdir()] == ["format"]


# -- encrypted ------------------------------------------------------------------------------


@pytest.fixture
def secret(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    world.checkpoints = declared(second={"folder": {"path": "second", "key": "env:COPY_KEY"}})
    monkeypatch.setenv("COPY_KEY", KEY)
    (world.root / "app/f").write_text("a very secret word" * 50)
    return world


def test_an_encrypted_copy_shows_nothing_and_comes_back(secret: World) -> None:
    """No plain byte of content, names or paths lies there; by its document a stranger opens it."""
    then = walked(secret.root)
    made, done = make(secret, "hidden-name")
    assert done.problem == ""
    lying = [path for path in (secret.base / "second").rglob("*") if path.is_file()]
    for path in lying:
        for word in (b"secret word", b"conf.txt", b"hidden-name", b"RBPACK2", b"(\xb5/\xfd"):
            assert word not in path.read_bytes(), path
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    for path in lying:
        if path.suffix == ".aes":
            raw = path.read_bytes()
            name = str(path.relative_to(secret.base / "second")).removesuffix(".aes")
            clear = AESGCM(bytes.fromhex(KEY)).decrypt(raw[8:20], raw[20:], raw[:8] + name.encode())
            if name.startswith(("packs/", "checkpoints/")):
                assert (
                    hashlib.sha256(clear).hexdigest()
                    == name[name.index("/") + 1 :].partition(".")[0]
                )
    assert standing(secret) == {made.id: "2/2"}
    shutil.rmtree(secret.state / "store")
    assert brought(secret).checkpoints == (made.id,)
    emptied(secret.root)
    with secret.open() as kept:
        for name in secret.components:
            kept.restore(made.id, name, step=name)
    assert walked(secret.root)[b"app/f"] == then[b"app/f"]


def test_no_nonce_comes_twice(secret: World) -> None:
    """Forty writings of the same bytes under the same name: forty nonces, forty ciphertexts."""
    host = Host()
    (secret.base / "second").mkdir()
    inner = folder.Folder(host.tree(str(secret.base / "second")), host)
    place = Ciphered(inner, bytes.fromhex(KEY), host)
    seen = set()
    for _ in range(40):
        place.create("packs/x.pack", [b"the same"])
        seen.add((secret.base / "second/packs/x.pack.aes").read_bytes()[8:20])
    assert len(seen) == 40
    raw = (secret.base / "second/packs/x.pack.aes").read_bytes()
    (secret.base / "second/packs/y.pack.aes").write_bytes(raw)
    with pytest.raises(ObjectCorrupt):
        place.read("packs/y.pack", 0, 10)  # under another name it is not the file


def test_another_key_or_none_is_refused_before_anything_is_written(
    secret: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = make(secret)
    lying = walked(secret.base / "second")
    for key, why in (("cd" * 32, "does not open"), ("short", "no key"), ("", "nothing stands")):
        monkeypatch.setenv("COPY_KEY", key)
        with secret.open() as kept:
            (done,) = copies(secret, kept).make_good()
        assert why in done.problem
        assert KEY not in done.problem
        assert standing(secret) == {made.id: "1/2"}
    secret.checkpoints = declared(second={"folder": {"path": "second"}})
    with secret.open() as kept:
        (done,) = copies(secret, kept).make_good()
    assert "is encrypted" in done.problem
    assert walked(secret.base / "second") == lying


def test_a_flipped_bit_of_an_encrypted_pack_is_found(secret: World) -> None:
    """The tag covers everything, the head and the name included."""
    make(secret)
    (pack,) = (secret.base / "second/packs").iterdir()
    whole = pack.read_bytes()
    for at in (0, 7, 8, 19, 20, len(whole) // 2, len(whole) - 1):
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with secret.open() as kept:
            (found,) = copies(secret, kept).verify(kept.list(), deep=True)
            assert found.answer is Answer.FAIL, at


def test_a_store_that_is_not_declared_is_named(world: World) -> None:
    with world.open() as kept:
        with pytest.raises(UsageError, match="secnd"):
            copies(world, kept).make_good(("secnd",))
        with pytest.raises((StoreError, UsageError)):
            copies(world, kept).verify(kept.list(), ("secnd",))
