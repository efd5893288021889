"""Whether what a checkpoint needs is in the store, and whole.

Hides: how objects are read and counted.
Never: changes or repairs anything.
"""

from __future__ import annotations

import hashlib

from rollback.host.below import show
from rollback.keep.manifest import Manifest, decode
from rollback.keep.store import Store
from rollback.model.errors import StoreError
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted

NAMED_MAX = 20


def missing_objects(store: Store, manifest: Manifest) -> list[str]:
    """The objects that no pack holds, by the index; nothing is read."""
    return sorted(block for block in manifest.objects() if not store.has(block))


def check_component(store: Store, name: str, digest: str, *, deep: bool) -> Finding:
    """PASS when every object of the component was read and hashed just now, else FAIL by name."""
    try:
        manifest = decode(store.get(digest))
    except StoreError as error:
        return failed(f"{name}: its manifest is lost: {error}", component=name, manifest=digest)
    bad: dict[str, str] = {}
    size_bytes = 0
    for block in sorted(manifest.objects()):
        try:
            size_bytes += len(store.get(block))
        except StoreError as error:
            bad[block] = str(error)
    paths = [show(entry.path) for entry in manifest.entries if bad.keys() & set(entry.objects)]
    if not bad and deep:
        paths, bad = _deep(store, manifest, digest)
    if bad:
        first = next(iter(bad.values()))
        return failed(
            f"{name}: {counted(len(bad), 'damaged object')}, {counted(len(paths), 'path')} "
            f"cannot be put back; {first}",
            component=name, objects=list[Json](sorted(bad)[:NAMED_MAX]), paths=list[Json](paths[:NAMED_MAX]),
        )  # fmt: skip
    count = len(manifest.objects()) + 1
    return passed(f"{name}: {counted(count, 'object')}, {counted(size_bytes, 'byte')} read and hashed",
                  component=name, objects=count, size_bytes=size_bytes)  # fmt: skip


def _deep(store: Store, manifest: Manifest, digest: str) -> tuple[list[str], dict[str, str]]:
    paths: list[str] = []
    bad: dict[str, str] = {}
    for entry in manifest.entries:
        if entry.kind != "file":
            continue
        whole = hashlib.sha256()
        size = 0
        for block in entry.objects:
            data = store.get(block)
            whole.update(data)
            size += len(data)
        if whole.hexdigest() != entry.sha256 or size != entry.size:
            paths.append(show(entry.path))
            bad[entry.sha256] = "the blocks do not make the file"
    packs = {pack for block in {digest, *manifest.objects()}
             for pack in store.packs_of(block)}  # fmt: skip
    for pack in sorted(packs):
        if store.pack_digest(pack) != pack:
            bad[pack] = f"packs/{pack}.pack does not match its name"
    return paths, bad
