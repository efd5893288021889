"""Places: declared folders outside the components, opened for what may be done in each.

Everything outside the root that is no place stays closed.

Hides: how the way to a place is walked without following a link.
Never: does in a place what its declaration does not allow; goes past its limit.
"""

from __future__ import annotations

import os
import stat as stat_
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rollback.host import Host, Tree
from rollback.host.below import show
from rollback.model.errors import PlanError, Refused
from rollback.model.registry import nearest
from rollback.model.system import System

May = Literal["read", "write", "archive", "clear"]


def path_of(system: System, name: str, may: May) -> bytes:
    """Where a place is; a relative one lies below the root.

    Raises: PlanError when it is not declared, or may not be used so.
    """
    declared = system.places.get(name)
    if declared is None:
        raise PlanError(f"there is no place {name}", hint=nearest(name, tuple(system.places)))
    if may not in declared.may:
        raise PlanError(f"place {name} may not be used to {may}",
                        hint=f"declare it: places: {{{name}: {{may: [{may}]}}}}")  # fmt: skip
    return os.fsencode(os.path.normpath(system.root_path / declared.path))


@contextmanager
def place(system: System, host: Host, name: str, may: May, *, make: bool = False) -> Iterator[Tree]:
    """The folder of a place, opened; with `make` it comes into being.

    Raises: PlanError; Confined when a link or something that is no folder is in the way; HostError.
    """
    path = path_of(system, name, may)
    if make:
        _make(host, path)
    with host.plain_tree(path) as tree:
        yield tree


def _make(host: Host, path: bytes) -> None:
    above = path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if above == path:
        return
    with host.plain_tree(above) as tree:
        rest = os.path.relpath(path, above)
        tree.make_folder(rest, mode=0o700, parents=True)
        tree.sync_folder()


def present(system: System, name: str, may: May) -> bool:
    """False when nothing stands where the place should be."""
    return os.path.lexists(path_of(system, name, may))


def room(system: System, name: str, tree: Tree) -> int:
    """How many bytes may still be put into the place; by its limit alone."""
    limit = system.places[name].limit
    if limit is None:
        return 2**62
    used = sum(seen.st_size for _, seen in tree.walk() if stat_.S_ISREG(seen.st_mode))
    return limit - used


def within(system: System, name: str, path: bytes, size_bytes: int, left: int) -> None:
    """The place takes so many bytes more. Raises: Refused."""
    if size_bytes > left:
        raise Refused(
            "place", f"place {name} would hold more than its limit of "
            f"{system.places[name].limit} bytes", where=show(path),
            hint="make room there, or raise its limit",
        )  # fmt: skip


def find(system: System, host: Host, path: str) -> tuple[str, bytes]:
    """The place that a path lies in, and its name there; for places that may be read.

    `path` is `PLACE/NAME` or absolute. Raises: PlanError.
    """
    if not path.startswith("/"):
        name, slash, rest = path.partition("/")
        if slash and name in system.places:
            path_of(system, name, "read")
            return name, os.fsencode(rest)
    full = os.fsencode(os.path.normpath(path))
    for name, declared in system.places.items():
        if "read" in declared.may:
            base = path_of(system, name, "read")
            if full.startswith(base.rstrip(b"/") + b"/"):
                return name, full[len(base.rstrip(b"/")) + 1 :]
    raise PlanError(f"{path} lies in no declared place that may be read",
                    hint="declare its folder: places: {backups: {path: …, may: [read]}}")  # fmt: skip


__all__ = ["May", "find", "path_of", "place", "present", "room", "within"]
