"""Reading a tree of files into the store, so that nothing is missed without being named.

Folder by folder, what is below before what is above. A folder that looks to `stat` as it did when
it was last read has the tree that it had; in another, files that look the same are not read. Every
other file is looked at before and after it is read, through one descriptor; and everything once more
after the whole walk, so that what is captured stood there at one moment. What moves meanwhile is
read again, three times in all, then it is missing.

Hides: retries, hard-link groups, which names are not captured.
Never: opens a FIFO, socket or device; skips silently; follows a link.
"""

from __future__ import annotations

import hashlib
import os
import stat as stat_
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollback.host.below import show
from rollback.host.looking import Reading
from rollback.keep.attributes import declared
from rollback.keep.blocks import (
    HEAD_BYTES,
    SIZE_BYTES_MAX,
    WHOLE_BYTES_MAX,
    Stored,
    block_bytes,
    great_holes,
    pieces,
)
from rollback.keep.content import Captured, Site
from rollback.keep.entry import Entry, path_json
from rollback.keep.manifest import (
    Item,
    Manifest,
    entry_item,
    items_bytes,
    tree_bytes,
    tree_items,
)
from rollback.keep.progress import SILENT, Progress, counted
from rollback.keep.stat_cache import RACY_NS, Frame, Frames, Fresh, alike, packed
from rollback.keep.store import Store
from rollback.keep.survey import Folder, Survey, below, special
from rollback.model.errors import StoreError
from rollback.model.finding import Json

TRIES = 3
_CHANGED = "changed while it was read"
_PAGE_BYTES = 4096
Attributes = tuple[tuple[bytes, bytes], ...]
_EMPTY_TREE = hashlib.sha256(tree_bytes(())).hexdigest()


def capture_tree(site: Site, *, meta: Mapping[str, Json] | None = None) -> Captured:
    """The folder or file at the site is put into the store; its manifest."""
    whole: set[str] = set()
    for _ in range(TRIES):
        one = _Pass(site, whole)
        one.run()
        if not one.moved:
            break
    one.missing += one.moved.items()
    return one.captured(meta or {})


