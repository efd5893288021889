"""Whether what a checkpoint needs is in the store, and whole.

Hides: how objects are read and counted.
Never: changes or repairs anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field

from rollback.host.below import show
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest, decode, tree_entries
from rollback.keep.progress import SILENT, Progress
from rollback.keep.store import Store
from rollback.model.errors import StoreError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted

NAMED_MAX = 20


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
class _Reading:
    """Everything of one component, read and hashed."""

    store: Store
    deep: bool
    objects: set[str] = field(default_factory=set)
    size_bytes: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    told: Callable[[int], None] = lambda _done: None

    def read(self, identity: str) -> bytes | None:
        """The object, counted once; None when it is damaged or missing, which is noted."""
        if identity in self.bad:
            return None
        try:
            data = self.store.get(identity)
        except StoreError as error:
            self.bad[identity] = str(error)
            return None
        if identity not in self.objects:
            self.objects.add(identity)
            self.size_bytes += len(data)
            self.told(self.size_bytes)
        return data

    def walk(self, top: Entry) -> None:
        todo = [top]
        while todo:
            entry = todo.pop()
            if entry.tree:
                data = self.read(entry.tree)
                if data is None:
                    self.paths.append(show(entry.path))
                    continue
                try:
                    todo += tree_entries(data, entry.path, strict=True)
                except StoreError as error:
                    self.bad[entry.tree] = str(error)
                    self.paths.append(show(entry.path))
            elif entry.kind == "file":
                self._file(entry)

    def _file(self, entry: Entry) -> None:
        blocks: tuple[str, ...] = ()
        if entry.blocks and self.read(entry.blocks) is None:
            self.paths.append(show(entry.path))
            return
        blocks = self.store.blocks(entry.sha256, entry.blocks, entry.size)
        if not self.deep and not set(blocks) - self.objects:
            return
        hashing = self.deep and bool(entry.sha256)  # else its blocks are all the proof there is
        whole, size, lost = hashlib.sha256(), 0, False
        for block in blocks if hashing else dict.fromkeys(blocks):
            data = self.read(block)
            if data is None:
                lost = True
            elif hashing:
                whole.update(data)
                size += len(data)
        if lost:
            self.paths.append(show(entry.path))
        elif hashing and (whole.hexdigest() != entry.sha256 or size != entry.size):
            self.paths.append(show(entry.path))
            self.bad[entry.sha256] = "the blocks do not make the file"


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
    if manifest.top is not None:
        reading.walk(manifest.top)
    bad = reading.bad
    if deep and not bad:
        for pack in sorted({one for block in {digest, *reading.objects}
                            for one in store.packs_of(block)}):  # fmt: skip
            if store.pack_digest(pack) != pack:
                bad[pack] = f"packs/{pack}.pack does not match its name"
    if bad:
        first = next(iter(bad.values()))
        return failed(
            f"{name}: {counted(len(bad), 'damaged object')}, "
            f"{counted(len(reading.paths), 'path')} cannot be put back; {first}",
            component=name, objects=list[Json](sorted(bad)[:NAMED_MAX]),
            paths=list[Json](reading.paths[:NAMED_MAX]),
        )  # fmt: skip
    count = len(reading.objects) + 1
    return passed(
        f"{name}: {counted(count, 'object')}, {counted(reading.size_bytes, 'byte')} read and hashed",
        component=name, objects=count, size_bytes=reading.size_bytes,
    )  # fmt: skip
