"""Objects put and read in numbers: in order, by threads, with the same care as one by one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host import Host, Tap
from rollback.keep import bulk, pending, store
from rollback.keep.blocks import BLOCK_BYTES, PAGE_BLOCK_BYTES, WHOLE_BYTES_MAX
from rollback.keep.bulk import read_all
from rollback.keep.store import Store
from rollback.model.errors import ObjectCorrupt, ObjectMissing, StoreError
from tests.killed import Failing

BLOCK = 1000


def opened(path: Path, tap: Tap | None = None) -> Store:
    host = Host(tap=tap or Tap())
    with host.tree(str(path)) as tree:
        return Store.open(tree, host)


def packs(path: Path) -> list[Path]:
    return sorted((path / "store/packs").iterdir())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def spoil(pack: Path, data: bytes) -> None:
    """One bit of an object that is stored as it is."""
    whole = bytearray(pack.read_bytes())
    whole[whole.index(data[:50]) + 20] ^= 1
    pack.write_bytes(whole)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    wanted=st.lists(st.integers(0, 29), max_size=80),
    window=st.integers(1, 9),
    gap=st.integers(0, 999),
)
def test_every_object_comes_in_the_order_in_which_it_was_asked_for(
    wanted: list[int], window: int, gap: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Scattered over packs, asked for twice, missing: each is itself, or why it cannot be had."""
    path = tmp_path_factory.mktemp("bulk")
    here = opened(path)
    bodies = [
        os.urandom(300 + number * 20) if number % 2 else b"%d " % number * 90
        for number in range(30)
    ]
    for number, body in enumerate(bodies):
        if number % 10 != 9:
            here.put(body)
        if number % 7 == 6:
            here.flush()
    here.flush()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bulk, "_WINDOW_COUNT", window)
        patched.setattr(bulk, "_GAP_BYTES", gap)
        found = list(read_all(here, [sha256(bodies[number]) for number in wanted]))
    assert [identity for identity, _ in found] == [sha256(bodies[number]) for number in wanted]
    for number, (_, got) in zip(wanted, found, strict=True):
        if number % 10 == 9:
            assert isinstance(got, ObjectMissing)
        else:
            assert got == bodies[number]


def test_of_two_copies_one_is_enough(tmp_path: Path) -> None:
    """The damaged one is passed over; of a single one the error names object and pack."""
    here = opened(tmp_path)
    both, alone = os.urandom(5000), os.urandom(5000)
    here.put(both)
    here.put(alone)
    here.flush()
    (first,) = packs(tmp_path)
    here.again(sha256(both))
    here.flush()
    spoil(first, both)
    spoil(first, alone)
    good, bad = list(read_all(here, [sha256(both), sha256(alone)]))
    assert good == (sha256(both), both)
    assert isinstance(bad[1], ObjectCorrupt)
    assert first.name in bad[1].where


@pytest.mark.parametrize("each", [BLOCK_BYTES, PAGE_BLOCK_BYTES])
def test_a_damaged_block_heals_when_its_file_comes_again(tmp_path: Path, each: int) -> None:
    """Of a large file too nothing is built upon a copy that nobody looked at."""
    data = os.urandom(WHOLE_BYTES_MAX + 12_345)
    here = opened(tmp_path)
    made = here.put_stream([data], block_bytes=each)
    here.flush()
    (pack,) = packs(tmp_path)
    spoil(pack, data[3 * each :])
    again = opened(tmp_path)
    assert again.put_stream([data], block_bytes=each) == made
    again.flush()
    healed = opened(tmp_path)
    blocks = healed.blocks(made.sha256, made.blocks, made.size)
    assert b"".join(healed.get(block) for block in blocks) == data
    assert min(one.stat().st_size for one in packs(tmp_path)) < each + 500, "only what was bad"
    third = opened(tmp_path)
    third.put_stream([data], block_bytes=each)
    third.flush()
    assert len(packs(tmp_path)) == 2


def test_what_waits_can_be_read_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being compressed, compressed, on its way into a pack, in a pack: there is no moment between."""
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 3000)
    monkeypatch.setattr(pending, "_BATCH_BYTES", 700)
    monkeypatch.setattr(pending, "_BATCHES_MAX", 1)
    here = opened(tmp_path)
    bodies = [os.urandom(400) for _ in range(60)]
    for number, body in enumerate(bodies):
        here.put(body)
        for known in bodies[: number + 1 : 7]:
            assert here.has(sha256(known))
            assert here.get(sha256(known)) == known
    here.flush()
    assert len(packs(tmp_path)) > 3
    again = opened(tmp_path)
    assert [again.get(sha256(body)) for body in bodies] == bodies


@pytest.mark.parametrize("stream", [False, True])
def test_a_pack_that_cannot_be_written_is_told_by_whoever_relies_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Each change fails once, in a thread: that comes out by the end of `flush`."""
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 40_000)
    monkeypatch.setattr(pending, "_BATCH_BYTES", 20_000)
    monkeypatch.setattr(store, "WHOLE_BYTES_MAX", 1000)
    bodies = [os.urandom(10_000) for _ in range(30)]

    def fill(here: Store) -> None:
        if stream:
            here.put_stream(iter(bodies), block_bytes=10_000)
        else:
            put_each(here, bodies)
        here.flush()

    opening, whole = Failing(10**9, False), Failing(10**9, False)
    for name, tap in (("opened", opening), ("whole", whole)):
        (tmp_path / name).mkdir()
        here = opened(tmp_path / name, tap)
        if name == "whole":
            fill(here)
    for point in whole.points[len(opening.points) :]:
        path = tmp_path / str(point.number)
        path.mkdir()
        here = opened(path, Failing(point.number, False))
        if "packs" not in point.where:
            continue  # the index, which can be thrown away
        with pytest.raises((StoreError, OSError)):
            fill(here)
        here.drop()


def put_each(here: Store, bodies: Iterable[bytes]) -> None:
    for body in bodies:
        here.put(body)
