"""A file that only ever grows: an audit trail, a log. It is captured, checked, never written back.

Hides: how the captured beginning is compared.
Never: changes the live file.
"""

from __future__ import annotations

import hashlib
import stat as stat_

from rollback.keep.capture import dressed
from rollback.keep.changes import Change, Changes
from rollback.keep.content import Captured, Content, Restore, Site
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest
from rollback.model.errors import Confined, HostError
from rollback.model.finding import Json
from rollback.model.registry import register


@register("content", "append-only")
class AppendOnly(Content):
    """`content: append-only`."""

    writes = False

    def capture(self, site: Site) -> Captured:
        """The bytes up to the size that the file had when it was opened are put into the store."""
        found = site.root.stat(site.at)
        if found is None:
            return Captured(Manifest(site.component, site.content, None, {"absent": True}))
        if not stat_.S_ISREG(found.st_mode):
            raise Confined("an append-only component is one regular file",
                           where=site.root.place(site.at))  # fmt: skip
        with site.root.reading(site.at) as file:
            seen = file.stat()
            stored = site.store.put_stream(file.chunks(seen.st_size))
            after = file.stat()
        entry = dressed(Entry(b".", "file", size=stored.size, sha256=stored.sha256,
                              blocks=stored.blocks), seen)  # fmt: skip
        held: dict[str, Json] = {"size_bytes": stored.size, "sha256": stored.sha256}
        missing: tuple[str, ...] = ()
        if stored.size < seen.st_size or after.st_size < seen.st_size:
            missing = (f"{site.component}: {site.root.place(site.at)}: shrank while it was read",)
        return Captured(
            Manifest.of_file(site.component, site.content, entry, {"held": held}), missing
        )

    def restore(self, site: Site, manifest: Manifest, how: Restore) -> Changes:
        """Nothing is changed; the live file still begins with what was captured.

        Raises: HostError when it does not: a trail that only grows was cut or rewritten.
        """
        found = self.compare(site, manifest)
        if found:
            raise HostError(
                f"an append-only file no longer begins with what it held: {found.changes[0].why}",
                where=site.root.place(site.at),
                hint="it is never written back; find out who changed it. "
                "What it held is in the checkpoint",
            )
        return found

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """Empty while the live file begins with what was captured."""
        if manifest.top is None:
            return Changes(site.at)
        entry = manifest.top
        found = site.root.stat(site.at)
        if found is None or not stat_.S_ISREG(found.st_mode):
            why = "it is gone"
        elif found.st_size < entry.size:
            why = f"it has {found.st_size} bytes, and had {entry.size}"
        else:
            whole = hashlib.sha256()
            with site.root.reading(site.at) as file:
                for chunk in file.chunks(entry.size):
                    whole.update(chunk)
            if whole.hexdigest() == entry.sha256:
                return Changes(site.at, unchanged=1)
            why = f"its first {entry.size} bytes are others"
        return Changes(site.at, (Change(site.at, "modify", "file", why),))
