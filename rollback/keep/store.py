"""Objects by the SHA-256 of their bytes, in packs that never change.

The index is read from the footers of the packs when the store is opened; there is no other one.
New objects wait in memory and become durable in `flush`. An object may lie in several packs; a
damaged copy is passed over as long as a good one is there, and replaced when its bytes come again.

Hides: packs, compression, blocks.
Never: gives back bytes that it did not just hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from rollback.host import Host, Tree
from rollback.keep.pack import (
    OBJECT_BYTES_MAX,
    RECORD,
    Location,
    build,
    opened,
    read_index,
    record_header,
    squeezed,
)
from rollback.keep.place import Place
from rollback.keep.stores.folder import Folder
from rollback.model.errors import ObjectCorrupt, ObjectMissing, StoreError

WHOLE_BYTES_MAX = 4 * 2**20  # up to here a file is one object
BLOCK_BYTES = 2**20
PAGE_BLOCK_BYTES = 16 * 2**10  # for files whose pages change in place
PENDING_BYTES_MAX = 64 * 2**20
FORMAT = b"rollback-store 1\n"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is in the store: its blocks in order, and its own digest."""

    objects: tuple[str, ...]
    sha256: str
    size: int


class Store:
    """The objects in one place. Writers hold `lock()`; readers need none."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.damaged: dict[str, str] = {}  # packs that cannot be used, and why
        self._where: dict[str, list[Location]] = {}
        self._pending: dict[str, tuple[int, int, bytes]] = {}
        self._pending_bytes = 0
        self._proved: set[str] = set()
        self._seen: set[str] = set()
        self.refresh()

    @classmethod
    def open(cls, tree: Tree, host: Host) -> Store:
        """The store in the folder `store` of a state directory, which comes into being."""
        if tree.stat("store") is None:
            tree.make_folder("store")
            tree.sync_folder()
        folder = Folder(tree.sub("store"), host)
        if "format" not in folder.names("."):
            if tree.writable("store"):  # an empty one that may only be looked at stays empty
                folder.create("format", [FORMAT])
        elif folder.read("format", 0, 100) != FORMAT:
            raise StoreError(
                "the store has a format that this version does not know",
                where=tree.place("store/format"), hint="use the version that wrote it",
            )  # fmt: skip
        return cls(folder)

    def refresh(self) -> None:
        """Packs that others wrote are known too, and those that they removed are forgotten."""
        names = {name.removesuffix(".pack") for name in self.place.names("packs")}
        gone = self._seen - names
        if gone:
            for identity in list(self._where):
                kept = [one for one in self._where[identity] if one.pack not in gone]
                self._where[identity] = kept
                if not kept:
                    del self._where[identity]
        for name in sorted(names - self._seen):
            self._learn(name)
        self._seen = names

    def _learn(self, name: str) -> None:
        path = f"packs/{name}.pack"
        try:
            found = list(read_index(name, self.place.size(path), self._reader(path)))
        except (OSError, ObjectCorrupt) as error:
            self.damaged[name] = str(error)
            return
        self.damaged.pop(name, None)
        for identity, location in found:
            self._where.setdefault(identity, []).append(location)

    def _reader(self, path: str) -> Callable[[int, int], bytes]:
        return lambda offset, size: self.place.read(path, offset, size)

    def lock(self, *, shared: bool = False) -> AbstractContextManager[None]:
        """One writer at a time. Raises: RunLocked."""
        return self.place.lock(shared=shared)

    # -- reading ---------------------------------------------------------------------------

    def has(self, identity: str) -> bool:
        """True when the object is in a pack whose index is whole, or waits to be flushed."""
        return identity in self._where or identity in self._pending

    def get(self, identity: str) -> bytes:
        """The bytes of an object, hashed just now. Raises: ObjectMissing, ObjectCorrupt."""
        if identity in self._pending:
            length, codec, stored = self._pending[identity]
            return opened(stored, Location("", 0, length, len(stored), codec), identity)
        problem: StoreError | None = None
        for location in self._where.get(identity, ()):
            try:
                return self._read(identity, location)
            except (StoreError, OSError) as error:
                problem = error if isinstance(error, StoreError) else ObjectCorrupt(
                    f"object {identity} cannot be read: {error.strerror}",
                    where=f"packs/{location.pack}.pack")  # fmt: skip
        if problem is not None:
            raise problem
        raise ObjectMissing(
            f"object {identity} is not in the store", where="packs/",
            hint="restore from a copy of the store, or choose another checkpoint",
        )  # fmt: skip

    def _read(self, identity: str, location: Location) -> bytes:
        path = f"packs/{location.pack}.pack"
        size = RECORD.size + location.stored
        record = self.place.read(path, location.offset - RECORD.size, size)
        if record[: RECORD.size] != record_header(identity, location):
            raise ObjectCorrupt(f"object {identity} is damaged: its header has changed", where=path)
        return opened(record[RECORD.size :], location, identity)

    def packs_of(self, identity: str) -> tuple[str, ...]:
        """The packs that hold the object."""
        return tuple(one.pack for one in self._where.get(identity, ()))

    def packs(self) -> tuple[str, ...]:
        """Every pack with a whole index."""
        return tuple(sorted(self._seen - set(self.damaged)))

    def pack_digest(self, name: str) -> str:
        """SHA-256 of a whole pack file as it is now: its name, if it is whole."""
        path = f"packs/{name}.pack"
        whole = hashlib.sha256()
        size = self.place.size(path)
        for offset in range(0, size, BLOCK_BYTES):
            whole.update(self.place.read(path, offset, BLOCK_BYTES))
        return whole.hexdigest()

    # -- writing ---------------------------------------------------------------------------

    def put(self, data: bytes) -> str:
        """The object will be durable after `flush`; its id.

        Again: a copy that is there already is read and hashed; a damaged one gets a good sibling.
        """
        if len(data) > OBJECT_BYTES_MAX:
            raise StoreError(f"an object of {len(data)} bytes is too large")
        identity = hashlib.sha256(data).hexdigest()
        if identity in self._pending or identity in self._proved or self._proves(identity):
            return identity
        codec, stored = squeezed(data)
        self._pending[identity] = (len(data), codec, stored)
        self._pending_bytes += len(stored)
        if self._pending_bytes >= PENDING_BYTES_MAX:
            self._write_pending()
        return identity

    def _proves(self, identity: str) -> bool:
        """True when the stored object is whole: nobody may build on a copy that nobody looked at."""
        if identity not in self._where:
            return False
        try:
            self.get(identity)
        except StoreError:
            return False
        self._proved.add(identity)
        return True

    def put_stream(self, chunks: Iterable[bytes], *, block_bytes: int = BLOCK_BYTES) -> Stored:
        """The bytes will be durable after `flush`: one object if they are few, else blocks."""
        whole = hashlib.sha256()
        size = 0
        held = bytearray()
        blocks: list[str] = []
        in_blocks = False
        for chunk in chunks:
            whole.update(chunk)
            size += len(chunk)
            held += chunk
            in_blocks = in_blocks or len(held) > WHOLE_BYTES_MAX
            while in_blocks and len(held) >= block_bytes:
                blocks.append(self.put(bytes(held[:block_bytes])))
                del held[:block_bytes]
        if held:
            blocks.append(self.put(bytes(held)))
        return Stored(tuple(blocks), whole.hexdigest(), size)

    def flush(self) -> None:
        """Everything put is durable, and was read back from the disk and hashed.

        Raises: StoreError; then none of it may be relied on.
        """
        self._write_pending()

    def _write_pending(self) -> None:
        if not self._pending:
            return
        objects = [(identity, *rest) for identity, rest in self._pending.items()]
        name, chunks, locations = build(objects)
        path = f"packs/{name}.pack"
        try:
            self.place.create(path, _joined(chunks))
            self.place.forget(path)
            self._prove(path, [one[0] for one in objects], locations)
        except OSError as error:
            raise StoreError(
                f"the store cannot be written: {error.strerror}", where=path
            ) from error
        for (identity, *_), location in zip(objects, locations, strict=True):
            self._where.setdefault(identity, []).insert(0, location)
            self._proved.add(identity)
        self._seen.add(name)
        self.drop()

    def _prove(self, path: str, identities: list[str], locations: list[Location]) -> None:
        pack = path.removeprefix("packs/").removesuffix(".pack")
        found = dict(read_index(pack, self.place.size(path), self._reader(path)))
        for identity, location in zip(identities, locations, strict=True):
            if found.get(identity) != location:
                raise ObjectCorrupt("the index on disk is not the one that was written", where=path)
            self._read(identity, location)

    def drop(self) -> None:
        """What was put and not flushed is forgotten."""
        self._pending.clear()
        self._pending_bytes = 0

    def remove_pack(self, name: str) -> None:
        """The pack is gone. The caller knows that nothing needs it, and holds the lock."""
        self.place.remove(f"packs/{name}.pack")
        self._proved.clear()
        self.refresh()


def _joined(chunks: list[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces: one system call for many small objects."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) >= BLOCK_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