@dataclass
class _Pass:
    """One reading of a component."""

    site: Site
    whole: set[str]  # trees all of which was put or looked up now
    top: Entry | None = None
    missing: list[tuple[bytes, str]] = field(default_factory=list)
    vanished: list[bytes] = field(default_factory=list)
    not_captured: list[tuple[bytes, str]] = field(default_factory=list)
    moved: dict[bytes, str] = field(default_factory=dict)
    count: int = 0
    links: int = 0
    size_bytes: int = 0
    _trees: dict[bytes, str] = field(default_factory=dict)
    _first: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _names: dict[bytes, list[int]] = field(default_factory=dict)
    _looks: dict[bytes, tuple[tuple[int, int, int], int]] = field(default_factory=dict)
    _began_ns: int = 0

    def run(self) -> None:
        """Everything in scope is an entry, missing, or named as not captured."""
        self._began_ns = int(self.site.host.clock.now().timestamp() * 1e9) - RACY_NS
        found = self.site.root.stat(self.site.at)
        if found is None:
            return
        if not stat_.S_ISDIR(found.st_mode):
            self.top = self._taken(b".", found)
            self._count((entry_item(self.top),) if self.top else ())
            return
        fresh = self.site.cache.fresh()
        self._walk(found, self.site.cache.frames(), fresh)
        if not self.site.volatile:
            self._look_again()
        if fresh.commit() and self.moved:
            self.site.cache.reload()  # what did not move need not be read again

    def _walk(self, found: os.stat_result, known: Frames, fresh: Fresh) -> None:
        what, expected = f"capturing {self.site.component}", len(self.site.cache)
        for number, folder in enumerate(self._survey.folders(b".", found), start=1):
            total = max(number, expected) if expected else None  # as many as the last time
            self.site.progress(what, number, total, "folders")
            self.not_captured += folder.others
            self.not_captured += [(path, self.site.scope.whose(path)) for path in folder.own]
            self.not_captured += [(below(folder.path, name), special(seen.st_mode))
                                  for name, seen in folder.specials]  # fmt: skip
            self._trees[folder.path] = self._tree(folder, known, fresh)
        self.top = self._folder(b".", found, self._trees.pop(b"."), held=True)
        self.count += 1

    @property
    def _survey(self) -> Survey:
        site = self.site
        return Survey(site.root, site.at, site.scope, site.host.clock, self._lost)

    def _full(self, path: bytes) -> bytes:
        return self._survey.full(path)

    def _lost(self, path: bytes, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self.missing.append((path, error.strerror or "cannot be read"))
        elif self.site.volatile:
            self.vanished.append(path)
        else:
            self.missing.append((path, "vanished while it was read"))

    # -- taking ----------------------------------------------------------------------------

    def _tree(self, folder: Folder, known: Frames, fresh: Fresh) -> str:
        """The id of the tree of a folder whose folders have theirs; it is put into the store."""
        stats = packed(folder.children)
        self._looks[folder.path] = _times(folder.seen), _files(folder)
        ids = [bytes.fromhex(self._trees.get(below(folder.path, name), ""))
               for name, _ in folder.folders]  # fmt: skip
        folder.exact = folder.exact and all(ids)
        trees = b"".join(ids)
        frame = known.get(folder.path) if folder.exact else None
        if frame is not None and (frame.stats, frame.below) == (stats, trees):
            tree = frame.tree.hex()
            if self.site.store.has(tree):
                self.count += frame.count
                self.links += frame.links
                self.size_bytes += frame.size_bytes
                fresh.add(folder.path, frame)
                self._drop(folder)
                if self.site.steady:
                    self.whole.add(tree)
                return tree
        lost = len(self.missing) + len(self.vanished)
        items, whole = self._items(folder, self._before(stats, frame))
        self._drop(folder)
        count, links, size_bytes = self._count(items)
        tree = self.site.store.put(items_bytes(items))
        if whole:
            self.whole.add(tree)
        if folder.exact and len(self.missing) + len(self.vanished) == lost:
            racy_from = folder.at_ns - RACY_NS
            if any(seen.st_ctime_ns >= racy_from for _, seen in folder.children):
                stats = packed(folder.children, racy_from=racy_from)
            fresh.add(folder.path, Frame(
                stats, bytes.fromhex(tree), trees, count, links, size_bytes))  # fmt: skip
        return tree

    def _drop(self, folder: Folder) -> None:
        for name, _ in folder.folders:
            self._trees.pop(below(folder.path, name), None)

    def _before(self, stats: bytes, frame: Frame | None) -> dict[bytes, Item]:
        """What the tree that the folder had says of those that look as they did then."""
        if frame is None:
            return {}
        try:
            items = tree_items(self.site.store.get(frame.tree.hex()))
        except StoreError:
            return {}
        return {name: items[name] for name in alike(frame.stats, stats) & items.keys()}

    def _items(self, folder: Folder, then: dict[bytes, Item]) -> tuple[list[Item], bool]:
        """What is in the folder, and whether all below it was put or looked up now."""
        found, whole = [], True
        for name, seen in folder.children:
            if stat_.S_ISDIR(seen.st_mode):
                path = below(folder.path, name)
                tree = self._trees.get(path)
                if tree is not None and (name not in folder.loose or tree != _EMPTY_TREE):
                    whole = whole and tree in self.whole
                    found.append(entry_item(
                        self._folder(path, seen, tree, held=name not in folder.loose)))  # fmt: skip
                continue
            item = then.get(name)
            if item is not None and (self.site.steady or self._stored(item)):
                whole = whole and (self.site.steady or "blocks" not in item)
                found.append(item)
                continue
            entry = self._taken(below(folder.path, name), seen)
            if entry is not None:
                found.append(entry_item(entry))
        return found, whole

    def _stored(self, item: Item) -> bool:
        wanted = item.get("blocks") or (item["sha256"] if item.get("size") else "")
        return not wanted or self.site.store.has(wanted)

    def _count(self, items: Iterable[Item]) -> tuple[int, int, int]:
        count = links = size_bytes = 0
        for item in items:
            count += 1
            links += item["kind"] == "hardlink"
            size_bytes += item.get("size", 0)
        self.count += count
        self.links += links
        self.size_bytes += size_bytes
        return count, links, size_bytes

    def _folder(self, path: bytes, seen: os.stat_result, tree: str, *, held: bool) -> Entry:
        if not held:
            return Entry(path, "folder", tree=tree)
        try:
            if self.site.xattrs:
                attributes, rest = parted(self.site.root.attributes(self._full(path)), self.site)
            else:
                attributes, rest = (), self.site.root.xattrs(self._full(path))
        except OSError as error:
            self._lost(path, error)
            attributes, rest = (), ()
        entry = Entry(path, "folder", xattrs=rest, tree=tree, attributes=attributes)
        return dressed(entry, seen)

    def _taken(self, path: bytes, seen: os.stat_result) -> Entry | None:
        full = self._full(path)
        try:
            if stat_.S_ISLNK(seen.st_mode):
                target = self.site.root.readlink(full)
                return dressed(Entry(path, "symlink", target=target), seen)
            if stat_.S_ISREG(seen.st_mode):
                return self._taken_file(path, full, seen)
            self.not_captured.append((path, special(seen.st_mode)))
        except OSError as error:
            self._lost(path, error)
        return None

    def _taken_file(self, path: bytes, full: bytes, found: os.stat_result) -> Entry | None:
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and key in self._first:
            first = self._first[key]
            self._names[first][0] += 1
            return dressed(Entry(path, "hardlink", target=first), found)
        if found.st_size > SIZE_BYTES_MAX:
            self.missing.append((path, f"larger than {SIZE_BYTES_MAX // 2**40} TiB"))
            return None
        for _ in range(TRIES):
            read = read_steadily(self.site, full)
            if read is not None:
                break
        else:
            self.missing.append((path, _CHANGED))
            return None
        stored, seen, attributes, rest = read
        if seen.st_nlink > 1:
            self._first[(seen.st_dev, seen.st_ino)] = path
            self._names[path] = [1, seen.st_nlink]
        return Entry(path, "file", stat_.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid,
                     seen.st_mtime_ns, stored.size, stored.sha256, stored.blocks, b"", rest,
                     _allocated(seen), "", attributes)  # fmt: skip

    def _look_again(self) -> None:
        """What changed since it was looked at is in `moved`; folder by folder, for memory's sake."""
        site = self.site
        gone = "vanished while it was read"
        survey = Survey(site.root, site.at, site.scope, site.host.clock,
                        lambda path, _error: self.moved.update({path: gone}))  # fmt: skip
        found = site.root.stat(site.at)
        if found is None or not stat_.S_ISDIR(found.st_mode):
            self.moved[b"."] = gone
            return
        for folder in survey.folders(b".", found):
            times, looked = self._looks.pop(folder.path, (None, 0))
            if times != _times(folder.seen):
                self.moved[folder.path] = "names changed while it was read"
            elif _files(folder) != looked:
                files = ((name, seen) for name, seen in folder.children
                         if not stat_.S_ISDIR(seen.st_mode))  # fmt: skip
                paths = [below(folder.path, name) for name, seen in files
                         if seen.st_ctime_ns >= self._began_ns]  # fmt: skip
                self.moved |= dict.fromkeys(paths or [folder.path], _CHANGED)
        if self._looks and not self.moved:
            self.moved[b"."] = gone

    def captured(self, meta: Mapping[str, Json]) -> Captured:
        """The manifest; `meta` says what it does not hold."""
        known: dict[str, Json] = dict(meta)
        if self.top is None and not self.missing:
            known["absent"] = True
        if self.not_captured:
            known["not_captured"] = [{"path": path_json(path), "type": kind}
                                     for path, kind in sorted(self.not_captured)]  # fmt: skip
        if self.vanished:
            known["vanished"] = [path_json(path) for path in sorted(self.vanished)]
        outside = sorted(path for path, (here, all_) in self._names.items() if here < all_)
        if outside:
            known["linked_outside"] = [path_json(path) for path in outside]
        missing = sorted(set(self.missing))
        if missing:
            known["missing"] = [{"path": path_json(path), "why": why} for path, why in missing]
        site = self.site
        manifest = Manifest(site.component, site.content, self.top, known, self.count,
                            self.size_bytes, self.links)  # fmt: skip
        said = tuple(f"{site.component}: {show(path)}: {why}" for path, why in missing)
        return Captured(manifest, said, frozenset(self.whole))


def read_steadily(
    site: Site, full: bytes
) -> tuple[Stored, os.stat_result, Attributes, tuple[bytes, ...]] | None:
    """The file, if it was the same before and after it was read; else None.

    Its declared extended attributes come with it, and the names of the others.
    """
    with site.root.reading(full) as file:
        before = file.stat()
        large = before.st_size > WHOLE_BYTES_MAX
        what = f"capturing {site.component}, {show(os.path.basename(full))}" if large else ""
        stored = put_file(site.store, file, before.st_size, site.progress, what)
        names = file.xattrs()
        held = {name: file.attribute(name) for name in names
                if site.xattrs and declared(name, site.xattrs)}  # fmt: skip
        after = file.stat()
        if stored.size != before.st_size or _identity(before) != _identity(after):
            return None
        rest = tuple(name for name in names if name not in held)
        return stored, after, tuple(sorted(held.items())), rest


def put_file(
    store: Store, file: Reading, size: int, progress: Progress = SILENT, what: str = ""
) -> Stored:
    """The first `size` bytes are put: as one object, or in blocks, holes without reading them."""
    if size <= WHOLE_BYTES_MAX:
        return store.put_whole(b"".join(file.chunks(size)))
    each = block_bytes(size, file.at(0, HEAD_BYTES))
    coming = counted(pieces(file, size, each), progress, what, size)
    return store.put_stream(coming, block_bytes=each, hashed=not great_holes(file, size))


def parted(found: dict[bytes, bytes], site: Site) -> tuple[Attributes, tuple[bytes, ...]]:
    """The declared extended attributes with their values, and the names of the others."""
    ours = {name: value for name, value in found.items() if declared(name, site.xattrs)}
    return tuple(sorted(ours.items())), tuple(sorted(found.keys() - ours.keys()))


def dressed(entry: Entry, found: os.stat_result) -> Entry:
    """The entry with the mode, owner and time of what was found."""
    return Entry(
        entry.path, entry.kind, stat_.S_IMODE(found.st_mode), found.st_uid, found.st_gid,
        found.st_mtime_ns, entry.size, entry.sha256, entry.blocks, entry.target, entry.xattrs,
        entry.allocated, entry.tree, entry.attributes,
    )  # fmt: skip


def _allocated(found: os.stat_result) -> int | None:
    """The bytes on disk of a file with holes; None of one without."""
    used: int = found.st_blocks * 512
    return used if used < found.st_size - _PAGE_BYTES else None


def _files(folder: Folder) -> int:
    """Equal while no file or link in the folder changed; that none came or went says its own time."""
    return hash(tuple([seen.st_ctime_ns for _, seen in folder.children
                       if not stat_.S_ISDIR(seen.st_mode)]))  # fmt: skip


def _times(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
