"""Where what a restore replaces goes, and which paths no restore may touch.

Hides: how a folder on the right file system is found.
Never: deletes what is in a quarantine.
"""

from __future__ import annotations

import os
import stat as stat_
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollback.host import Host, Tree
from rollback.keep.scope import OURS
from rollback.model.system import System


def sub_folder(state: Tree, name: bytes) -> Tree:
    """A folder of the state directory, which comes into being, opened."""
    if state.stat(name) is None:
        state.make_folder(name)
        state.sync_folder()
    return state.sub(name)


@contextmanager
def quarantine(host: Host, state: Tree, root: Tree, at: bytes, step: str) -> Iterator[Tree]:
    """A folder for what `step` replaces at `at`, on the file system of the component.

    In the state directory, or beside the component where that lies elsewhere. It goes again when
    nothing was put into it.
    """
    with _parent(host, state, root, at) as (parent, prefix):
        name = prefix + os.fsencode(step)
        parent.make_folder(name)
        parent.sync_folder()  # else a power loss could take it away with all that was moved into it
        with parent.sub(name) as folder:
            yield folder
            empty = not folder.names()
        if empty:
            parent.remove_folder(name)


@dataclass(frozen=True, slots=True)
class Held:
    """What one quarantine holds. Units: `entries` are files, links and empty folders; bytes of files."""

    step: str
    where: str
    entries: int
    size_bytes: int


def held(state: Tree, root: Tree, at: Iterable[bytes], run: str) -> tuple[Held, ...]:
    """What the steps of a run have put into quarantine, for components at these paths; by step.

    Looked for in the state directory, and beside the components that lie on other file systems.
    """
    found = []
    if state.stat(b"quarantine") is not None:
        found += list(_held(state, b"quarantine", b"", run))
    for beside in sorted({os.path.dirname(one) or b"." for one in at}):
        if root.stat(beside) is not None:
            found += list(_held(root, beside, OURS + b"quarantine-", run))
    return tuple(sorted(found, key=lambda one: (one.step, one.where)))


def _held(tree: Tree, folder: bytes, prefix: bytes, run: str) -> Iterator[Held]:
    mine = prefix + os.fsencode(run)
    for name in tree.names(folder):
        path = name if folder == b"." else folder + b"/" + name
        if name.startswith(mine + b"-"):
            yield _counted(tree, path, os.fsdecode(name[len(mine) + 1 :]))
        elif name == mine:  # where git saves aside what somebody had changed
            for step in tree.names(path):
                yield _counted(tree, path + b"/" + step, os.fsdecode(step))


def _counted(tree: Tree, path: bytes, step: str) -> Held:
    entries = size = 0
    full: set[bytes] = set()
    folders: set[bytes] = set()
    for one, seen in tree.walk(path):
        full.add(os.path.dirname(one))
        if stat_.S_ISDIR(seen.st_mode):
            folders.add(one)
            continue
        entries += 1
        size += seen.st_size if stat_.S_ISREG(seen.st_mode) else 0
    return Held(step, tree.place(path), entries + len(folders - full), size)


@contextmanager
def set_aside(
    host: Host, state: Tree, root: Tree, at: bytes, step: str
) -> Iterator[Tree | None]:  # fmt: skip
    """What `step` put aside at `at`, to be looked at; None when there is nothing. Makes nothing."""
    if state.stat(b"quarantine/" + os.fsencode(step)) is not None:
        with state.sub(b"quarantine/" + os.fsencode(step)) as folder:
            yield folder
        return
    name = OURS + b"quarantine-" + os.fsencode(step)
    if at == b".":
        with host.tree(os.path.dirname(root.path)) as above:
            yield from _looked(above, name)
        return
    beside = os.path.dirname(at)
    yield from _looked(root, beside + b"/" + name if beside else name)


def _looked(tree: Tree, name: bytes) -> Iterator[Tree | None]:
    if tree.stat(name) is None:
        yield None
        return
    with tree.sub(name) as folder:
        yield folder


@contextmanager
def _parent(host: Host, state: Tree, root: Tree, at: bytes) -> Iterator[tuple[Tree, bytes]]:
    with sub_folder(state, b"quarantine") as folder:
        if folder.mount() == root.mount():
            yield folder, b""
            return
    prefix = OURS + b"quarantine-"
    if at == b".":
        with host.tree(os.path.dirname(root.path)) as above:
            yield above, prefix
        return
    beside = os.path.dirname(at) or b"."
    root.make_folder(beside, mode=0o755, parents=True)
    with root.sub(beside) as above:
        yield above, prefix


def reserved(system: System, state: Tree, root: Tree, at: bytes) -> Iterator[bytes]:
    """The tool's own files, relative to the component at `at`, where they lie in it."""
    declaration = getattr(system, "declaration", None)
    declared = getattr(system, "state", None)
    found = [Path(os.fsdecode(state.path))]
    if isinstance(declaration, Path) and declaration.name:
        found.append(declaration)
        for name in (getattr(declared, "fallback", None), getattr(declared, "anchor", None)):
            if name:
                found.append(declaration.parent / name)
        stores = getattr(getattr(system, "checkpoints", None), "stores", {})
        for store in stores.values():
            if isinstance(path := getattr(store, "path", None), str):
                found.append(declaration.parent / path)
    base = os.fsdecode(root.path)
    for path in found:
        place = path.parent.resolve() / path.name
        if not place.is_relative_to(base):
            continue
        relative = os.fsencode(place.relative_to(base))
        if at == b".":
            yield relative
        elif relative.startswith(at + b"/"):
            yield relative[len(at) + 1 :]
