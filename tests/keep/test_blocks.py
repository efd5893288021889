"""Large files: how they are cut, what of them is read, stored and fetched, and holes."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback.host import Tree, draft
from rollback.host.looking import Reading
from rollback.keep.blocks import (
    BLOCK_BYTES,
    BLOCKS_MAX,
    HASHED_HOLES_MAX,
    PAGE_BLOCK_BYTES,
    SIZE_BYTES_MAX,
    WHOLE_BYTES_MAX,
    Blocks,
    block_bytes,
    digest,
)
from rollback.keep.index import Index
from rollback.keep.pack import build, read_index
from rollback.keep.stage import lay_out
from rollback.keep.store import Store
from rollback.model.errors import HostError, ObjectCorrupt, ObjectMissing, Partial
from rollback.model.finding import Answer
from tests.keep.standin import World, component, walked

SCRIPT = Path(__file__).parents[2] / "docs/extract.py"
TIB = 2**40
EACH = 4096


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, {"app": component("app")}).make()
    (made.root / "app").mkdir()
    yield made
    shutil.rmtree(made.root)  # what is large by name only is not kept for looking at


def stored_bytes(world: World) -> int:
    return sum(path.stat().st_size for path in (world.state / "store/packs").iterdir())


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were read of files that were opened to be read, in one number."""
    seen = [0]
    at, chunks = Reading.at, Reading.chunks

    def counted_at(self: Reading, offset: int, size_bytes: int) -> bytes:
        found = at(self, offset, size_bytes)
        seen[0] += len(found)
        return found

    def counted_chunks(self: Reading, limit_bytes: int, **given: Any) -> Iterator[bytes]:
        for chunk in chunks(self, limit_bytes, **given):
            seen[0] += len(chunk)
            yield chunk

    monkeypatch.setattr(Reading, "at", counted_at)
    monkeypatch.setattr(Reading, "chunks", counted_chunks)
    return seen


# -- the cut ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "random", "zeros"])
@pytest.mark.parametrize("step", [1, 4095, 4096, 40_000])
def test_a_growing_file_never_is_stored_again(world: World, kind: str, step: int) -> None:
    """Whatever it holds, and whatever size it comes to: what is stored anew is about what came."""
    log = world.root / "app/log"
    size = 7_400_000 // 4096 * 4096 - step
    source = {"text": os.urandom(size).hex().encode(), "random": os.urandom(size + 99_999),
              "zeros": bytes(5000) + os.urandom(size + 99_999)}[kind]  # fmt: skip
    log.write_bytes(source[:size])
    with world.open() as checkpoints:
        checkpoints.create("one")
        before = stored_bytes(world)
        for name in ("two", "three"):
            with log.open("ab") as file:
                file.write(source[size : size + step])
            size += step
            checkpoints.create(name)
            assert name == "three" or log.stat().st_size % 4096 == 0
        assert stored_bytes(world) - before < 2 * (BLOCK_BYTES + step) + 50_000


def test_the_cut_follows_from_the_beginning_and_the_order_of_magnitude() -> None:
    """Of one beginning it only changes where the size doubles, beyond a million blocks."""
    for head in (b"SQLite format 3\0", b"\0" * 4096, b"\x7fELF\0"):
        assert {block_bytes(size, head) for size in (5 * 2**20, 2**30 + 1, 16 * 2**30)} == {
            PAGE_BLOCK_BYTES}  # fmt: skip
    for head in (b"a line\n", b"", b"\x1f\x8b\x08\0", b"\0\0\0\x20ftypisom", b"PK\x03\x04\0"):
        assert {block_bytes(size, head) for size in (5 * 2**20, 2**30 + 1, TIB)} == {BLOCK_BYTES}
    for size in (2**34 + 1, TIB, 2**45, SIZE_BYTES_MAX):
        for head in (b"\0", b"x"):
            each = block_bytes(size, head)
            assert size / each <= BLOCKS_MAX
            blocks = Blocks.of(size, bytes(32) * -(-size // each)) if size <= 2**34 + 1 else None
            assert blocks is None or blocks.each == each


@pytest.mark.parametrize(
    ("size", "count", "rest"), [(5 * 2**20, 4, 0), (2**60, 1, 0), (9, 0, 0), (5, 1, 7)]
)
def test_a_list_that_does_not_fit_its_file_is_damage(size: int, count: int, rest: int) -> None:
    """Too few, too many, or no whole ids."""
    with pytest.raises(ObjectCorrupt):
        Blocks.of(size, bytes(32 * count + rest))


# -- what differs ----------------------------------------------------------------------

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6), st.sampled_from([0, 1, 2])),
                 max_size=6)  # fmt: skip


