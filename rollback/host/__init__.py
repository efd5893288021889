"""The one door to the world: files, processes, network, databases, clock and randomness.

Everything that changes anything passes `Tap`, so that a test can count the changes, stop at each
of them, or make them fail. `Host` is handed down explicitly; there is no global one.

Hides: system calls.
Never: knows what a rollback is.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rollback.host.below import open_plain
from rollback.host.clock import Clock
from rollback.host.files import Tree
from rollback.host.tap import Tap


@dataclass(frozen=True)
class Host:
    """This machine. `tap` sees every change, `clock` tells every time."""

    tap: Tap = field(default_factory=Tap)
    clock: Clock = field(default_factory=Clock)

    def tree(self, path: str | bytes) -> Tree:
        """The folder at `path`, opened; close it or use it in `with`."""
        return Tree.open(path, tap=self.tap)

    def plain_tree(self, path: str | bytes) -> Tree:
        """The folder at an absolute path, no part of which is a link. Raises: Confined."""
        raw = os.fsencode(path)
        return Tree(open_plain(raw), raw, self.tap)

    def free_bytes(self, path: str) -> int:
        """What an ordinary user may still write on the file system of `path`."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A private folder outside everything managed; it is gone afterwards, whatever is in it."""
        with tempfile.TemporaryDirectory(prefix="rollback-", ignore_cleanup_errors=True) as made:
            yield made

    def token(self, size_bytes: int = 8) -> str:
        """Unguessable hex digits, two per byte."""
        return secrets.token_hex(size_bytes)


__all__ = ["Clock", "Host", "Tap", "Tree"]
