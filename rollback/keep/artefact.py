"""Every version of one artefact over all checkpoints: when it was what, in which component.

Hides: the way down through the trees.
Never: takes what it could not read for absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rollback.host.below import checked
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.checkpoint_record import Checkpoint
from rollback.keep.entry import Entry
from rollback.keep.manifest import read_tree
from rollback.model.errors import Confined, PlanError, StoreError
from rollback.model.registry import nearest
from rollback.model.system import System


@dataclass(frozen=True, slots=True)
class Version:
    """An artefact as it was in `checkpoints` (ids, oldest first), from `at` to `until`.

    `what` is the kind of its entry, `absent` or `unreadable`; `digest` is the SHA-256 of a file, the
    id of a folder's tree, where a link points, or why it cannot be read. Units: bytes.
    """

    component: str
    at: str
    until: str
    checkpoints: tuple[str, ...]
    names: tuple[str, ...]
    what: str
    size_bytes: int
    mode: int | None
    digest: str

    @property
    def same(self) -> tuple[object, ...]:
        """What makes two versions the same one."""
        return self.component, self.what, self.size_bytes, self.mode, self.digest


def versions(kept: Checkpoints, system: System, path: str) -> tuple[Version, ...]:
    """Every version, oldest first by component; equal ones that follow each other are one.

    Raises: PlanError when no component holds the path; Confined when it leaves the root.
    """
    wanted = _below(system, path)
    within = dict(_components(system, wanted))
    if not within:
        raise PlanError(f"no component holds {path}",
                        hint=nearest(path, [one.path for one in system.components.values()]))  # fmt: skip
    found: list[Version] = []
    for name, inside in within.items():
        for one in reversed(kept.list()):
            if name in one.parts:
                _add(found, _version(kept, one, name, inside))
    return tuple(found)


def _below(system: System, path: str) -> bytes:
    """The path relative to the root, as it was typed or absolute. Raises: Confined."""
    root = str(system.root_path)
    typed = path.rstrip("/") or path[:1] or "."
    if os.path.isabs(typed) and os.path.commonpath((root, os.path.normpath(typed))) == root:
        typed = os.path.relpath(typed, root)
    try:
        return checked(typed)
    except Confined as error:
        raise Confined("this path does not lie below the root of the system", where=path,
                       hint=f"write it as it lies below {root}, like config/app.yaml") from error  # fmt: skip


def _components(system: System, wanted: bytes) -> Iterator[tuple[str, bytes]]:
    for name, component in system.components.items():
        at = os.fsencode(component.path)
        if at == b"." or wanted == at:
            yield name, b"." if wanted == at else wanted
        elif wanted.startswith(at + b"/"):
            yield name, wanted[len(at) + 1 :]


def _add(found: list[Version], new: Version) -> None:
    if found and found[-1].same == new.same:
        last = found[-1]
        found[-1] = replace(
            last, until=new.at, checkpoints=(*last.checkpoints, *new.checkpoints),
            names=(*last.names, *new.names),
        )  # fmt: skip
    else:
        found.append(new)


def _version(kept: Checkpoints, one: Checkpoint, component: str, inside: bytes) -> Version:
    entry: Entry | None = None
    what, size_bytes, mode, digest = "absent", 0, None, ""
    try:
        entry = _entry(kept, one.parts[component].manifest, component, inside)
    except StoreError as error:
        what, digest = "unreadable", str(error)
    if entry is not None:
        what, size_bytes, mode = entry.kind, entry.size, entry.mode
        digest = entry.digest or entry.tree or os.fsdecode(entry.target)
    return Version(component, one.at, one.at, (one.id,), (one.name or one.id[:12],), what,
                   size_bytes, mode, digest)  # fmt: skip


def _entry(kept: Checkpoints, manifest: str, component: str, inside: bytes) -> Entry | None:
    """What stands at the path in the component; a hard link as the file that it names."""
    entry = kept.load(manifest, component).top
    so_far = b""
    for part in inside.split(b"/") if inside != b"." else ():
        if entry is None or not entry.tree:
            return None
        so_far = so_far + b"/" + part if so_far else part
        entry = next((one for one in read_tree(kept.store.get, entry) if one.path == so_far), None)
    if entry is not None and entry.kind == "hardlink":
        return _entry(kept, manifest, component, entry.target)
    return entry
