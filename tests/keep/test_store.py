"""The store: what goes in comes out, damaged bytes never do, and a stranger can read the files."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host import Host
from rollback.keep.blocks import BLOCK_BYTES, PAGE_BLOCK_BYTES, WHOLE_BYTES_MAX
from rollback.keep.pack import Location, squeezed
from rollback.keep.pack import opened as opened_bytes
from rollback.keep.store import Store
from rollback.model.errors import ObjectCorrupt, ObjectMissing, RunLocked, StoreError


def opened(path: Path) -> Store:
    host = Host()
    with host.tree(str(path)) as tree:
        return Store.open(tree, host)


def packs(path: Path) -> list[Path]:
    return sorted((path / "store/packs").iterdir())


def read_by_a_stranger(data: bytes) -> dict[str, bytes]:
    """The objects of a pack, by docs/formats-checkpoint.md alone."""
    assert data[:8] == b"RBPACK2\n"
    start, count, checksum, end = struct.unpack("<QQ32s8s", data[-56:])
    assert end == b"RBPKEND\n"
    index = data[start:-56]
    assert hashlib.sha256(index + data[-56:-40]).digest() == checksum
    assert len(index) == count * 64
    found = {}
    for place in range(0, len(index), 64):
        identity, offset, length, stored, codec, _ = struct.unpack(
            "<32sQQQB3xI", index[place : place + 64]
        )
        header = struct.pack("<32sQQB7x", identity, length, stored, codec)
        assert data[offset - 56 : offset] == header
        raw = data[offset : offset + stored]
        if codec == 1:
            raw = zstandard.ZstdDecompressor().decompress(raw, max_output_size=length)
        assert hashlib.sha256(raw).digest() == identity
        found[identity.hex()] = raw
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(objects=st.lists(st.binary(max_size=3000), max_size=8))
def test_what_was_put_comes_out_after_reopening(
    objects: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Ids are plain SHA-256 and a new process finds everything by the footers."""
    path = tmp_path_factory.mktemp("store")
    store = opened(path)
    ids = [store.put(data) for data in objects]
    assert [store.get(one) for one in ids] == objects
    store.flush()
    again = opened(path)
    assert ids == [hashlib.sha256(data).hexdigest() for data in objects]
    assert [again.get(one) for one in ids] == objects


def test_a_pack_is_what_its_document_says(tmp_path: Path) -> None:
    """A reader written from the document alone reads it; its name is its SHA-256."""
    store = opened(tmp_path)
    objects = [b"", b"small", b"z" * 100_000, os.urandom(5000)]
    ids = [store.put(data) for data in objects]
    store.flush()
    (pack,) = packs(tmp_path)
    assert pack.name == hashlib.sha256(pack.read_bytes()).hexdigest() + ".pack"
    assert read_by_a_stranger(pack.read_bytes()) == dict(zip(ids, objects, strict=True))


def test_files_are_private(tmp_path: Path) -> None:
    """Objects are 0600 in folders 0700."""
    store = opened(tmp_path)
    store.put(b"secret")
    store.flush()
    (pack,) = packs(tmp_path)
    assert pack.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (pack.parent, pack.parent.parent)} == {
        0o700
    }


