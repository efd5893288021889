"""What a content kind does: capture a component, put it back, compare it with what was captured.

Hides: nothing; the contract of the folder `contents/`.
Never: knows a kind.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar

from rollback.host import Host, Tree
from rollback.keep.changes import Changes, StoredSource
from rollback.keep.entry import Source
from rollback.keep.manifest import Manifest
from rollback.keep.scope import Scope
from rollback.keep.stat_cache import StatCache
from rollback.keep.store import Store
from rollback.keep.writer import Intent, Limits
from rollback.model.errors import PlanError
from rollback.model.registry import Kind


@dataclass(frozen=True)
class Site:
    """One component where it lives: `at` below the system's `root`, within `scope`.

    `scratch` is a private folder of ours; what is left in it by a dead process is swept.
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
    xattrs: tuple[str, ...] = ()  # globs of the extended attributes that belong to it

    def source(self, manifest: Manifest) -> StoredSource:
        """The captured component as something to put back from."""
        return StoredSource(manifest, self.store, self.cache)


@dataclass(frozen=True)
class Captured:
    """A manifest whose objects are put but not yet flushed, and what it lacks."""

    manifest: Manifest
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restore:
    """How a component is put back: where what it replaces goes, and under which intent."""

    quarantine: Callable[[], AbstractContextManager[Tree]]
    intent: Intent
    limits: Limits


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

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now; changes nothing."""
        raise NotImplementedError
