"""Where a live component may differ from a captured one: the folders that are not proved the same.

A live folder that looks as it did when its tree was made, with all below it, has that tree; where
that is the tree that is wanted, nothing in it needs to be looked at again.

Hides: how trees are compared from the top while the live folders are looked at from below.
Never: takes a folder for the same that holds a file with several names.
"""

from __future__ import annotations

import os
import stat as stat_
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from rollback.keep.entry import Entry
from rollback.keep.manifest import Get, Manifest, read_tree, tree_entries, tree_items
from rollback.keep.stat_cache import Frame, Frames, alike, packed
from rollback.keep.survey import Folder, Survey, below
from rollback.model.errors import StoreError

HELD_MAX = 100_000  # children of folders that are kept in memory rather than looked at again


@dataclass
class Difference:
    """The entries wanted, and the live folders as they are, wherever these may differ.

    `digests` are those of files that look as they did when they were last read.
    """

    entries: list[Entry] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    digests: dict[bytes, str] = field(default_factory=dict)


def difference(manifest: Manifest, get: Get, survey: Survey, frames: Frames) -> Difference:
    """Of a captured folder and a live one. Raises: OSError, ObjectMissing, ObjectCorrupt."""
    assert manifest.top is not None
    seen = survey.root.stat(survey.at)
    assert seen is not None
    return _Comparing(manifest, get, survey, frames).run(manifest.top, seen)


@dataclass
class _Comparing:
    manifest: Manifest
    get: Get
    survey: Survey
    frames: Frames
    found: Difference = field(default_factory=Difference)
    trees: dict[bytes, str] = field(default_factory=dict)  # of live folders that are proved
    held: dict[bytes, tuple[Folder, bytes]] = field(default_factory=dict)
    room: int = HELD_MAX

    def run(self, top: Entry, seen: os.stat_result) -> Difference:
        linked = self._prove(seen) or self.manifest.links > 0
        self.found.entries.append(top)
        todo = [(top, seen)]
        while todo:
            entry, status = todo.pop()
            if not linked and self.trees.get(entry.path) == entry.tree:
                continue
            folder, stats = self._folder(entry.path, status)
            frame = self.frames.get(folder.path)
            same = set() if linked or frame is None else self._same(folder, stats, entry, frame)
            wanted = read_tree(self.get, entry, without=same)
            self.found.entries += wanted
            self.found.folders.append(folder.without(same))
            if frame is not None and frame.tree.hex() != entry.tree:
                self._vouch(folder, stats, frame, same)
            folders = {one.path: one for one in wanted if one.kind == "folder"}
            for name, child in folder.folders:
                path = below(folder.path, name)
                if path in folders:
                    todo.append((folders.pop(path), child))
                else:
                    self.found.folders += self.survey.folders(path, child)
            for missing in folders.values():
                self.found.entries += self._all(missing)
        return self.found

    def _prove(self, seen: os.stat_result) -> bool:
        """Each live folder that is as it was has its tree; True when a file has several names."""
        linked = False
        for folder in self.survey.folders(b".", seen):
            stats = packed(folder.children)
            ids = [self.trees.get(below(folder.path, name), "") for name, _ in folder.folders]
            linked = linked or not folder.exact
            frame = self.frames.get(folder.path) if folder.exact and all(ids) else None
            if frame is not None and _same(frame, stats, ids):
                self.trees[folder.path] = frame.tree.hex()
            elif self.room > 0:
                self.held[folder.path] = (folder, stats)
                self.room -= len(folder.children)
        return linked

    def _folder(self, path: bytes, seen: os.stat_result) -> tuple[Folder, bytes]:
        if path in self.held:
            return self.held.pop(path)
        folder = self.survey.look(path, seen)
        return folder, packed(folder.children)

    def _same(self, folder: Folder, stats: bytes, entry: Entry, frame: Frame) -> set[bytes]:
        """The names of files and links that look as they did when they were what is wanted."""
        same = alike(frame.stats, stats)
        same.difference_update(name for name, _ in folder.folders)
        if frame.tree.hex() != entry.tree and same:
            try:
                then = tree_items(self.get(frame.tree.hex()))
            except StoreError:
                return set()
            wanted = tree_items(self.get(entry.tree))
            same = {name for name in same if name in then and then[name] == wanted.get(name)}
        return same

    def _vouch(self, folder: Folder, stats: bytes, frame: Frame, same: set[bytes]) -> None:
        """The digests of the other files in a folder that look as they did when they were read."""
        known = alike(frame.stats, stats) - same
        if not known:
            return
        with suppress(StoreError):
            for one in tree_entries(self.get(frame.tree.hex()), folder.path, without=same):
                if one.kind == "file" and one.path.rpartition(b"/")[2] in known:
                    self.found.digests[one.path] = one.digest

    def _all(self, entry: Entry) -> Iterator[Entry]:
        todo = [entry] if entry.tree else []
        while todo:
            children = read_tree(self.get, todo.pop())
            yield from children
            todo += [child for child in children if child.tree]


def _same(frame: Frame, stats: bytes, ids: list[str]) -> bool:
    return frame.stats == stats and frame.below == b"".join(bytes.fromhex(one) for one in ids)


def comparable(manifest: Manifest, seen: os.stat_result | None) -> bool:
    """True when both are folders."""
    top = manifest.top
    folder = seen is not None and stat_.S_ISDIR(seen.st_mode)
    return folder and top is not None and top.kind == "folder"
