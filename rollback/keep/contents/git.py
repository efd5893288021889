"""Files under version control: the files as they stand, without `.git`, and which commit was out.

Going back to a commit is the work of the git step; this puts back what stood in the folder.

Hides: that `.git` is reserved.
Never: writes anything below `.git`; runs git.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext

from rollback.keep.capture import capture_tree
from rollback.keep.changes import Changes
from rollback.keep.comparing import changes
from rollback.keep.content import Captured, Content, Rebuilt, Restore, Site
from rollback.keep.entry import Source
from rollback.keep.head import head
from rollback.keep.manifest import Manifest
from rollback.keep.rebuilt_files import file_items, rebuilt_files
from rollback.keep.scope import REPOSITORIES
from rollback.keep.transaction_log import Change as Logged
from rollback.keep.writer import put_back
from rollback.model.component import TransactionLog
from rollback.model.finding import Json
from rollback.model.registry import register


@register("content", "git")
class GitFiles(Content):
    """`content: git`."""

    def capture(self, site: Site) -> Captured:
        """The files are put into the store; `meta` says which commit the repository was at."""
        meta: dict[str, Json] = {}
        found = head(site.root, site.at)
        if found is not None:
            meta["head"] = {"branch": found[0], "commit": found[1]}
        return capture_tree(_outside_git(site), meta=meta)

    def restore(self, site: Site, manifest: Manifest, how: Restore) -> Changes:
        """The files are what was captured; `.git` is as it was."""
        return self.put(site, _outside_git(site).source(manifest), how)

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now."""
        return self.put(site, _outside_git(site).source(manifest), None)

    def put(self, site: Site, source: Source, how: Restore | None) -> Changes:
        """The same from any source of files."""
        ours = _outside_git(site)
        if how is None:
            return changes(source, ours.root, at=ours.at, scope=ours.scope, xattrs=ours.xattrs)
        with how.quarantine() as quarantine:
            return put_back(
                source, ours.root, at=ours.at, quarantine=quarantine, intent=how.intent,
                scope=ours.scope, limits=how.limits, xattrs=ours.xattrs,
            )  # fmt: skip

    def items(self, site: Site, manifest: Manifest | None = None) -> dict[str, str]:
        """The digest of each file, by its path."""
        return file_items(_outside_git(site), manifest)

    def rebuilt(
        self, site: Site, base: Manifest | None, changes: tuple[Logged, ...], log: TransactionLog
    ) -> AbstractContextManager[Rebuilt]:
        """The files that the log leaves; its keys are their paths, its values their text."""
        return nullcontext(rebuilt_files(_outside_git(site), base, changes))


def _outside_git(site: Site) -> Site:
    scope = dataclasses.replace(site.scope, reserved_names=site.scope.reserved_names | REPOSITORIES)
    return dataclasses.replace(site, scope=scope)
