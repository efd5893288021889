"""The plan of a restore: what of a component is wanted, what is live, and what has to change.

Hides: how a plan is told to people.
Never: looks at anything; changes anything.
"""

from __future__ import annotations

import os
import stat as stat_
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rollback.keep.attributes import Wanted
from rollback.keep.changes import Change, Changes, What
from rollback.keep.entry import Entry


@dataclass
class Plan:
    """The changes, and what is needed to carry them out. Paths are relative to the component."""

    at: bytes
    wanted: dict[bytes, Entry] = field(default_factory=dict)
    live: dict[bytes, os.stat_result] = field(default_factory=dict)
    write: dict[bytes, str] = field(default_factory=dict)  # new content: path -> why
    make: list[bytes] = field(default_factory=list)  # folders that are not there
    retype: set[bytes] = field(
        default_factory=set
    )  # a folder comes or goes in the place of another
    dress: dict[bytes, str] = field(default_factory=dict)
    away: list[bytes] = field(default_factory=list)  # extra: topmost paths that move as they are
    notes: list[str] = field(default_factory=list)
    kept_open: set[bytes] = field(default_factory=set)  # folders that hold what is not ours
    first_out: list[bytes] = field(default_factory=list)  # beside the component: full paths
    names: dict[tuple[int, int], set[bytes]] = field(default_factory=dict)  # by inode, if several
    digests: Mapping[bytes, str] = field(default_factory=dict)  # of live files, as last read
    xattrs: tuple[str, ...] = ()  # globs of the extended attributes that are ours
    attributes: dict[bytes, Wanted] = field(default_factory=dict)  # of live paths in `dress`
    heard: Callable[[int], None] = lambda _bytes: None  # of live files that have to be read

    def full(self, path: bytes) -> bytes:
        """The path from the root of the system."""
        if path == b".":
            return self.at
        return path if self.at == b"." else self.at + b"/" + path

    def public(self) -> Changes:
        """What a person sees of it."""
        found = [self._change("remove", path, type_of(self.live[path])) for path in self.away]
        found += [Change(path, "remove", "file", "left by the one who wrote it last")
                  for path in self.first_out]  # fmt: skip
        for path in (*self.make, *self.write):
            found.append(self._change("modify" if path in self.live else "add", path,
                                      self.wanted[path].kind, self.write.get(path, "")
                                      or self._retyped(path)))  # fmt: skip
        for path, why in self.dress.items():
            found.append(self._change("attributes", path, self.wanted[path].kind, why))
        need = sum(self.wanted[path].size for path in self.write
                   if self.wanted[path].kind == "file")  # fmt: skip
        same = len(self.wanted) - len(self.write) - len(self.make) - len(self.dress)
        ordered = sorted(found, key=lambda change: change.path)
        return Changes(self.at, tuple(ordered), tuple(self.notes), need, same)

    def _retyped(self, path: bytes) -> str:
        if path not in self.live:
            return ""
        return f"{type_of(self.live[path])} -> {self.wanted[path].kind}"

    def _change(self, what: What, path: bytes, kind: str, why: str = "") -> Change:
        return Change(self.full(path), what, kind, why)


def type_of(found: os.stat_result) -> str:
    """What stands there, in a word for people."""
    for name, test in _TYPES.items():
        if test(found.st_mode):
            return name
    return "device"


_TYPES: Mapping[str, Callable[[int], bool]] = {
    "file": stat_.S_ISREG, "folder": stat_.S_ISDIR, "symlink": stat_.S_ISLNK,
    "fifo": stat_.S_ISFIFO, "socket": stat_.S_ISSOCK,
}  # fmt: skip
