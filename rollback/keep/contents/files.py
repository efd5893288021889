"""A folder of files, or one file: names, bytes, modes, owners, times, links, hard links.

Extended attributes belong to it where the component declares them; of others the names are kept.

Hides: nothing beyond what capture and the writer hide.
Never: captures an attribute that is not declared without naming it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from rollback.keep.capture import capture_tree
from rollback.keep.changes import Changes
from rollback.keep.comparing import changes
from rollback.keep.content import Captured, Content, Rebuilt, Restore, Site
from rollback.keep.entry import Source
from rollback.keep.manifest import Manifest
from rollback.keep.rebuilt_files import file_items, rebuilt_files
from rollback.keep.transaction_log import Change as Logged
from rollback.keep.writer import put_back
from rollback.model.component import TransactionLog
from rollback.model.registry import register


@register("content", "files")
class Files(Content):
    """`content: files`."""

    def capture(self, site: Site) -> Captured:
        """The folder or file is put into the store."""
        return capture_tree(site)

    def restore(self, site: Site, manifest: Manifest, how: Restore) -> Changes:
        """The folder or file is what was captured; extra files are in quarantine."""
        if site.standby is not None and (how.differs or self.compare(site, manifest)):
            swapped = site.standby.swap(manifest, how)
            if swapped is not None:
                return swapped
        return self.put(site, site.source(manifest), how)

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now."""
        return self.put(site, site.source(manifest), None)

    def put(self, site: Site, source: Source, how: Restore | None) -> Changes:
        """The same from any source of files."""
        if how is None:
            return changes(source, site.root, at=site.at, scope=site.scope, xattrs=site.xattrs)
        with how.quarantine() as quarantine:
            return put_back(
                source, site.root, at=site.at, quarantine=quarantine, intent=how.intent,
                scope=site.scope, limits=how.limits, xattrs=site.xattrs,
            )  # fmt: skip

    def items(self, site: Site, manifest: Manifest | None = None) -> dict[str, str]:
        """The digest of each file, by its path."""
        return file_items(site, manifest)

    def rebuilt(
        self, site: Site, base: Manifest | None, changes: tuple[Logged, ...], log: TransactionLog
    ) -> AbstractContextManager[Rebuilt]:
        """The files that the log leaves; its keys are their paths, its values their text."""
        return nullcontext(rebuilt_files(site, base, changes))
