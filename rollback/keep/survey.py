"""A live component, folder by folder, what is below before what is above.

Hides: which names are ours, and how a deep tree is walked.
Never: opens a file, follows a link, skips something without naming it.
"""

from __future__ import annotations

import os
import stat as stat_
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace

from rollback.host import Clock, Tree
from rollback.keep.scope import Scope

_SPECIAL = {
    stat_.S_IFIFO: "fifo", stat_.S_IFSOCK: "socket", stat_.S_IFBLK: "block device",
    stat_.S_IFCHR: "character device",
}  # fmt: skip
_KIND = 0o170000  # S_IFMT as a number: this is asked of every file

Children = list[tuple[bytes, os.stat_result]]
Lost = Callable[[bytes, OSError], None]


def special(mode: int) -> str:
    """What a file that is no file, folder or link is; empty for those."""
    return _SPECIAL.get(stat_.S_IFMT(mode), "")


def below(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder."""
    return name if folder == b"." else folder + b"/" + name


@dataclass
class Folder:
    """What is in one folder of a component; paths are relative to the component.

    `children` are ours, sorted by name, and the `folders` among them, in which something may be;
    those in `loose` are only the way to what is ours. `specials` are FIFOs, sockets and devices. `others`
    are names that are left alone, and why; `own` are the tool's own. `exact`:
    everything in it could be looked at, and no file in it has another name.
    Units: `at_ns` since 1970, before the first look.
    """

    path: bytes
    seen: os.stat_result
    at_ns: int
    loose: frozenset[bytes] = frozenset()
    children: Children = field(default_factory=list)
    folders: Children = field(default_factory=list)
    specials: Children = field(default_factory=list)
    others: list[tuple[bytes, str]] = field(default_factory=list)
    own: list[bytes] = field(default_factory=list)
    exact: bool = True

    def without(self, names: Container[bytes]) -> Folder:
        """The same without these files."""
        rest = [item for item in self.children if item[0] not in names]
        return replace(self, children=rest)


def gone(error: OSError) -> bool:
    """True of what is no longer there, though a look before said that it was."""
    return isinstance(error, FileNotFoundError | NotADirectoryError)


@dataclass
class Survey:
    """How a component is looked at. What cannot be looked at goes to `lost`.

    `moving`: something may be at work in it; what is gone by the time it is looked at is not there.
    """

    root: Tree
    at: bytes
    scope: Scope
    clock: Clock
    lost: Lost | None = None
    moving: bool = False
    heard: Callable[[int], None] = lambda _folders: None  # how many folders were looked at

    def full(self, path: bytes) -> bytes:
        """The path from the root of the system."""
        if path == b".":
            return self.at
        return path if self.at == b"." else self.at + b"/" + path

    def folders(self, path: bytes, seen: os.stat_result) -> Iterator[Folder]:
        """The folder at `path` and all below it, each after those that are in it."""
        first = self.look(path, seen)
        count = 0
        stack = [(first, first.folders[::-1])]
        while stack:
            folder, todo = stack[-1]
            if not todo:
                stack.pop()
                count += 1
                self.heard(count)
                yield folder
                continue
            name, found = todo.pop()
            child = below(folder.path, name)
            try:
                opened = self.look(child, found)
            except OSError as error:
                if self.lost is None:
                    raise
                self.lost(child, error)
                folder.exact = False
                continue
            stack.append((opened, opened.folders[::-1]))

    def look(self, path: bytes, seen: os.stat_result) -> Folder:
        """One folder, looked at now. Raises: OSError when it cannot be read; Confined."""
        scope = self.scope
        folder = Folder(path, seen, int(self.clock.now().timestamp() * 1e9))

        def lost(full: bytes, error: OSError) -> None:
            if self.moving and gone(error):
                return
            folder.exact = False
            if self.lost is None:
                raise error
            self.lost(full if self.at == b"." else full[len(self.at) + 1 :], error)

        children, folders, ours = folder.children, folder.folders, scope.ours
        loose = set()
        for item in self._scanned(folder, lost):
            name, status = item
            kind = status.st_mode & _KIND
            if scope.narrow or name.startswith(ours):
                stands = self._standing(folder, name, directory=kind == stat_.S_IFDIR)
                if stands == "out":
                    continue
                if stands == "loose":
                    loose.add(name)
            if kind == stat_.S_IFDIR:
                folders.append(item)
            elif kind in _SPECIAL:
                folder.specials.append(item)
                continue
            elif status.st_nlink > 1:
                folder.exact = False
            children.append(item)
        folder.loose = frozenset(loose)
        return folder

    def _scanned(self, folder: Folder, lost: Lost) -> Children:
        try:
            return self.root.scan(self.full(folder.path), failed=lost)
        except OSError as error:
            if not (self.moving and gone(error)):
                raise
            folder.exact = False  # nothing is in it now, which says nothing of how it was
            return []

    def _standing(self, folder: Folder, name: bytes, *, directory: bool) -> str:
        """`ours`, `loose`: a folder in which something may be ours, or `out`, which is noted."""
        child, scope = below(folder.path, name), self.scope
        if not scope.enters(child):
            if scope.reserves(child):
                folder.own.append(child)
            else:
                folder.others.append((child, "excluded"))
            return "out"
        if scope.holds(child):
            return "ours"
        if not directory:
            folder.others.append((child, "not among the declared paths"))
            return "out"
        return "loose"
