"""Which commit a repository has out, read from its files without opening it.

Hides: loose and packed refs.
Never: runs git; follows a pointer out of the root.
"""

from __future__ import annotations

import os
import re

from rollback.host import Tree
from rollback.model.errors import HostError

_ID = re.compile(r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_REF = re.compile(r"\Arefs/[^\x00-\x20~^:?*\[\\]+\Z")


def head(root: Tree, at: bytes) -> tuple[str, str] | None:
    """Branch ("" when detached) and commit of the repository at or above `at`, inside the root."""
    folder = repository_at(root, at)
    try:
        return None if folder is None else _head(root, _below(folder) + b".git/")
    except (OSError, HostError):
        return None


def repository_at(root: Tree, at: bytes) -> bytes | None:
    """The folder of the repository at or above `at`, inside the root.

    None of a worktree or a submodule: its head is elsewhere, perhaps outside.
    """
    folder = at
    while True:
        try:
            if root.stat(_below(folder) + b".git/HEAD") is not None:
                return folder
        except (OSError, HostError):
            return None
        if folder == b".":
            return None
        folder = os.path.dirname(folder) or b"."


def _below(folder: bytes) -> bytes:
    return b"" if folder == b"." else folder + b"/"


def _head(root: Tree, base: bytes) -> tuple[str, str] | None:
    text = root.read(base + b"HEAD", limit_bytes=4096).decode("utf-8", "replace").strip()
    if _ID.match(text):
        return "", text
    name = text.removeprefix("ref: ").strip()
    if not _REF.match(name) or ".." in name:
        return None
    branch = name.removeprefix("refs/heads/")
    if root.stat(base + name.encode()) is not None:
        loose = root.read(base + name.encode(), limit_bytes=4096).decode("ascii", "replace").strip()
        return (branch, loose) if _ID.match(loose) else None
    if root.stat(base + b"packed-refs") is not None:
        for line in root.read(base + b"packed-refs").decode("utf-8", "replace").splitlines():
            commit, _, packed = line.partition(" ")
            if packed == name and _ID.match(commit):
                return branch, commit
    return None
