"""Where a question looks in the file system: below the root, or at an absolute path, read-only.

Hides: how a written path becomes an open folder and a name in it; globs.
Never: follows a link, opens anything for writing.
"""

from __future__ import annotations

import fnmatch
import os
import stat as stat_
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import AfterValidator

from rollback.host import Tree
from rollback.host.below import checked
from rollback.model.errors import RollbackError
from rollback.observe.view import View

_MATCHES_MAX = 100_000
_MAGIC = ("*", "?", "[")


def _plain_path(path: str) -> str:
    if not path:
        raise ValueError("the path is empty")
    try:
        checked(path.removeprefix("/"))
    except RollbackError as error:
        raise ValueError(f"{path!r}: {error.message}") from None
    return path


Place = Annotated[str, AfterValidator(_plain_path)]
"""A field that holds a path: relative to the root, or absolute."""


@contextmanager
def opened(view: View, path: str) -> Iterator[tuple[Tree, bytes]]:
    """The folder that the path starts from, and the rest of the path in it.

    Raises: HostError when the folder is not there, Confined when it is a link.
    """
    if path.startswith("/"):
        folder, name = os.path.split(path)
        with view.host.tree(folder) as tree:
            yield tree, os.fsencode(name or ".")
        return
    with view.host.tree(str(view.root)) as tree:
        yield tree, checked(path)


@contextmanager
def opened_glob(view: View, pattern: str) -> Iterator[tuple[Tree, str]]:
    """The folder that a pattern starts from, and the pattern relative to it."""
    if not pattern.startswith("/"):
        with view.host.tree(str(view.root)) as tree:
            yield tree, pattern
        return
    parts = pattern[1:].split("/")
    fixed = next((n for n, part in enumerate(parts) if _magic(part)), len(parts) - 1)
    with view.host.tree("/" + "/".join(parts[:fixed])) as tree:
        yield tree, "/".join(parts[fixed:])


def _magic(part: str) -> bool:
    return any(mark in part for mark in _MAGIC)


def matches(tree: Tree, pattern: str) -> list[bytes]:
    """The files, links and folders that the pattern names, sorted; `**` is any depth.

    Raises: OSError where a folder cannot be read: absence is not unreadability.
    """
    found = _below(tree, b"", pattern.split("/"))
    return sorted(set(found))[:_MATCHES_MAX]


def _below(tree: Tree, prefix: bytes, parts: list[str]) -> Iterator[bytes]:
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _below(tree, prefix, rest or ["*"])
        for folder in _folders(tree, prefix):
            yield from _below(tree, folder, parts)
        return
    if _magic(part):
        names = [name for name in _names(tree, prefix)
                 if fnmatch.fnmatchcase(os.fsdecode(name), part)
                 and (part.startswith(".") or not name.startswith(b"."))]  # fmt: skip
    else:
        names = [os.fsencode(part)]
    for name in names:
        path = prefix + b"/" + name if prefix else name
        if rest:
            yield from _below(tree, path, rest)
        elif tree.stat(path) is not None:
            yield path


def _folders(tree: Tree, prefix: bytes) -> list[bytes]:
    paths = [prefix + b"/" + name if prefix else name for name in _names(tree, prefix)]
    return [path for path in paths
            if (found := tree.stat(path)) is not None and stat_.S_ISDIR(found.st_mode)]  # fmt: skip


def _names(tree: Tree, prefix: bytes) -> list[bytes]:
    found = tree.stat(prefix or b".")
    if found is None or not stat_.S_ISDIR(found.st_mode):
        return []
    try:
        return tree.names(prefix or b".")
    except FileNotFoundError:  # it went while we looked
        return []


def size_bytes(view: View, path: str) -> int | None:
    """How long the regular file is; None when there is none."""
    with opened(view, path) as (tree, name):
        found = tree.stat(name)
    return found.st_size if found is not None and stat_.S_ISREG(found.st_mode) else None
