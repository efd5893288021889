"""What a content kind does: capture a component, put it back, compare it with what was captured.

Hides: nothing; the contract of the folder `contents/`.
Never: knows a kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from rollback.host import Host, Tree
from rollback.keep.changes import Changes, StoredSource, Twin
from rollback.keep.entry import Source
from rollback.keep.fingerprint import fingerprints
from rollback.keep.manifest import Manifest
from rollback.keep.progress import SILENT, Progress
from rollback.keep.scope import Scope
from rollback.keep.stat_cache import StatCache
from rollback.keep.store import Store
from rollback.keep.transaction_log import Change as Logged
from rollback.keep.transaction_log import LeftOut
from rollback.keep.writer import Intent, Limits, put_back
from rollback.model.component import Database, TransactionLog
from rollback.model.errors import HostError, PlanError
from rollback.model.registry import Kind


class Standing(Protocol):
    """A tree that is ready to take the place of the component."""

    @property
    def twin(self) -> Twin:
        """Where it lies: what is right in it need not come from the store."""
        ...

    def swap(self, manifest: Manifest, how: Restore) -> Changes | None:
        """It has taken the place; None when it is not what the manifest says."""
        ...

    def refresh(self, manifest: Manifest, intents: Tree, limits: Limits) -> str:
        """It is what the manifest says; else why it cannot be."""
        ...


@dataclass(frozen=True)
class Site:
    """One component where it lives: `at` below the system's `root`, within `scope`.

    `scratch` is a private folder of ours; what is left in it by a dead process is swept. `declared`
    says where a database is; `folder` is that of the declaration, for what it refers to.
    """

    component: str
    content: str
    at: bytes
    host: Host
    root: Tree
    store: Store
    scratch: Tree
    cache: StatCache
    scope: Scope = field(default_factory=Scope)
    volatile: bool = False
    declared: Database | None = None
    folder: str = ""
    progress: Progress = SILENT
    standby: Standing | None = None
    steady: bool = False  # what the cache names was whole in the store, and its packs are there
    xattrs: tuple[str, ...] = ()  # globs of the extended attributes that belong to it
    users: tuple[str, ...] = ()  # the declared services that work with it

    def source(self, manifest: Manifest) -> StoredSource:
        """The captured component as something to put back from."""
        twin = self.standby.twin if self.standby is not None else None
        return StoredSource(manifest, self.store, self.cache, self.progress, twin=twin)


@dataclass(frozen=True)
class Captured:
    """A manifest whose objects are put but not yet flushed, and what it lacks.

    `whole` are the trees of which every object below was put, or looked up, just now.
    """

    manifest: Manifest
    missing: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Restore:
    """How a component is put back: where what it replaces goes, and under which intent."""

    quarantine: Callable[[], AbstractContextManager[Tree]]
    intent: Intent
    limits: Limits
    differs: bool = False  # the caller has seen that something does


@dataclass(frozen=True)
class Rebuilt:
    """A component made again from a log: where it can be read, its items, and what was not applied.

    `first_out` lies beside the live one and goes with it.
    """

    source: Source
    items: Mapping[str, str]
    left_out: tuple[LeftOut, ...] = ()
    first_out: tuple[bytes, ...] = ()


class Content(Kind):
    """A kind of content. `writes` False: restoring never changes the component."""

    writes: ClassVar[bool] = True

    def capture(self, site: Site) -> Captured:
        """The component's present state is put into the store.

        Raises: Confined where a mount or a link is in the way.
        """
        raise NotImplementedError

    def restore(self, site: Site, manifest: Manifest, how: Restore) -> Changes:
        """The component is what the manifest says; what was changed. Again: nothing changes."""
        raise NotImplementedError

    def put(self, site: Site, source: Source, how: Restore | None) -> Changes:
        """The component is what a source made by others holds; without `how`: what would change.

        Raises: PlanError where only a checkpoint knows enough.
        """
        raise PlanError(
            f"component {site.component} is {site.content} and comes back from checkpoints only"
        )

    def replace(self, site: Site, made: Rebuilt, how: Restore) -> Changes:
        """What was rebuilt stands in the place of the live component, which is in quarantine.

        Again, also after a crash: converges. Raises: as `restore`.
        """
        with how.quarantine() as quarantine:
            return put_back(made.source, site.root, at=site.at, quarantine=quarantine,
                            intent=how.intent, scope=site.scope, limits=how.limits,
                            first_out=made.first_out)  # fmt: skip

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now; changes nothing."""
        raise NotImplementedError

    def items(self, site: Site, manifest: Manifest | None = None) -> dict[str, str]:
        """What each item (a file, a row) holds, as a digest by name: live, or as it was captured.

        Raises: HostError where the kind has no items, or they cannot be read.
        """
        raise HostError(f"a component of content {self.kind} has no items to compare",
                        where=site.component)  # fmt: skip

    def rebuilt(
        self, site: Site, base: Manifest | None, changes: tuple[Logged, ...], log: TransactionLog
    ) -> AbstractContextManager[Rebuilt]:
        """What `base` (None: nothing) becomes by the changes; valid while the context is open.

        Raises: HostError where the kind cannot be rebuilt from a log.
        """
        raise HostError(f"a component of content {self.kind} cannot be rebuilt from a log",
                        where=site.component)  # fmt: skip

    def users(self, root: Tree, at: bytes) -> tuple[tuple[int, str], ...]:
        """Who must let go of it before it can be put back: the number and the program of each."""
        return ()

    def fingerprints(self, site: Site) -> dict[str, str]:
        """What stands there now, as a digest by path. Raises: OSError, HostError."""
        return dict(fingerprints(site.root, os.fsdecode(site.at), site.scope))
