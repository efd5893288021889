"""Reading a tree of files into the store, so that nothing is missed without being named.

A file is looked at before and after it is read, through one descriptor; a folder before and after
the whole walk. What moves meanwhile is read again, three times in all, then it is missing.

Hides: retries, hard-link groups, which names are not captured.
Never: opens a FIFO, socket or device; skips silently; follows a link.
"""

from __future__ import annotations

import os
import stat as stat_
from collections.abc import Mapping
from dataclasses import dataclass, field

from rollback.host.below import show
from rollback.keep.content import Captured, Site
from rollback.keep.manifest import Entry, Manifest, order, path_json
from rollback.keep.store import BLOCK_BYTES, Stored
from rollback.model.finding import Json

TRIES = 3
_SPECIAL = {
    stat_.S_IFIFO: "fifo", stat_.S_IFSOCK: "socket", stat_.S_IFBLK: "block device",
    stat_.S_IFCHR: "character device",
}  # fmt: skip


def special(mode: int) -> str:
    """What a file that is no file, folder or link is; empty for those."""
    return _SPECIAL.get(stat_.S_IFMT(mode), "")


def capture_tree(site: Site, *, meta: Mapping[str, Json] | None = None) -> Captured:
    """The folder or file at the site is put into the store; its manifest."""
    for attempt in range(TRIES):
        one = _Pass(site)
        one.run()
        if not one.moved:
            break
        if attempt == TRIES - 1:
            one.missing += [(path, "names changed while it was read") for path in one.moved]
    return one.captured(meta or {})


@dataclass
class _Pass:
    """One reading of a component."""

    site: Site
    entries: list[Entry] = field(default_factory=list)
    missing: list[tuple[bytes, str]] = field(default_factory=list)
    vanished: list[bytes] = field(default_factory=list)
    not_captured: list[tuple[bytes, str]] = field(default_factory=list)
    moved: list[bytes] = field(default_factory=list)
    absent: bool = False
    _first: dict[tuple[int, int], bytes] = field(default_factory=dict)
    _names: dict[bytes, list[int]] = field(default_factory=dict)
    _folders: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)

    def run(self) -> None:
        """Everything in scope is an entry, missing, or named as not captured."""
        at, root = self.site.at, self.site.root
        found = root.stat(at)
        if found is None:
            self.absent = True
            return
        self._take(b".", at, found)
        if not stat_.S_ISDIR(found.st_mode):
            return
        for full, seen in root.walk(at, enter=self._enter, failed=self._failed):
            path = self._relative(full)
            if self.site.scope.holds(path):
                self._take(path, full, seen)
        self._look_again()

    def _relative(self, full: bytes) -> bytes:
        return full if self.site.at == b"." else full[len(self.site.at) + 1 :]

    def _enter(self, full: bytes) -> bool:
        return self.site.scope.enters(self._relative(full))

    def _failed(self, full: bytes, error: OSError) -> None:
        self._lost(self._relative(full), error)

    def _lost(self, path: bytes, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self.missing.append((path, error.strerror or "cannot be read"))
        elif self.site.volatile:
            self.vanished.append(path)
        else:
            self.missing.append((path, "vanished while it was read"))

    def _take(self, path: bytes, full: bytes, found: os.stat_result) -> None:
        try:
            if stat_.S_ISDIR(found.st_mode):
                self._folders[full] = _times(found)
                self.entries.append(dressed(Entry(
                    path, "folder", xattrs=self.site.root.xattrs(full)), found))  # fmt: skip
            elif stat_.S_ISLNK(found.st_mode):
                target = self.site.root.readlink(full)
                self.entries.append(dressed(Entry(path, "symlink", target=target), found))
            elif stat_.S_ISREG(found.st_mode):
                self._take_file(path, full, found)
            else:
                self.not_captured.append((path, special(found.st_mode)))
        except OSError as error:
            self._lost(path, error)

    def _take_file(self, path: bytes, full: bytes, found: os.stat_result) -> None:
        key = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and key in self._first:
            first = self._first[key]
            self._names[first][0] += 1
            self.entries.append(dressed(Entry(path, "hardlink", target=first), found))
            return
        for _ in range(TRIES):
            read = read_steadily(self.site, full)
            if read is not None:
                break
        else:
            self.missing.append((path, "changed while it was read"))
            return
        stored, seen, xattrs = read
        self.entries.append(dressed(Entry(
            path, "file", size=stored.size, sha256=stored.sha256, objects=stored.objects,
            xattrs=xattrs, sparse=seen.st_blocks * 512 < seen.st_size - 4096), seen))  # fmt: skip
        if seen.st_nlink > 1:
            self._first[(seen.st_dev, seen.st_ino)] = path
            self._names[path] = [1, seen.st_nlink]

    def _look_again(self) -> None:
        """A name that came or went behind the walk's back shows in the times of its folder."""
        if self.site.volatile:
            return
        for full, before in self._folders.items():
            now = self.site.root.stat(full)
            if now is None or _times(now) != before:
                self.moved.append(self._relative(full) if full != self.site.at else b".")

    def captured(self, meta: Mapping[str, Json]) -> Captured:
        """The manifest; `meta` says what it does not hold."""
        known: dict[str, Json] = dict(meta)
        if self.absent:
            known["absent"] = True
        if self.not_captured:
            known["not_captured"] = [{"path": path_json(path), "type": kind}
                                     for path, kind in sorted(self.not_captured)]  # fmt: skip
        if self.vanished:
            known["vanished"] = [path_json(path) for path in sorted(self.vanished)]
        outside = sorted(path for path, (here, all_) in self._names.items() if here < all_)
        if outside:
            known["linked_outside"] = [path_json(path) for path in outside]
        missing = sorted(self.missing)
        if missing:
            known["missing"] = [{"path": path_json(path), "why": why} for path, why in missing]
        entries = tuple(sorted(self.entries, key=lambda entry: order(entry.path)))
        site = self.site
        return Captured(
            Manifest(site.component, site.content, entries, known),
            tuple(f"{site.component}: {show(path)}: {why}" for path, why in missing),
        )


def read_steadily(
    site: Site, full: bytes, *, block_bytes: int = BLOCK_BYTES
) -> tuple[Stored, os.stat_result, tuple[bytes, ...]] | None:
    """The file, if it was the same before and after it was read; else None."""
    with site.root.reading(full) as file:
        before = file.stat()
        stored = site.store.put_stream(file.chunks(before.st_size), block_bytes=block_bytes)
        after = file.stat()
        same = stored.size == before.st_size and _identity(before) == _identity(after)
        return (stored, after, file.xattrs()) if same else None


def dressed(entry: Entry, found: os.stat_result) -> Entry:
    """The entry with the mode, owner and time of what was found."""
    return Entry(
        entry.path, entry.kind, stat_.S_IMODE(found.st_mode), found.st_uid, found.st_gid,
        found.st_mtime_ns, entry.size, entry.sha256, entry.objects, entry.target, entry.xattrs,
        entry.sparse,
    )  # fmt: skip


def _times(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
