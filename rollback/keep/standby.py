"""The last known-good tree of a component, kept ready to take its place in one rename.

It is a copy of its own, never linked to the live one (where the file system clones, the two share
bytes until one of them is written), and lies in the state directory, or beside
the component where that is on another file system. It is used only when every name in it is proved
by `stat` and the stat cache to be what the checkpoint says; else the restore goes its other way.
What it replaces takes its place, whole, until it is made ready again.

Hides: where it lies, and how it is proved.
Never: is believed because it is there; takes the place of a tree in which something is not ours.
"""

from __future__ import annotations

import os
import stat as stat_
from contextlib import suppress
from dataclasses import dataclass, replace

from rollback.host import Tree
from rollback.host.below import show
from rollback.host.renaming import LACKING
from rollback.keep.capture import capture_tree
from rollback.keep.changes import Change, Changes, StoredSource, Twin
from rollback.keep.comparing import changes
from rollback.keep.content import Restore, Site
from rollback.keep.manifest import Manifest
from rollback.keep.scope import OURS
from rollback.keep.stat_cache import StatCache
from rollback.keep.writer import Intent, Limits, put_back
from rollback.model.errors import HostError

_TREE, _ASIDE, _TRIAL = b"tree", b"aside", (b"one", b"other")


@dataclass
class Standby:
    """The standby of the component at `site`; `state` is the state directory, opened."""

    site: Site
    state: Tree
    cache: StatCache

    def __post_init__(self) -> None:
        name = os.fsencode(self.site.component)
        if self.state.mount() == self.site.root.mount():
            self._base, self._folder = self.state, b"standby/" + name
        else:
            beside = os.path.dirname(self.site.at)
            self._base = self.site.root
            self._folder = os.path.join(beside, OURS + b"standby-" + name)

    @property
    def twin(self) -> Twin:
        """The tree that is kept ready."""
        return self._base, self._tree

    @property
    def _tree(self) -> bytes:
        return self._folder + b"/" + _TREE

    def swap(self, manifest: Manifest, how: Restore) -> Changes | None:
        """The component is what the manifest says, in one rename; None when that cannot be done.

        Then nothing was changed. Crash: it is the old tree or the new one; the intent stands until
        both names are on disk.
        """
        site = self.site
        live = site.root.stat(site.at)
        if live is None or not stat_.S_ISDIR(live.st_mode) or not self._proved(manifest):
            return None
        how.intent.begin({
            "format": 1, "step": how.intent.name, "root": show(site.root.path),
            "at": show(site.at), "standby": self._base.place(self._tree),
        })  # fmt: skip
        try:
            self._base.exchange(self._tree, site.at, inside=site.root)
        except OSError:  # whatever stands against it: file by file it may go, or says what it is
            how.intent.end()
            return None
        site.root.sync_folder(os.path.dirname(site.at) or b".")
        self._base.sync_folder(self._folder)
        with suppress(OSError, HostError):
            self.cache.exchange(site.cache)
        how.intent.end()
        note = (f"what stood there is whole in {self._base.place(self._tree)} until the standby is made "
                "ready again: when a run is COMPLETE, and after the next checkpoint")  # fmt: skip
        changed = Change(site.at, "modify", "folder", "its standby took its place")
        return Changes(site.at, (changed,), (note,), kept=(self._base.place(self._tree),))

    def _proved(self, manifest: Manifest) -> bool:
        scope = self.site.scope
        if scope.narrow or "not_captured" in manifest.meta or "missing" in manifest.meta:
            return False  # something in the live folder is not ours to swap away
        if self._base.stat(self._tree) is None:
            return False
        return not changes(self._source(manifest), self._base, at=self._tree, scope=scope,
                           xattrs=self.site.xattrs)  # fmt: skip

    def _source(self, manifest: Manifest) -> StoredSource:
        what = f"making the standby of {self.site.component} ready"
        live = (self.site.root, self.site.at)  # mostly as captured: cloned where that can be had
        return StoredSource(manifest, self.site.store, self.cache, self.site.progress, what, live)

    def refresh(self, manifest: Manifest, intents: Tree, limits: Limits) -> str:
        """The standby is what the manifest says; else none is there, and the answer says why.

        Every byte that was written is read again. Raises: HostError, Refused, StoreError.
        """
        base = self._base
        problem = self._impossible(manifest)
        if problem:
            base.remove(self._folder)
            return problem
        intent = Intent(intents, f"standby-{self.site.component}")
        base.make_folder(self._folder + b"/" + _ASIDE)
        with base.sub(self._folder + b"/" + _ASIDE) as aside:
            put_back(
                self._source(manifest), base, at=self._tree, quarantine=aside, intent=intent,
                scope=self.site.scope, limits=limits, xattrs=self.site.xattrs,
            )  # fmt: skip
        base.remove(self._folder + b"/" + _ASIDE)
        ready = replace(self.site, root=base, at=self._tree, cache=self.cache)
        seen = capture_tree(ready)
        self.site.store.drop()
        if seen.missing or seen.manifest.top != manifest.top:
            base.remove(self._folder)
            return "it did not become what the checkpoint says"
        return ""

    def _impossible(self, manifest: Manifest) -> str:
        """Why there can be no standby of this; its folder is there, else."""
        if self.site.scope.narrow:
            return "it holds what no swap may take along"
        if manifest.top is None or manifest.top.kind != "folder":
            return "it is no folder"
        base = self._base
        base.make_folder(self._folder, parents=True)
        above = os.path.dirname(self._folder)
        while above:  # else a power loss could take it away with the tree that was swapped into it
            base.sync_folder(above)
            above = os.path.dirname(above)
        base.sync_folder()
        names = [self._folder + b"/" + name for name in _TRIAL]
        try:
            for name in names:
                base.make_folder(name)
            base.exchange(*names)
        except OSError as error:
            if error.errno not in LACKING:
                raise
            return "this file system cannot exchange two names; restores go file by file"
        finally:
            for name in names:
                base.remove(name)
        return ""
