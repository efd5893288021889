"""A change of a few bytes in one file: planned with its digests, made, seen, and taken back.

What is kept of the old file is the span that changes and nothing else: its neighbours may hold
secrets, and a plan is read by many. A file that somebody else changed meanwhile is not overwritten:
the change is made anew on what stands there, or refused.

Hides: how old bytes are found again.
Never: changes a byte outside of the span.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rollback.declare.edit import REMOVE, Format, get, splice
from rollback.host import Host, Tree
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Json
from rollback.model.system import System

SPAN_BYTES_MAX = 256 * 2**10
FILE_BYTES_MAX = 16 * 2**20
_ABSENT = ""  # the digest of a file that is not there
_ENDINGS: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".env": "env"}
_ROUNDS = 3  # how often we read again when somebody writes at the same moment

Change = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Patch:
    """`old` at offset `at` becomes `new` in the file `path`; `before` and `after` are SHA-256."""

    path: str
    at: int
    old: bytes
    new: bytes
    before: str
    after: str

    def lines(self) -> tuple[str, ...]:
        """What happens to the file, as the dry run of a restore says it; nothing where nothing does."""
        if self.before == self.after:
            return ()
        return (f"{'+' if self.before == _ABSENT else '~'} {self.path}",)

    def data(self) -> dict[str, Json]:
        """The patch as a plan keeps it."""
        return {
            "path": self.path, "at": self.at, "old": base64.b64encode(self.old).decode(),
            "new": base64.b64encode(self.new).decode(), "before": self.before, "after": self.after,
        }  # fmt: skip


def patch_from(data: Mapping[str, Json]) -> Patch:
    """The patch that a plan kept."""
    return Patch(
        str(data["path"]), int(str(data["at"])), base64.b64decode(str(data["old"])),
        base64.b64decode(str(data["new"])), str(data["before"]), str(data["after"]),
    )  # fmt: skip


def planned(tree: Tree, path: str, change: Change) -> Patch:
    """What `change` would do to the file now. Raises: PlanError when it is too much to keep."""
    found = read(tree, path)
    old = found or b""
    new = change(old)
    start = _common(old, new)
    limit = min(len(old), len(new)) - start
    end = 0
    while end < limit and old[-1 - end] == new[-1 - end]:
        end += 1
    span, instead = old[start : len(old) - end], new[start : len(new) - end]
    if len(span) > SPAN_BYTES_MAX:
        raise PlanError(
            f"the change replaces {len(span)} bytes, more than the {SPAN_BYTES_MAX} that a plan keeps",
            where=path, hint="restore the component instead",
        )  # fmt: skip
    before = digest(found)
    after = before if new == old else digest(new)
    return Patch(path, start, span, instead, before, after)


def make(tree: Tree, patch: Patch, change: Change) -> bool:
    """The file is changed, durably; True when it had to be. Again: no change.

    Raises: HostError when somebody else keeps writing the file.
    """
    _sweep(tree, patch.path)
    for _ in range(_ROUNDS):
        found = read(tree, patch.path)
        if digest(found) == patch.after:
            return False
        new = change(found or b"")
        if new == (found or b""):
            return False
        if _swap(tree, patch.path, found, new):
            return True
    raise HostError(
        "somebody else writes this file at the same time", where=tree.place(patch.path),
        hint="find out who, stop it, and resume",
    )  # fmt: skip


def take_back(tree: Tree, patch: Patch, reverse: Change) -> bool:
    """The span holds its old bytes again; True when it had to change.

    Where the file is not the one that we wrote, `reverse` takes back what can be told apart.
    """
    _sweep(tree, patch.path)
    for _ in range(_ROUNDS):
        found = read(tree, patch.path)
        if digest(found) == patch.before or found is None:
            return False
        if digest(found) == patch.after and patch.before == _ABSENT:
            tree.unlink(patch.path)
            tree.sync_folder(os.path.dirname(patch.path) or ".")
            return True
        if digest(found) == patch.after:
            end = patch.at + len(patch.new)
            new = found[: patch.at] + patch.old + found[end:]
        else:
            new = reverse(found)
        if new == found:
            return False
        if _swap(tree, patch.path, found, new):
            return True
    raise HostError(
        "somebody else writes this file at the same time", where=tree.place(patch.path),
        hint="find out who, stop it, and undo again",
    )  # fmt: skip


def _common(old: bytes, new: bytes) -> int:
    """How many first bytes are the same."""
    size = min(len(old), len(new))
    return next((n for n in range(size) if old[n] != new[n]), size)


def read(tree: Tree, path: str) -> bytes | None:
    """The bytes of the file; None when there is none. Raises: Confined, HostError."""
    try:
        return tree.read(path, limit_bytes=FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(error.strerror or "cannot be read", where=tree.place(path)) from error


def digest(data: bytes | None) -> str:
    """SHA-256 of the bytes; empty for a file that is not there."""
    return _ABSENT if data is None else hashlib.sha256(data).hexdigest()


def tree_of(system: System, host: Host) -> Tree:
    """The root of the system, opened; use it in `with`."""
    return host.tree(str(system.root_path))


def holding(system: System, path: str) -> tuple[str, ...]:
    """The components that the file belongs to."""
    return tuple(
        name
        for name, component in system.components.items()
        if component.path == "." or path == component.path or path.startswith(component.path + "/")
    )


def _sweep(tree: Tree, path: str) -> None:
    """No half-made file of a writer that died stands beside it."""
    folder = os.path.dirname(path) or "."
    if tree.stat(folder) is not None:
        tree.sweep(folder)


def _swap(tree: Tree, path: str, seen: bytes | None, new: bytes) -> bool:
    """`new` stands there unless the file is no longer the one that was seen."""
    found = tree.stat(path)
    folder = os.path.dirname(path) or "."
    above = tree.stat(folder)
    if above is None:
        raise HostError("the folder of the file is not there", where=tree.place(path))
    like = found or above
    mode = stat.S_IMODE(found.st_mode) if found else 0o644
    owner = (like.st_uid, like.st_gid)
    try:
        temporary = tree.stage(path, new, mode=mode, owner=owner)
        if read(tree, path) != seen:
            tree.unlink(temporary)
            return False
        tree.rename(temporary, path)
        tree.sync_folder(folder)
    except OSError as error:
        raise HostError(error.strerror or "cannot be written", where=tree.place(path)) from error
    return True


def format_of(path: str, declared: Format | None) -> Format:
    """yaml, json or env: as declared, or as the name of the file tells. Raises: PlanError."""
    name = path.rsplit("/", 1)[-1].lower()
    if declared is not None:
        return declared
    for ending, found in _ENDINGS.items():
        if name.endswith(ending):
            return found
    raise PlanError("the name does not tell the format", where=path,
                    hint="write format: yaml, json or env")  # fmt: skip


def setting(how: Format, key: str, value: bool | int | float | str | None) -> Change:
    """The change that gives `key` the value, or takes it out for None."""
    return lambda data: splice(data, how, key, REMOVE if value is None else value)


def value_in(tree: Tree, path: str, how: Format, key: str) -> Json:
    """The scalar that stands there now; None when none does."""
    data = read(tree, path)
    found = get(data, how, key) if data is not None else None
    return found if isinstance(found, (bool, int, float, str)) else None
