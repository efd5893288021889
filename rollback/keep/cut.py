"""One consistent cut: whether anything changed while the components were captured one by one.

Hides: what counts as a change.
Never: changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollback.keep.content import Content, Site
from rollback.keep.manifest import Manifest
from rollback.model.errors import HostError


def moved(captured: Iterable[tuple[Content, Site, Manifest]]) -> tuple[str, ...]:
    """A line for each component that is not any more what was captured of it a moment ago.

    Components declared `volatile` may change: nothing else is expected of them.
    """
    found = []
    for content, site, manifest in captured:
        if site.volatile:
            continue
        try:
            why = _changed(content, site, manifest)
        except (HostError, OSError) as error:
            why = f"it cannot be looked at again: {error}"
        if why:
            found.append(f"{site.component}: .: {why}")
    return tuple(found)


def _changed(content: Content, site: Site, manifest: Manifest) -> str:
    changes = content.compare(site, manifest)
    if changes:
        return f"changed while the other components were captured: {changes.changes[0]}"
    held = manifest.meta.get("held")
    if isinstance(held, dict):  # it may grow, but not while its writers are drained
        found = site.root.stat(site.at)
        if found is not None and found.st_size != held.get("size_bytes"):
            return "grew while the other components were captured"
    return ""
