"""A month of checkpoints under a clock that is moved: each listed one comes back, and damage never does.

R1: every two hours something changes and a checkpoint is taken, once a day retention lets some go. Then each
checkpoint that is left is put back into an empty root and compared with what the walker saw at that time,
and a bit is turned in each object of the store. `make drill` has thirty days of it: HISTORY_DAYS.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.keep.life import Life
from rollback.model.errors import ObjectCorrupt, StoreError
from rollback.model.finding import Answer
from rollback.model.operations import CheckpointKind
from tests.keep.standin import World, component, walked
from tests.systems import Hands

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
DAYS = int(os.environ.get("HISTORY_DAYS", "3"))
HOUR_S = 3600
A_DAY = 12  # checkpoints
KINDS = {"hourly": CheckpointKind(on="schedule", every="2h", retention="5d" if DAYS > 5 else "1d"),
         "daily": CheckpointKind(on="schedule", every="1d", retention="keep")}  # fmt: skip

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="history-"))
    base.chmod(0o755)
    found = World(base, {"app": component("app")}, clock=Hands()).make()
    (found.root / "app/sub/deep").mkdir(parents=True)
    for number in range(8):
        (found.root / f"app/sub/{number}").write_bytes(os.urandom(300))
    yield found
    shutil.rmtree(base)


def change(app: Path, dice: random.Random) -> None:
    """One thing of any kind becomes another."""
    path = app / dice.choice(("sub", "sub/deep", ".")) / str(dice.randrange(12))
    what = dice.choice(("write", "write", "append", "remove", "link", "hard", "mode", "time"))
    if what in ("remove", "link", "hard", "write") and os.path.lexists(path) and not path.is_dir():
        path.unlink()
    if what == "write":
        path.write_bytes(dice.randbytes(dice.randrange(600)))
    elif what == "append" and not path.is_symlink() and not path.is_dir():
        with path.open("ab") as file:
            file.write(b"line\n" * dice.randrange(1, 9))
    elif what == "link":
        path.symlink_to(str(dice.randrange(12)))
    elif what == "hard":
        others = [one for one in sorted(app.rglob("*")) if one.is_file() and not one.is_symlink()]
        os.link(dice.choice(others), path)
    elif what == "mode" and path.exists() and not path.is_symlink():
        path.chmod(dice.choice((0o600, 0o640, 0o755)))
    elif what == "time" and path.exists() and not path.is_symlink():
        os.utime(path, ns=(1, dice.randrange(2**60)))


def lived(world: World, dice: random.Random) -> dict[str, dict[bytes, Any]]:
    """So many days went by; what each checkpoint that is left holds."""
    then: dict[str, dict[bytes, Any]] = {}
    app = world.root / "app"
    (app / "never").write_bytes(b"removed by none")
    for number in range(DAYS * A_DAY):
        for _ in range(dice.randrange(1, 4)):
            change(app, dice)
        with world.open() as kept:
            made = kept.create(kind="daily" if number % A_DAY == 0 else "hourly")
            then[made.id] = walked(app)
            if number % A_DAY == A_DAY - 1:
                for one in Life(kept).prune(KINDS, {}).going:
                    del then[one.id]
        world.clock.ahead_s += 2 * HOUR_S
    return then


def test_each_checkpoint_of_a_month_comes_back_and_no_damage_is_served(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    """Into an empty root, exact; with a bit turned in an object, it is named and given to nobody."""
    then = lived(world, random.Random(30))
    app = world.root / "app"
    with world.open() as kept:
        listed = kept.list()
        assert {one.id for one in listed} == then.keys()
        assert len(then) < DAYS * A_DAY  # retention did let some go
        for one in listed:
            assert one.target, one.problems
            shutil.rmtree(app)
            kept.restore(one.id, "app", step=f"r-{one.id[:8]}")
            assert walked(app) == then[one.id], one.at
        records = {identity: list(kept.store._index.find(identity))
                   for identity, _, _ in kept.store.records()}  # fmt: skip
        needed = {one.id: kept.manifest(one.id, "app") for one in listed}
        reach = {one: {entry.sha256 or entry.tree for entry in found.entries(kept.store.get)}
                 for one, found in needed.items()}  # fmt: skip
    now = walked(app)
    dice = random.Random(1)
    flipped = named = 0
    for identity, places in sorted(records.items()):
        for place in places:  # every copy of it
            turn(world, place, dice.randrange(place.stored * 8))
        with world.open() as kept:
            assert all(kept.store.pack_digest(place.pack) != place.pack for place in places)
            about = next((one for one, found in reach.items() if identity in found), None)
            try:
                data = kept.store.get(identity)
            except ObjectCorrupt as error:
                assert identity[:12] in str(error)  # noqa: PT017 - the bit may be one of no meaning
                named += 1
            else:
                assert hashlib.sha256(data).hexdigest() == identity
                about = None
            if about is not None and flipped % 5 == 0:
                (found,) = kept.verify(about)
                assert found.answer is not Answer.PASS
                shutil.rmtree(app)
                app.mkdir()
                with pytest.raises(StoreError):
                    kept.restore(about, "app", step="damaged")
                assert list(app.iterdir()) == []
        for place in places:
            turn(world, place, None)
        flipped += 1
    assert flipped == len(records)
    assert named > 0.9 * flipped  # a bit in ten of compressed bytes may say nothing
    assert now != walked(app)
    record_property("checkpoints", len(listed))
    record_property("objects", flipped)
    print(f"{len(listed)} checkpoints came back, {named} of {flipped} damaged objects were named")


_was: dict[str, bytes] = {}


def turn(world: World, place: Any, bit: int | None) -> None:
    """One bit of the stored object is another; None: everything is as it was."""
    path = world.state / f"store/packs/{place.pack}.pack"
    if bit is None:
        path.write_bytes(_was.pop(place.pack))
        return
    _was.setdefault(place.pack, path.read_bytes())
    data = bytearray(path.read_bytes())
    data[place.offset + bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("back_s", [1, HOUR_S, 365 * 24 * HOUR_S])
def test_a_clock_that_is_set_back_between_checkpoints_confuses_nobody(
    world: World, back_s: float
) -> None:
    """The newest is the one that was made last; each comes back; nothing is let go before its time."""
    app = world.root / "app"
    then = {}
    for name in ("one", "two", "three"):
        (app / "sub/0").write_text(name)
        with world.open() as kept:
            then[name] = kept.create(name).id, walked(app)
        world.clock.ahead_s -= back_s
    with world.open() as kept:
        assert [one.name for one in kept.list()] == ["three", "two", "one"]
        found = kept.last_good()
        assert found is not None
        assert found.name == "three"
        assert Life(kept).prune({"manual": KINDS["hourly"]}, {}).going == ()
        for name, (identity, looks) in then.items():
            shutil.rmtree(app)
            kept.restore(identity, "app", step=f"r-{name}")
            assert walked(app) == looks
        assert not kept.restore("three", "app", step="again")
