"""Archives in declared places as targets: found by name, newest first, read to see whether whole.

Hides: how a pattern becomes files, and what is taken out of an archive before it is put back.
Never: opens a file outside of a declared place; takes an older archive where a newer one is whole.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.keep.archive import Archive, ArchiveSource, read_archive
from rollback.keep.outside import find, path_of, place, present
from rollback.keep.progress import SILENT, Progress
from rollback.keep.quarantine import sub_folder
from rollback.model.errors import HostError, ObjectCorrupt, PlanError, StoreError
from rollback.model.system import System

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.keep.changes import Changes
    from rollback.keep.writer import Limits

ENDINGS = (".tar.gz", ".tgz", ".tar")


def matching(system: System, host: Host, wanted: str) -> list[tuple[str, float, int]]:
    """Path, time and size of each archive that `wanted` may mean, newest first.

    `wanted` is PLACE/NAME, an absolute path in a place, or a name in any place that may be read;
    the name may be a pattern. Raises: PlanError; HostError.
    """
    if "/" in wanted:
        name, rest = find(system, host, wanted)
        looked = [(name, rest)]
    else:
        looked = [(name, os.fsencode(wanted)) for name, one in system.places.items()
                  if "read" in one.may]  # fmt: skip
    found = []
    for name, rest in looked:
        folder, _, pattern = rest.rpartition(b"/")
        if not present(system, name, "read"):
            continue
        with place(system, host, name, "read") as tree:
            if folder and tree.stat(folder) is None:
                continue
            for one, seen in tree.scan(folder or b"."):
                if fnmatch.fnmatchcase(os.fsdecode(one), os.fsdecode(pattern)) and os.fsdecode(
                    one
                ).endswith(ENDINGS):
                    full = os.path.join(path_of(system, name, "read"), folder, one)
                    found.append((os.fsdecode(full), seen.st_mtime, seen.st_size))
    return sorted(found, key=lambda one: (-one[1], one[0]))


def why_not(system: System, archive: Archive, wanted: tuple[str, ...]) -> str:
    """Why the archive cannot give back these components; empty when it can."""
    for name in wanted:
        component = system.components[name]
        if component.content not in ("files", "git"):
            return f"component {name} is {component.content} and comes back from checkpoints only"
        try:
            archive.component(component.path)
        except PlanError as error:
            return f"component {name}: {error.message}"
    return ""


@contextmanager
def opened(system: System, host: Host, path: str) -> Iterator[tuple[Tree, bytes]]:
    """The place that an archive lies in, and its name there."""
    name, rest = find(system, host, path)
    with place(system, host, name, "read") as tree:
        yield tree, rest


def read(
    system: System, host: Host, path: str, *, digest: str = "", progress: Progress = SILENT
) -> Archive:
    """The archive, read whole. Raises: StoreError, also when it is another one than `digest`."""
    with opened(system, host, path) as (tree, name):
        try:
            found = read_archive(tree, name, progress)
        except OSError as error:
            raise StoreError(f"it cannot be read: {error.strerror}", where=path) from error
    if digest and found.digest != digest:
        raise ObjectCorrupt("the archive is another one than was planned with", where=path,
                            hint="plan again")  # fmt: skip
    return found


def seen(system: System, host: Host, path: str, progress: Progress = SILENT) -> Archive | str:
    """The archive, or why it is no candidate."""
    try:
        return read(system, host, path, progress=progress)
    except (StoreError, HostError) as error:
        return str(error)


def at(archive: Archive) -> str:
    """The time of the archive."""
    return iso(datetime.fromtimestamp(archive.at_s, UTC))


def split(identity: str) -> tuple[str, str]:
    """Digest and path of a target."""
    digest, _, path = identity.partition(":")
    return digest, path


def put_back(
    scene: Scene, identity: str, component: str, *, step: str, dry_run: bool,
    limits: Limits | None = None,
) -> Changes:  # fmt: skip
    """The component is what the archive holds of it; dry: what would be changed.

    Raises: StoreError, Refused, Confined before the first change.
    """
    digest, path = split(identity)
    found = read(scene.system, scene.host, path, digest=digest, progress=scene.progress)
    where = os.fsencode(scene.system.components[component].path)
    source = ArchiveSource(found, os.fsdecode(where))
    with scene.checkpoints as kept:
        said = kept.put(component, source, step=step, dry_run=True)
        if dry_run:
            return said
        prefix = b"" if where == b"." else where + b"/"
        wanted = [change.path.removeprefix(prefix) if change.path != where else b"."
                  for change in said if change.what in ("add", "modify")]  # fmt: skip
        with _spool(scene, step) as spool:
            with opened(scene.system, scene.host, path) as (tree, name):
                source.fetch(tree, name, wanted, spool, scene.progress)
            return kept.put(component, source, step=step, limits=limits)


@contextmanager
def _spool(scene: Scene, step: str) -> Iterator[Tree]:
    """A private empty folder on the disk of the state directory; gone afterwards."""
    with sub_folder(scene.state.tree, b"scratch") as scratch:
        name = b"archive-" + os.fsencode(step)
        scratch.remove(name)
        scratch.make_folder(name)
        try:
            with scratch.sub(name) as spool:
                yield spool
        finally:
            scratch.remove(name)
