"""The index of all packs: it finds what the footers say, and can be thrown away."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.keep import index as index_module
from rollback.keep import store as store_module
from rollback.keep.index import RUNS_MAX, Index
from rollback.keep.pack import INDEX
from rollback.keep.store import Store


def records(*objects: bytes) -> bytes:
    ids = sorted(hashlib.sha256(one).digest() for one in objects)
    return b"".join(INDEX.pack(one, 64 + n, 5, 5, 0, 0) for n, one in enumerate(ids))


def name(number: int) -> str:
    return hashlib.sha256(b"pack %d" % number).hexdigest()


def identity(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_everything_is_found_however_many_packs_there_are() -> None:
    """Through merging, forgetting and the file: each object where it lies, and nowhere else."""
    index = Index()
    held: dict[bytes, set[str]] = {}
    for number in range(RUNS_MAX * 3):
        objects = [b"%d" % (number * 2 + extra) for extra in range(4)]  # half of them twice
        index.learn(name(number), records(*objects))
        for one in objects:
            held.setdefault(one, set()).add(name(number))
    assert len(index.runs) <= RUNS_MAX + 1
    gone = frozenset(name(number) for number in (0, 5, 6, 7))
    for step in ("as learnt", "forgotten", "file"):
        if step == "forgotten":
            index.forget(gone)
            held = {one: packs - gone for one, packs in held.items()}
        elif step == "file":
            index, _ = Index.decoded(b"".join(index.encoded(dict.fromkeys(index.packs, 1))))
        for one, packs in held.items():
            assert {place.pack for place in index.find(identity(one))} == packs, step
            assert index.has(identity(one)) == bool(packs)
        assert not index.has(identity(b"none"))
    assert set(index.identities(name(9))) == {identity(one) for one in held if name(9) in held[one]}


def test_no_damage_of_the_file_is_believed() -> None:
    """Cut or flipped anywhere it is as if it were not there."""
    index = Index()
    index.learn(name(1), records(b"a", b"b"))
    whole = b"".join(index.encoded({name(1): 200}))
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]):
            assert Index.decoded(data) == (Index.decoded(b"")[0], {}) or not len(
                Index.decoded(data)[0]
            )


def opened(path: Path) -> Store:
    host = Host()
    with host.tree(str(path)) as tree:
        return Store.open(tree, host)


def test_the_file_spares_reading_footers_and_the_packs_have_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written when much is unlisted; a pack of another size is read anew; without it all is found."""
    monkeypatch.setattr(store_module, "UNLISTED_MAX", 3)
    store = opened(tmp_path)
    objects = [os.urandom(200) for _ in range(8)]
    ids = [store.put(one) for one in objects]
    store.flush()
    assert (tmp_path / "store/index").exists()
    read: list[str] = []
    real = store_module.read_index
    monkeypatch.setattr(
        store_module, "read_index", lambda *given: read.append(given[0]) or real(*given)
    )
    again = opened(tmp_path)
    assert [again.get(one) for one in ids] == objects
    assert read == []
    (pack,) = (tmp_path / "store/packs").iterdir()
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-1])
    assert opened(tmp_path).damaged.keys() == {pack.stem}
    pack.write_bytes(whole)
    (tmp_path / "store/index").unlink()
    again = opened(tmp_path)
    assert [again.get(one) for one in ids] == objects
    assert read == [pack.stem, pack.stem]


@pytest.mark.parametrize("piece", [1, 5000, 2**20])
def test_the_file_is_what_sorting_all_records_at_once_would_make_it(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """However many runs there are, objects that lie in several packs among them, and packs that went."""
    index = Index()
    packs = {
        name(n): records(*(b"%d" % (n * 40 + extra) for extra in range(90))) for n in range(30)
    }
    for pack, listed in packs.items():
        index.learn(pack, listed)
    gone = frozenset(list(packs)[3::7])
    index.forget(gone)
    index.learn(name(99), records(b"1", b"2"))
    left = [*(one for one in packs if one not in gone), name(99)]
    packs[name(99)] = records(b"1", b"2")
    whole = sorted(
        packs[pack][at : at + INDEX.size - 4] + left.index(pack).to_bytes(4, "little")
        for pack in left
        for at in range(0, len(packs[pack]), INDEX.size)
    )
    names = b"".join(bytes.fromhex(one) + (7).to_bytes(8, "little") for one in left)
    body = b"RBINDEX1" + len(left).to_bytes(8, "little") + names + b"".join(whole)
    monkeypatch.setattr(index_module, "_PIECE_BYTES", piece)
    pieces = list(index.encoded(dict.fromkeys(left, 7)))
    assert len(pieces) <= len(body) // piece + 1
    assert b"".join(pieces) == body + hashlib.sha256(body).digest()
