"""What stands in a component right now, as a digest by path: to see later whether it still does.

Hides: what counts as the same.
Never: keeps bytes; a checkpoint does.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from rollback.host import Tree
from rollback.keep.blocks import digest
from rollback.keep.scope import Scope


def fingerprints(root: Tree, path: str, scope: Scope) -> Iterator[tuple[str, str]]:
    """Path and digest (type, mode, bytes) of everything that is ours at `path`; nothing if absent.

    Shape: paths relative to the component, the component itself as its own path when it is a file.
    """
    found = root.stat(path)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        yield path, _digest(root, path.encode(), found)
        return
    with root.sub(path) as tree:
        for below, status in tree.walk(enter=scope.enters):
            if scope.holds(below):
                try:
                    digest = _digest(tree, below, status)
                except FileNotFoundError:
                    continue  # it went while we looked: it does not stand there
                yield os.fsdecode(below), digest


def _digest(tree: Tree, path: bytes, status: os.stat_result) -> str:
    told = hashlib.sha256(b"%o\0" % status.st_mode)
    if stat.S_ISREG(status.st_mode):
        with tree.reading(path) as reading:
            told.update(digest(reading).encode())
    elif stat.S_ISLNK(status.st_mode):
        told.update(tree.readlink(path))
    return told.hexdigest()
