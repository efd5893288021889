"""Everything that can be known to go wrong with a restore before its first write.

Hides: how space, flags, owners and mounts are asked for.
Never: changes anything.
"""

from __future__ import annotations

import errno
import os
import stat as stat_
from contextlib import suppress
from dataclasses import dataclass

from rollback.host import Tree
from rollback.host.below import show
from rollback.keep.attributes import gives_rights
from rollback.keep.blocks import BLOCK_BYTES
from rollback.keep.plan import Plan
from rollback.model.errors import Refused

NAMED_MAX = 5
_TRIAL = b"attributes"
_CANNOT = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOSPC, errno.E2BIG,
           errno.ERANGE)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a restore needs before it begins: space times `factor`, and `reserve_bytes` left over.

    `setuid` allows files that run as their owner to be put back.
    """

    factor: float = 1.1
    reserve_bytes: int = 0
    setuid: bool = False


def preflight(plan: Plan, tree: Tree, quarantine: Tree, limits: Limits) -> None:
    """Nothing known stands against the restore. Raises: Refused with the guardrail's name."""
    _same_mount(tree, quarantine)
    _space(plan, quarantine, limits)
    if not limits.setuid:
        _no_setuid(plan)
    _owners(plan)
    _attributes(plan, quarantine)
    _not_fixed(plan, tree)


def _same_mount(tree: Tree, quarantine: Tree) -> None:
    if tree.mount() != quarantine.mount():
        raise Refused(
            "mount", "the quarantine lies on another file system than the component",
            where=show(quarantine.path), hint="nothing could be renamed from one to the other",
        )  # fmt: skip


def _space(plan: Plan, quarantine: Tree, limits: Limits) -> None:
    need = 0
    for path in plan.write:
        entry = plan.wanted[path]
        if entry.kind == "file":
            full = entry.size + 4096
            need += full if entry.allocated is None else min(full, entry.allocated + BLOCK_BYTES)
    wanted = int(need * limits.factor) + limits.reserve_bytes
    free_bytes, free_inodes = quarantine.free()
    if wanted > free_bytes:
        raise Refused(
            "disk", f"{wanted} bytes are needed and {free_bytes} are free",
            where=show(quarantine.path), hint="make room, then try again",
        )  # fmt: skip
    if len(plan.write) + len(plan.make) + 8 > free_inodes:
        raise Refused("disk", f"only {free_inodes} inodes are free", where=show(quarantine.path))


def _no_setuid(plan: Plan) -> None:
    found = []
    for path in (*plan.write, *plan.dress, *plan.make):
        entry = plan.wanted[path]
        risky = 0o4000 if entry.kind == "folder" else 0o6000
        setuid = entry.mode is not None and entry.mode & risky and entry.kind != "symlink"
        if setuid or gives_rights(entry):
            found.append(path)
    _refuse("setuid", "files that run as their owner are not put back", plan, found,
            "allow it where the component is declared")  # fmt: skip


def _owners(plan: Plan) -> None:
    uid = os.geteuid()
    if uid == 0:
        return
    groups = {os.getegid(), *os.getgroups()}
    found = []
    for path in (*plan.write, *plan.dress, *plan.make):
        owner = plan.wanted[path].owner
        if owner is not None and (owner[0] != uid or owner[1] not in groups):
            found.append(path)
    _refuse("owner", "they belong to others and only root can give them away", plan, found,
            "run the restore as root")  # fmt: skip


def _attributes(plan: Plan, quarantine: Tree) -> None:
    """Each extended attribute that has to be set can be, which is tried on a file of our own."""
    wanted: dict[tuple[str, bytes, bytes], bytes] = {}
    for path in (*plan.write, *plan.dress, *plan.make):
        entry = plan.wanted[path]
        for name, value in entry.attributes:
            wanted.setdefault((entry.kind, name, value), path)
    found = [path for (kind, name, value), path in wanted.items()
             if not _takes(quarantine, kind, name, value)]  # fmt: skip
    _refuse("attributes", "their extended attributes cannot be set on this file system, or by us",
            plan, found, "run the restore as root, or leave these out of xattrs")  # fmt: skip


def _takes(quarantine: Tree, kind: str, name: bytes, value: bytes) -> bool:
    with suppress(FileNotFoundError):
        quarantine.remove(_TRIAL)
    if kind == "folder":
        quarantine.make_folder(_TRIAL)
    else:
        quarantine.create(_TRIAL, b"", sync=False)
    try:
        quarantine.dress(_TRIAL, attributes=((name, value),))
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        return False
    finally:
        quarantine.remove(_TRIAL)
    return True


def _not_fixed(plan: Plan, tree: Tree) -> None:
    asked = {*plan.write, *plan.dress, *plan.away, *plan.make}
    asked |= {os.path.dirname(path) or b"." for path in asked if path != b"."}
    found = []
    for path in sorted(asked):
        live = plan.live.get(path)
        if live is None or not (stat_.S_ISREG(live.st_mode) or stat_.S_ISDIR(live.st_mode)):
            continue
        if tree.fixed(plan.full(path)):
            found.append(path)
    _refuse("immutable", "they are marked immutable or append-only", plan, found,
            "look with: lsattr -d; unmark with: chattr -i -a")  # fmt: skip


def _refuse(guardrail: str, message: str, plan: Plan, paths: list[bytes], hint: str) -> None:
    if paths:
        named = ", ".join(show(plan.full(path)) for path in sorted(paths)[:NAMED_MAX])
        more = f" and {len(paths) - NAMED_MAX} more" if len(paths) > NAMED_MAX else ""
        raise Refused(guardrail, message, where=named + more, hint=hint)