def test_who_may_open_no_more_files_takes_no_pack_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair would move it away; so the lack is said instead, and the pack is read afterwards."""
    store = opened(tmp_path)
    identity = store.put(b"x" * 1000)
    again = opened(tmp_path)
    store.flush()

    def refused(_name: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as few:
        few.setattr(again.place, "size", refused)
        with pytest.raises(OSError, match="Too many open files"):
            again.refresh()
    assert not again.damaged
    again.refresh()
    assert again.get(identity) == b"x" * 1000


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    """A second put of stored bytes writes nothing."""
    store = opened(tmp_path)
    store.put(b"x" * 1000)
    store.flush()
    again = opened(tmp_path)
    again.put(b"x" * 1000)
    again.flush()
    assert len(packs(tmp_path)) == 1


@pytest.mark.parametrize("block", [BLOCK_BYTES, PAGE_BLOCK_BYTES])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_large_files_are_cut_into_blocks(tmp_path: Path, block: int, more: int) -> None:
    """Up to 4 MiB one object, above that blocks; joined they are the file, whatever the chunks."""
    store = opened(tmp_path)
    data = os.urandom(WHOLE_BYTES_MAX + more)
    chunks = [data[at : at + 700_001] for at in range(0, len(data), 700_001)]
    stored = store.put_stream(chunks, block_bytes=block)
    objects = store.blocks(stored.sha256, stored.blocks, stored.size)
    assert b"".join(store.get(one) for one in objects) == data
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (len(objects) == 1) == (more <= 0)
    if more > 0:
        assert {len(store.get(one)) for one in objects[:-1]} == {block}


def test_every_flipped_bit_of_a_pack_is_found(tmp_path: Path) -> None:
    """Flip one bit in every byte: no wrong byte is ever given back, and the pack is named."""
    store = opened(tmp_path)
    objects = {store.put(data): data for data in (b"one", b"two" * 200, os.urandom(40))}
    store.flush()
    (pack,) = packs(tmp_path)
    whole = pack.read_bytes()
    for at in range(len(whole)):
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        damaged = opened(tmp_path)
        caught: list[str] = list(damaged.damaged)
        for identity, data in objects.items():
            try:
                assert damaged.get(identity) == data
            except (ObjectCorrupt, ObjectMissing) as error:
                caught.append(error.where)
        assert any(pack.stem in where or where == "packs/" for where in caught), at
        damaged.place.close()


def test_every_truncation_of_a_pack_is_found(tmp_path: Path) -> None:
    """Cut anywhere, the pack is named as damaged and its objects are missing, not wrong."""
    store = opened(tmp_path)
    identity = store.put(b"bytes that matter")
    store.flush()
    (pack,) = packs(tmp_path)
    whole = pack.read_bytes()
    for size in range(len(whole)):
        pack.write_bytes(whole[:size])
        damaged = opened(tmp_path)
        assert list(damaged.damaged) == [pack.stem]
        with pytest.raises(ObjectMissing):
            damaged.get(identity)
        damaged.place.close()


def test_a_damaged_object_heals_when_its_bytes_come_again(tmp_path: Path) -> None:
    """Nobody builds on a stored copy that was not looked at: a good one is put beside it."""
    store = opened(tmp_path)
    data = os.urandom(500)
    identity = store.put(data)
    store.flush()
    (pack,) = packs(tmp_path)
    whole = bytearray(pack.read_bytes())
    whole[100] ^= 1
    pack.write_bytes(whole)
    again = opened(tmp_path)
    with pytest.raises(ObjectCorrupt, match=identity):
        again.get(identity)
    again.put(data)
    again.flush()
    assert opened(tmp_path).get(identity) == data


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    """A newer store is never read at best effort."""
    opened(tmp_path)
    (tmp_path / "store/format").write_bytes(b"rollback-store 3\n")
    with pytest.raises(StoreError, match="is of format 3"):
        opened(tmp_path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """While one holds the lock another is told so; readers share it."""
    host = Host()
    store = opened(tmp_path)
    with (
        host.tree(str(tmp_path / "store")) as folder,
        folder.lock("lock", clock=host.clock, shared=True),
    ):
        with store.lock(shared=True):
            pass
        with pytest.raises(RunLocked), folder.lock("lock", clock=host.clock, within_s=0.0):
            pass


@pytest.mark.parametrize("length", [3 * 2**30, 2**62, 2**64 - 1])
def test_a_length_that_is_a_lie_is_found_without_making_room_for_it(length: int) -> None:
    """One flipped bit in a header may say three gigabytes."""
    data = b"z" * 5000
    codec, stored = squeezed(data)
    wrong = Location("p" * 64, 64, length, len(stored), codec)
    with pytest.raises(ObjectCorrupt, match="another length"):
        opened_bytes(stored, wrong, hashlib.sha256(data).hexdigest())
