"""A git tree as a source for the one writer: entries with path bytes, modes, link targets.

Hides: how git names modes.
Never: gives out bytes that were not hashed, a submodule, or a name that no tree should hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from rollback.keep.entry import Entry
from rollback.keep.git_objects import (
    BLOB,
    FOLDER,
    LINK,
    SUBMODULE,
    Node,
    Objects,
    pointer,
    unsafe,
)
from rollback.model.errors import PlanError, Refused


class GitSource:
    """The files of `commit` at or below `path`; paths are relative to it, `.` is a single file."""

    def __init__(self, objects: Objects, commit: str, path: bytes, where: str) -> None:
        self._objects = objects
        self._where = where
        self.commit = commit
        self.path = path
        node = objects.node(objects.commit(commit).tree, path)
        if node is None:
            raise PlanError(f"{os.fsdecode(path)} is not in {commit[:12]}", where=where)
        self._nodes = dict(self._checked(node))

    def _checked(self, node: Node) -> Iterator[tuple[bytes, Node]]:
        below = self._objects.walk(node.id) if node.mode == FOLDER else iter([(b".", node)])
        for path, found in below:
            if path != b"." and (reason := unsafe(path)):
                raise Refused("git-path", f"{os.fsdecode(path)!r} is never written: {reason}",
                              where=self._where)  # fmt: skip
            if found.mode == SUBMODULE:
                raise Refused("git-submodule", f"{os.fsdecode(path)} is a submodule",
                              where=self._where,
                              hint="roll the submodule back in its own repository")  # fmt: skip
            yield path, found

    def entries(self) -> Iterable[Entry]:
        """Every file, link and folder; owner and time are not known to git.

        Raises: ObjectMissing, ObjectCorrupt: links are read here, files by `read`.
        """
        for path, node in self._nodes.items():
            if node.mode == FOLDER:
                yield Entry(path, "folder")
            elif node.mode == LINK:
                yield Entry(path, "symlink", target=self._objects.read(node.id, BLOB))
            else:
                yield Entry(path, "file", mode=node.permissions,
                            size=self._objects.size(node.id))  # fmt: skip

    def read(self, entry: Entry) -> Iterable[bytes]:
        """The bytes of a file. Raises: ObjectMissing, ObjectCorrupt; Refused for a pointer."""
        data = self._objects.read(self._nodes[entry.path].id, BLOB)
        if pointer(data):
            raise Refused("git-large-file", f"{os.fsdecode(entry.path)} is kept elsewhere",
                          where=self._where, hint="restore it from a checkpoint")  # fmt: skip
        yield data
