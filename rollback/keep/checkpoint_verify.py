"""Whether what a checkpoint needs is in the store, and whole.

Hides: how objects are read and counted.
Never: changes or repairs anything.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field

from rollback.host.below import show
from rollback.keep.blocks import Blocks
from rollback.keep.bulk import digests, read_all
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest, decode, tree_entries
from rollback.keep.progress import SILENT, Progress
from rollback.keep.store import Store
from rollback.model.errors import StoreError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted

NAMED_MAX = 20
_TOLD_BYTES = 2**20


class Reach:
    """Which objects manifests need. A folder that two of them share is looked into once."""

    def __init__(self, store: Store, *, whole: Iterable[str] = ()) -> None:
        self._store = store
        self._whole = set(whole)  # trees below which nothing is missing
        # the packs that hold what was asked about; which hold the trees in `whole`, nobody knows
        self.packs = set(store.usable) if self._whole else set[str]()
        self._seen: set[str] = set()

    @property
    def seen(self) -> Set[str]:
        """What `objects` has given so far."""
        return self._seen

    def missing(self, manifest: Manifest) -> list[str]:
        """The objects that no pack holds, by the index; only trees and block lists are read.

        Raises: ObjectCorrupt when one of these is damaged.
        """
        lacking: list[str] = []
        if manifest.top is not None:
            self._look(manifest.top, lacking)
        return sorted(set(lacking))

    def need(self, identity: str) -> bool:
        """True when some pack holds the object."""
        pack = self._store.pack_of(identity)
        if pack is not None:
            self.packs.add(pack)
        return pack is not None

    def _look(self, top: Entry, lacking: list[str]) -> None:
        todo, entered = [top], []
        while todo:
            entry = todo.pop()
            if entry.tree:
                if entry.tree in self._whole:
                    continue
                if not self.need(entry.tree):
                    lacking.append(entry.tree)
                    continue
                entered.append(entry.tree)
                todo += tree_entries(self._store.get(entry.tree), entry.path)
            elif entry.blocks:
                if not self.need(entry.blocks):
                    lacking.append(entry.blocks)
                    continue
                blocks = self._store.blocks("", entry.blocks, entry.size)
                lacking += [one for one in dict.fromkeys(blocks) if not self.need(one)]
            elif entry.kind == "file" and entry.size and not self.need(entry.sha256):
                lacking.append(entry.sha256)
        if not lacking:
            self._whole.update(entered)

    def objects(self, digest: str, manifest: Manifest) -> Iterator[str]:
        """Every object of the manifest that was not given before, the manifest's own first.

        Raises: ObjectMissing, ObjectCorrupt when a tree or a block list cannot be read.
        """
        yield from self._new(digest)
        todo = [manifest.top] if manifest.top is not None else []
        while todo:
            entry = todo.pop()
            if entry.tree:
                if entry.tree not in self._seen:
                    yield from self._new(entry.tree)
                    todo += tree_entries(self._store.get(entry.tree), entry.path)
            elif entry.blocks:
                if entry.blocks not in self._seen:
                    yield from self._new(entry.blocks)
                    for block in self._store.blocks("", entry.blocks, entry.size):
                        yield from self._new(block)
            elif entry.kind == "file" and entry.size:
                yield from self._new(entry.sha256)

    def _new(self, identity: str) -> Iterator[str]:
        if identity not in self._seen:
            self._seen.add(identity)
            yield identity


@dataclass
class _Whole:
    """A file that comes in blocks: what there is of it so far."""

    entry: Entry
    left: int  # blocks to come
    hashing: hashlib._Hash = field(default_factory=hashlib.sha256)
    size: int = 0


@dataclass
class _Reading:
    """Everything of one component, read and hashed."""

    store: Store
    deep: bool
    objects: set[bytes] = field(default_factory=set)  # raw ids
    size_bytes: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    told: Callable[[int], None] = lambda _done: None
    _told_bytes: int = 0
    _coming: deque[_Whole | bytes] = field(
        default_factory=deque
    )  # what each object is part of, or is

    def run(self, top: Entry) -> None:
        """Every object below was read; what is wrong with those that are not whole is in `bad`."""
        coming, objects = self._coming, self.objects
        for identity, got in read_all(self.store, self._needed(top)):
            part = coming.popleft()
            if isinstance(got, StoreError):
                self.bad[identity] = str(got)
                if isinstance(part, bytes):
                    objects.discard(part)
            elif isinstance(part, bytes):
                self._tell(len(got))
            else:
                self._count(identity, len(got))
            if not isinstance(part, bytes):
                self._part(part, got)

    def _needed(self, top: Entry) -> Iterator[str]:
        """The objects of files, in the order in which a capture puts them."""
        todo, objects = [top], self.objects
        while todo:
            entry = todo.pop()
            children = self._children(entry) if entry.tree else (entry,)
            todo += [child for child in reversed(children) if child.tree]
            for child in children:
                if child.kind != "file":
                    continue
                if child.blocks:
                    yield from self._blocks(child)
                elif child.size and (raw := bytes.fromhex(child.sha256)) not in objects:
                    objects.add(raw)
                    self._coming.append(raw)
                    yield child.sha256

    def _children(self, folder: Entry) -> tuple[Entry, ...]:
        data = self._read(folder.tree)
        if data is not None:
            try:
                return tree_entries(data, folder.path, strict=True)
            except StoreError as error:
                self.bad[folder.tree] = str(error)
        return ()

    def _blocks(self, entry: Entry) -> Iterator[str]:
        data = self._read(entry.blocks)
        if data is None:
            return
        try:
            Blocks.of(entry.size, data)
        except StoreError as error:
            self.bad[entry.blocks] = str(error)
            return
        blocks = self.store.blocks("", entry.blocks, entry.size)
        if self.deep and entry.sha256:
            whole = _Whole(entry, len(blocks))
            for block in blocks:
                self._coming.append(whole)
                yield block
            return
        for block in blocks:
            if (raw := bytes.fromhex(block)) not in self.objects:
                self.objects.add(raw)
                self._coming.append(raw)
                yield block

    def _part(self, whole: _Whole, got: bytes | StoreError) -> None:
        whole.left -= 1
        if isinstance(got, bytes):
            whole.hashing.update(got)
            whole.size += len(got)
        entry = whole.entry
        if not whole.left and (whole.hashing.hexdigest(), whole.size) != (entry.sha256, entry.size):
            self.bad.setdefault(entry.sha256, "the blocks do not make the file")

    def _read(self, identity: str) -> bytes | None:
        """A tree or a list of blocks; None when it is damaged or missing, which is noted."""
        if identity in self.bad:
            return None
        try:
            data = self.store.get(identity)
        except StoreError as error:
            self.bad[identity] = str(error)
            return None
        self._count(identity, len(data))
        return data

    def _count(self, identity: str, size_bytes: int) -> None:
        raw = bytes.fromhex(identity)
        if raw not in self.objects:
            self.objects.add(raw)
            self._tell(size_bytes)

    def _tell(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        if self.size_bytes - self._told_bytes >= _TOLD_BYTES:
            self._told_bytes = self.size_bytes
            self.told(self.size_bytes)

    def paths(self, top: Entry) -> Iterator[str]:
        """What cannot be put back because of what is bad; below a lost folder nothing is known."""
        todo = [top]
        while todo:
            entry = todo.pop()
            needed = {entry.tree, entry.blocks, entry.sha256}
            if entry.blocks and entry.blocks not in self.bad:
                needed.update(self.store.blocks("", entry.blocks, entry.size))
            if not needed.isdisjoint(self.bad):
                yield show(entry.path)
            elif entry.tree:
                todo += reversed(tree_entries(self.store.get(entry.tree), entry.path))


def check_component(
    store: Store, name: str, digest: str, *, deep: bool, progress: Progress = SILENT,
    size_bytes: int | None = None,
) -> Finding:  # fmt: skip
    """PASS when every object of the component was read and hashed just now, else FAIL by name.

    `size_bytes` are those of its files, as far as they are known.

    `deep` also hashes every file as a whole, and the packs it lies in.
    """
    reading = _Reading(store, deep, told=lambda done: progress(
        f"verifying {name}", done, max(done, size_bytes) if size_bytes else None, "bytes"))  # fmt: skip
    try:
        manifest = decode(store.get(digest))
    except StoreError as error:
        return failed(f"{name}: its manifest is lost: {error}", component=name, manifest=digest)
    top = manifest.top
    if top is not None:
        reading.run(top)
    bad = reading.bad
    paths = list(reading.paths(top)) if bad and top is not None else []
    if deep and not bad:
        for pack, found in digests(store, store.holding({bytes.fromhex(digest), *reading.objects})):
            if found != pack:
                bad[pack] = f"packs/{pack}.pack does not match its name"
    if bad:
        first = next(iter(bad.values()))
        return failed(
            f"{name}: {counted(len(bad), 'damaged object')}, "
            f"{counted(len(paths), 'path')} cannot be put back; {first}",
            component=name, objects=list[Json](sorted(bad)[:NAMED_MAX]),
            paths=list[Json](paths[:NAMED_MAX]),
        )  # fmt: skip
    count = len(reading.objects) + 1
    return passed(
        f"{name}: {counted(count, 'object')}, {counted(reading.size_bytes, 'byte')} read and hashed",
        component=name, objects=count, size_bytes=reading.size_bytes,
    )  # fmt: skip
