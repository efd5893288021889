"""Objects put and read in numbers: in order, by threads, with the same care as one by one."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host import Host, Tap
from rollback.keep import bulk, pending, store
from rollback.keep.blocks import BLOCK_BYTES, PAGE_BLOCK_BYTES, WHOLE_BYTES_MAX
from rollback.keep.bulk import read_all
from rollback.keep.store import Store
from rollback.model.errors import ObjectCorrupt, ObjectMissing, StoreError
from tests.killed import KILLED, CountingTap, DyingTap, Failing, in_child, shots

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


def test_threads_that_take_turns_at_any_moment_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of many blocks, some known, some twice, with the interpreter handed on all the time."""
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 100_000)
    monkeypatch.setattr(pending, "_OBJECT_BYTES", 0)
    monkeypatch.setattr(store, "_BATCH_BYTES", 5_000)
    monkeypatch.setattr(store, "WHOLE_BYTES_MAX", 1000)
    before = sys.getswitchinterval()
    half = [os.urandom(1024) for _ in range(1500)]
    bodies = [*half, *half[::3], *[os.urandom(1024) for _ in range(1500)], bytes(1024)]
    sys.setswitchinterval(0.000001)
    try:
        for number, some in enumerate((bodies, bodies[::-1], half)):
            path = tmp_path / str(number // 2)
            path.mkdir(exist_ok=True)
            here = opened(path)
            made = here.put_stream(iter(some * 4), block_bytes=1024)
            here.flush()
            again = opened(path)
            listed = again.blocks(made.sha256, made.blocks, made.size)
            assert list(listed) == [sha256(body) for body in some * 4]
            assert [got for _, got in read_all(again, listed)] == some * 4
    finally:
        sys.setswitchinterval(before)


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


def one_reads_wrong(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """That pack is written whole, and what is read of it afterwards has one bit changed."""
    real, begun = pending.written, itertools.count(1)

    def written(place: Any, objects: pending.Objects) -> pending.Written:
        return real(Flipped(place) if next(begun) == number else place, objects)  # type: ignore[arg-type]

    monkeypatch.setattr(pending, "written", written)


class Flipped:
    """A place that gives the records of packs back with one bit changed."""

    def __init__(self, place: Any) -> None:
        self._place = place

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        found = bytearray(self._place.read(name, offset, size_bytes))
        if len(found) > 5000:
            found[4000] ^= 1
        return bytes(found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_of_several_packs_one_that_fails_fails_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """`flush` says so as often as it is asked; the file `index` names none; all can be put again."""
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 40_000)
    monkeypatch.setattr(pending, "_OBJECT_BYTES", 0)
    monkeypatch.setattr(pending, "_BATCH_BYTES", 9_000)
    monkeypatch.setattr(store, "UNLISTED_MAX", 0)
    bodies = [os.urandom(10_000) for _ in range(12)]
    here = opened(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        one_reads_wrong(patched, number)
        with suppress(ObjectCorrupt):  # where somebody waits for one of them already
            put_each(here, bodies)
        for _ in range(3):
            with pytest.raises(ObjectCorrupt):
                here.flush()
    here.drop()
    assert not (tmp_path / "store/index").exists()
    again = opened(tmp_path)
    put_each(again, bodies)
    again.flush()
    there = opened(tmp_path)
    assert [there.get(sha256(body)) for body in bodies] == bodies


def test_what_could_not_be_compressed_is_told_as_often_as_one_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that waits is forgotten: a second `flush` does not end well either."""
    real = pending.squeezed
    monkeypatch.setattr(pending, "_BATCH_BYTES", 9_000)

    def squeezed(data: bytes) -> tuple[int, bytes]:
        if data[:5] == b"wrong":
            raise MemoryError
        return real(data)

    monkeypatch.setattr(pending, "squeezed", squeezed)
    here = opened(tmp_path)
    put_each(here, [b"wrong" + os.urandom(10_000), os.urandom(10_000)])
    for _ in range(2):
        with pytest.raises(MemoryError):
            here.flush()
    here.drop()


@pytest.mark.long
def test_killed_at_any_change_while_packs_are_written_all_can_be_put_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a process leaves is whole or passed over, and harms nobody who comes after it."""
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 40_000)
    monkeypatch.setattr(pending, "_OBJECT_BYTES", 0)
    monkeypatch.setattr(pending, "_BATCH_BYTES", 9_000)
    monkeypatch.setattr(store, "UNLISTED_MAX", 0)
    bodies = [os.urandom(10_000) for _ in range(13)]

    def fill(path: Path, tap: Tap | None = None) -> None:
        here = opened(path, tap)
        put_each(here, bodies)
        here.flush()

    tap = CountingTap()
    (tmp_path / "whole").mkdir()
    fill(tmp_path / "whole", tap)
    for number, mode in shots(tap.points):
        path = tmp_path / f"{number}-{mode}"
        path.mkdir()
        dying = DyingTap(number, mode)
        assert in_child(lambda path=path, dying=dying: fill(path, dying)) == KILLED  # type: ignore[misc]
        fill(path)
        there = opened(path)
        assert [there.get(sha256(body)) for body in bodies] == bodies


def test_no_pack_is_begun_before_the_one_before_it_is_durable_and_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree names what lies in earlier packs: where it is, that has to be, whenever one is killed."""
    monkeypatch.setattr(pending, "PENDING_BYTES_MAX", 40_000)
    monkeypatch.setattr(pending, "_BATCH_BYTES", 9_000)
    real, clock = pending.written, Host().clock
    going: list[int] = []
    seen: list[int] = []

    def written(place: Any, objects: pending.Objects) -> pending.Written:
        going.append(1)
        seen.append(len(going))
        clock.poll(lambda: len(going) > 1, within_s=0.2, every_s=0.01)
        made = real(place, objects)
        going.pop()
        return made

    monkeypatch.setattr(pending, "written", written)
    here = opened(tmp_path)
    put_each(here, [os.urandom(10_000) for _ in range(12)])
    here.flush()
    assert len(packs(tmp_path)) > 2
    assert seen == [1] * len(packs(tmp_path))