def laid(path: Path, size: int, told: list[tuple[int, int, int]]) -> bytes:
    """A file with holes: runs of half blocks, of zeros that were written, or of other bytes."""
    with path.open("wb") as file:
        for start, length, value in told:
            file.seek(start * EACH // 2)
            file.write(bytes([value]) * (length * EACH // 2))
        file.truncate(size)
    return path.read_bytes()


def blocks_of(data: bytes) -> Blocks:
    return Blocks(len(data), EACH, b"".join(
        hashlib.sha256(data[at : at + EACH]).digest() for at in range(0, len(data), EACH)))  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    size=st.integers(1, 25 * EACH), then=spans, now=spans, sparse=st.booleans(), base=st.booleans()
)
def test_blocks_that_differ_are_found_and_only_those_are_fetched(
    size: int, then: list[tuple[int, int, int]], now: list[tuple[int, int, int]], sparse: bool,
    base: bool,
) -> None:  # fmt: skip
    """Any two files with any holes: exactly what differs is named, and what is laid out is exact."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted, live = laid(folder / "then", size, then), laid(folder / "now", size, now)
        blocks = blocks_of(wanted)
        differ = [n for n in range(len(blocks))
                  if wanted[n * EACH : (n + 1) * EACH] != live[n * EACH : (n + 1) * EACH]]  # fmt: skip
        fetched: list[bytes] = []

        class Kept:
            def fetch(self, ids: Iterable[bytes]) -> Iterator[bytes]:
                for identity in ids:
                    fetched.append(identity)
                    at = next(n for n in range(len(blocks)) if blocks.id(n) == identity) * EACH
                    yield wanted[at : at + EACH]

            def object(self, identity: str) -> bytes:
                raise AssertionError(f"{identity} was right")

        with Tree.open(name) as tree, tree.reading("now") as file:
            assert list(blocks.differing(file)) == differ
            with tree.draft("made") as draft:
                lay_out(blocks, draft, file if base else None, Kept(), holes=sparse)
        assert (folder / "made").read_bytes() == wanted
        if base:
            assert len(fetched) <= len(differ)
        assert (folder / "now").read_bytes() == live
        allocated = (folder / "made").stat().st_blocks * 512
        assert sparse or allocated >= size // 4096 * 4096


@pytest.mark.parametrize("lacks", ["nothing", "copies", "holes", "punching", "clones"])
def test_a_large_file_comes_back_by_its_changed_blocks(
    world: World, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """Whatever the file system cannot do, and whether the live one is longer, shorter or torn."""
    path = world.root / "app/db"
    path.write_bytes(b"\0page" + os.urandom(WHOLE_BYTES_MAX + 3 * PAGE_BLOCK_BYTES))
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + 50 * PAGE_BLOCK_BYTES)
    lame(monkeypatch, lacks)
    fetched: list[str] = []
    real = Store.get

    def get(self: Store, identity: str) -> bytes:
        fetched.append(identity)
        return real(self, identity)

    with world.open() as checkpoints:
        checkpoints.create("then")
        then = walked(path)
        for number, (size, changed) in enumerate([(None, 3), (2**20, 1), (2**23, 2), (0, 0)]):
            with path.open("r+b") as file:
                for page in range(changed):
                    file.seek((7 + 11 * page) * PAGE_BLOCK_BYTES + 5)
                    file.write(b"other")
                if size is not None:
                    file.truncate(size)
            monkeypatch.setattr(Store, "get", get)
            fetched.clear()
            said = checkpoints.restore("then", "app", step=f"s{number}")
            monkeypatch.setattr(Store, "get", real)
            assert [(change.path, change.why) for change in said] == [(b"app/db", "bytes")]
            assert walked(path) == then
            if size is None:
                assert len(fetched) <= changed + 5  # and the manifest, a tree, the list of blocks
        path.unlink()
        checkpoints.restore("then", "app", step="gone")
        assert walked(path) == then


def lame(monkeypatch: pytest.MonkeyPatch, lacks: str) -> None:
    """A file system that cannot do something; `clones`: one that can, where this one may not."""
    seek, control = os.lseek, fcntl.ioctl

    def no_copy(*_: object) -> int:
        raise OSError(errno.EXDEV, "not here")

    def no_holes(fd: int, at: int, how: int) -> int:
        if how in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, "not here")
        return seek(fd, at, how)

    def no_punch(_fd: int, _how: int, _at: int, _size: int) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    def clone(fd: int, call: int, source: Any) -> int:
        if call != draft._CLONE:
            return control(fd, call, source)
        size = os.fstat(source).st_size
        os.ftruncate(fd, size)
        os.pwrite(fd, os.pread(source, size, 0), 0)
        return 0

    if lacks == "copies":
        monkeypatch.setattr(os, "copy_file_range", no_copy)
    elif lacks == "holes":
        monkeypatch.setattr(os, "lseek", no_holes)
    elif lacks == "punching":
        monkeypatch.setattr(draft, "_fallocate", no_punch)
    elif lacks == "clones":
        monkeypatch.setattr(fcntl, "ioctl", clone)


def test_what_the_disk_garbles_is_noticed_before_the_first_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is written and does not come back as it was: an error, and the live file as it was."""
    path = world.root / "app/db"
    path.write_bytes(b"\0" + os.urandom(WHOLE_BYTES_MAX + 5))
    real = draft.Draft.put

    def garbled(self: draft.Draft, offset: int, data: bytes) -> None:
        real(self, offset, data[:-1] + bytes([data[-1] ^ 1]))

    with world.open() as checkpoints:
        checkpoints.create("then")
        with path.open("r+b") as file:
            file.seek(123_456)
            file.write(b"now")
        now = walked(path)
        monkeypatch.setattr(draft.Draft, "put", garbled)
        with pytest.raises(HostError, match="other bytes than were written"):
            checkpoints.restore("then", "app", step="s")
        assert walked(path) == now


@pytest.mark.parametrize("size", [5000, WHOLE_BYTES_MAX + 5])
@pytest.mark.parametrize("copies", [1, 2])
def test_of_two_copies_in_the_store_a_good_one_is_put_back(
    world: World, size: int, copies: int
) -> None:
    """The one that is read first is damaged: the other is taken; without another nothing is changed."""
    path = world.root / "app/db"
    path.write_bytes(b"\0" + os.urandom(size))
    block = path.read_bytes()[: PAGE_BLOCK_BYTES if size > WHOLE_BYTES_MAX else None]
    identity = hashlib.sha256(block).hexdigest()
    with world.open() as checkpoints:
        checkpoints.create("then")
        then = walked(path)
        if copies == 2:
            checkpoints.store.again(identity)
            checkpoints.store.flush()
        first = checkpoints.store.locate(identity)
        pack = world.state / f"store/packs/{first.pack}.pack"
        whole = bytearray(pack.read_bytes())
        whole[first.offset + 100] ^= 1
        pack.write_bytes(whole)
        with path.open("r+b") as file:
            file.write(b"now")
        now = walked(path)
        if copies == 1:
            with pytest.raises(ObjectCorrupt):
                checkpoints.restore("then", "app", step="s")
            assert walked(path) == now
        else:
            checkpoints.restore("then", "app", step="s")
            assert walked(path) == then


def test_what_the_disk_garbles_of_a_small_file_is_noticed_before_the_first_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once only: what the disk did not give back once is not written a second time."""
    path = world.root / "app/small"
    path.write_bytes(os.urandom(5000))
    real = draft.Draft.fill
    told: list[int] = []

    def garbled(self: draft.Draft, chunks: Iterable[bytes], *, holes: bool = False) -> None:
        data = b"".join(chunks)
        if len(data) == 5000 and not told:
            told.append(1)
            data = data[:-1] + bytes([data[-1] ^ 1])
        real(self, (data,), holes=holes)

    with world.open() as checkpoints:
        checkpoints.create("then")
        path.write_bytes(b"now")
        now = walked(path)
        monkeypatch.setattr(draft.Draft, "fill", garbled)
        with pytest.raises(HostError, match="other bytes than were written"):
            checkpoints.restore("then", "app", step="s")
        assert told
        assert walked(path) == now


def test_zeros_that_the_disk_garbles_are_its_fault_and_not_that_of_the_store(
    tmp_path: Path,
) -> None:
    """A block of zeros is asked of no store: there may be none of it."""
    wanted = os.urandom(EACH) + bytes(EACH) + os.urandom(EACH)
    parts = [wanted[at : at + EACH] for at in range(0, len(wanted), EACH)]
    (tmp_path / "now").write_bytes(os.urandom(len(wanted)))
    blocks = Blocks.of(len(wanted), b"".join(hashlib.sha256(part).digest() for part in parts))
    known = {hashlib.sha256(part).hexdigest(): part for part in parts if any(part)}

    class Kept:
        def fetch(self, ids: Iterable[bytes]) -> Iterator[bytes]:
            return (self.object(identity.hex()) for identity in ids)

        def object(self, identity: str) -> bytes:
            if identity not in known:
                raise ObjectMissing(identity)
            return known[identity]

    class Garbling(draft.Draft):
        def clear(self, offset: int, size_bytes: int, *, hole: bool) -> None:
            self.put(offset, b"\1" * size_bytes)

    with Tree.open(str(tmp_path)) as tree, tree.reading("now") as live, tree.draft("made") as made:
        made.__class__ = Garbling
        with pytest.raises(HostError, match="other bytes than were written"):
            lay_out(blocks, made, live, Kept(), holes=False)


@pytest.mark.parametrize("each", [-1, 1])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_copy_of_another_length_is_passed_over_as_any_other_bad_one(
    world: World, each: int, copies: int
) -> None:
    """Its pack says so itself, and is whole: the bytes are still not those of that name."""
    path = world.root / "app/db"
    path.write_bytes(b"\0" + os.urandom(WHOLE_BYTES_MAX + 5))
    block = path.read_bytes()[:PAGE_BLOCK_BYTES]
    identity = hashlib.sha256(block).hexdigest()
    with world.open() as checkpoints:
        checkpoints.create("then")
        then = walked(path)
        if copies == 2:
            checkpoints.store.again(identity)
            checkpoints.store.flush()
    told = (block + b"x")[: len(block) + each]
    swapped(world, identity, told)
    with path.open("r+b") as file:
        file.write(b"now")
    now = walked(path)
    with world.open() as checkpoints:
        if copies == 1:
            with pytest.raises(ObjectCorrupt):
                checkpoints.restore("then", "app", step="s")
            assert walked(path) == now
        else:
            checkpoints.restore("then", "app", step="s")
            assert walked(path) == then


def swapped(world: World, identity: str, data: bytes) -> None:
    """The largest pack, written anew with these bytes under this name; it is the one that is asked first."""
    packs = world.state / "store/packs"
    old = max(packs.iterdir(), key=lambda path: path.stat().st_size)
    with world.open() as checkpoints:
        store = checkpoints.store
        objects = []
        for one in sorted(store.objects_of(old.stem)):
            body = data if one == identity else store.get(one)
            objects.append((one, len(body), 0, body))
    name, chunks, _ = build(objects)
    old.unlink()
    (packs / f"{name}.pack").write_bytes(b"".join(chunks))
    (world.state / "store/index").unlink(missing_ok=True)
    with world.open() as checkpoints:
        if len(list(packs.iterdir())) > 1 and checkpoints.store.locate(identity).pack != name:
            other = next(path for path in packs.iterdir() if path.stem != name)
            index = Index()
            for pack in (packs / f"{name}.pack", other):
                raw = pack.read_bytes()
                index.learn(
                    pack.stem,
                    read_index(pack.stem, len(raw), lambda at, n, raw=raw: raw[at : at + n]),
                )  # type: ignore[misc]
            sizes = {pack.stem: pack.stat().st_size for pack in packs.iterdir()}
            (world.state / "store/index").write_bytes(b"".join(index.encoded(sizes)))


@pytest.mark.parametrize("which", ["tree", "list"])
def test_a_tree_or_a_list_of_blocks_that_changed_stops_the_restore(
    world: World, which: str
) -> None:
    """They say what is laid down where: they are hashed before they are believed."""
    path = world.root / "app/db"
    path.write_bytes(b"\0" + os.urandom(WHOLE_BYTES_MAX + 5))
    with world.open() as checkpoints:
        checkpoints.create("then")
        (db,) = [one for one in checkpoints.entries("then", "app") if one.blocks]
        tree = checkpoints.manifest("then", "app").top.tree
        identity = db.blocks if which == "list" else tree
        place = checkpoints.store.locate(identity)
        pack = world.state / f"store/packs/{place.pack}.pack"
        whole = bytearray(pack.read_bytes())
        whole[place.offset + place.stored - 3] ^= 1
        pack.write_bytes(whole)
        with path.open("r+b") as file:
            file.write(b"now")
        now = walked(path)
    with world.open() as checkpoints:
        with pytest.raises(ObjectCorrupt):
            checkpoints.restore("then", "app", step="s")
        assert walked(path) == now


@pytest.mark.parametrize("lacks", ["symbol", "call"])
def test_where_writing_cannot_be_begun_early_files_are_put_back_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """A C library without sync_file_range, or a file system that refuses it."""
    path = world.root / "app/db"
    path.write_bytes(b"\0" + os.urandom(WHOLE_BYTES_MAX + 5))
    monkeypatch.setattr(draft.Draft, "_cloned", lambda *_: False)
    monkeypatch.setattr(draft, "_sync_file_range", None if lacks == "symbol" else lambda *_: -1)
    with world.open() as checkpoints:
        checkpoints.create("then")
        then = walked(path)
        with path.open("r+b") as file:
            file.write(b"now")
        checkpoints.restore("then", "app", step="s")
        assert walked(path) == then


def test_a_block_that_is_lost_stops_the_restore_before_the_first_change(world: World) -> None:
    """The live file is what it was, to the byte."""
    path = world.root / "app/db"
    path.write_bytes(b"\0" + os.urandom(WHOLE_BYTES_MAX + 5))
    with world.open() as checkpoints:
        checkpoints.create("then")
        with path.open("r+b") as file:
            file.seek(123_456)
            file.write(b"now")
        now = walked(path)
    for pack in (world.state / "store/packs").iterdir():
        whole = bytearray(pack.read_bytes())
        whole[123_456 + 3000] ^= 1
        pack.write_bytes(whole)
    with world.open() as checkpoints:
        with pytest.raises(ObjectCorrupt):
            checkpoints.restore("then", "app", step="s")
        assert walked(path) == now


# -- holes -----------------------------------------------------------------------------


@pytest.mark.long
def test_a_file_of_a_tebibyte_with_nothing_in_it_costs_next_to_nothing(
    world: World, read_bytes: list[int], tmp_path: Path
) -> None:
    """Captured, proved, compared, restored and taken out by a stranger, without reading its holes."""
    path = world.root / "app/sparse"
    told = {0: b"head", 3 * 2**30 + 5: b"middle", TIB - 4: b"tail"}
    with path.open("wb") as file:
        for at, data in told.items():
            file.seek(at)
            file.write(data)
    with world.open() as checkpoints:
        checkpoints.create("then")
        assert read_bytes[0] < 20 * 2**20
        assert stored_bytes(world) < 2**20
        assert [found.answer for found in checkpoints.verify("then", deep=True)] == [Answer.PASS]
        assert checkpoints.diff("then") == ()
        checkpoints.deep = True
        assert checkpoints.diff("then") == ()
        with path.open("r+b") as file:
            file.seek(TIB // 2)
            file.write(b"now")
        assert [change.why for change in checkpoints.diff("then")] == ["bytes"]
        checkpoints.restore("then", "app", step="one")
        same(path, told)
        path.unlink()
        checkpoints.restore("then", "app", step="two")
        same(path, told)
        assert checkpoints.diff("then") == ()
        assert read_bytes[0] < 200 * 2**20
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(world.state / "store"), "then", "extract", "app",
         str(tmp_path / "out")], capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    same(tmp_path / "out/sparse", told)


def same(path: Path, told: dict[int, bytes]) -> None:
    seen = path.stat()
    assert seen.st_size == TIB
    assert seen.st_blocks * 512 < 8 * 2**20
    with path.open("rb") as file:
        for at, data in told.items():
            file.seek(at)
            assert file.read(len(data) + 3) == (data + b"\0\0\0")[: TIB - at]
        file.seek(TIB // 2)
        assert file.read(3) == b"\0\0\0"


def test_holes_and_written_zeros_are_the_same_bytes(world: World) -> None:
    """A file with great holes has no digest of its own, but is compared by its blocks all the same."""
    path = world.root / "app/f"
    size = HASHED_HOLES_MAX + 2**22
    with path.open("wb") as file:
        file.truncate(size)
    os.utime(path, ns=(5, 5))
    with world.open() as checkpoints:
        made = checkpoints.create("then")
        entry = {one.path: one for one in checkpoints.entries(made.id, "app")}[b"f"]
        assert (entry.sha256, entry.size, entry.digest) == ("", size, entry.blocks)
        with Tree.open(str(world.root)) as tree, tree.reading("app/f") as reading:
            assert digest(reading) == entry.digest
        with path.open("r+b") as file:
            file.seek(2**20)
            file.write(bytes(10))
        assert [change.why for change in checkpoints.diff("then")] == ["time"]
        checkpoints.restore("then", "app", step="s")
        assert checkpoints.diff("then") == ()


def test_what_no_list_of_blocks_could_hold_is_named_and_not_read(world: World) -> None:
    """Larger than a pebibyte by its name alone: PARTIAL, at once."""
    shm = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    if shm is None:
        pytest.fail("a file system that holds such a file is needed: /dev/shm")
    with tempfile.TemporaryDirectory(dir=shm) as name:
        far = World(Path(name), {"app": component("app")}).make()
        (far.root / "app").mkdir()
        with (far.root / "app/f").open("wb") as file:
            file.truncate(SIZE_BYTES_MAX + 1)
        with far.open() as checkpoints, pytest.raises(Partial) as caught:
            checkpoints.create("then")
        assert caught.value.paths == ("app: f: larger than 1024 TiB",)


def test_a_clone_is_asked_for_with_the_number_that_the_kernel_knows() -> None:
    """FICLONE is `_IOW(0x94, 9, int)`; the name came into `fcntl` later than the Python we need."""
    assert getattr(fcntl, "FICLONE", draft._CLONE) == draft._CLONE == (1 << 30) | (4 << 16) | 0x9409
