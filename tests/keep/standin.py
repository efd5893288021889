"""What the tests of the store share: a small system, an independent walker.

The walker uses os.walk and os.lstat and nothing of ours: it is the second witness.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rollback.host import Clock, Host, Tap, Tree
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.contents import append_only, files, git, postgres, sqlite
from rollback.keep.progress import SILENT, Progress
from rollback.keep.stat_cache import RACY_NS
from rollback.model.operations import Checkpoints as Declared

KINDS = (append_only, files, git, postgres, sqlite)  # imported, so registered


def component(path: str, **given: Any) -> SimpleNamespace:
    """A stand-in for a declared component."""
    base = {"path": path, "paths": (), "content": "files", "exclude": (), "volatile": False,
            "order": 100, "planned": None, "restore": "in-place"}  # fmt: skip
    return SimpleNamespace(**{**base, **given})


@dataclass
class World:
    """A root with components, a state directory beside it, and the checkpoints in it."""

    base: Path
    components: dict[str, Any]
    checkpoints: Any = field(default_factory=Declared)
    services: dict[str, Any] = field(default_factory=dict)
    clock: Any = field(default_factory=Clock)
    progress: Progress = SILENT

    @property
    def root(self) -> Path:
        return self.base / "root"

    @property
    def state(self) -> Path:
        return self.base / "state"

    def make(self) -> World:
        self.root.mkdir()
        self.state.mkdir(mode=0o700)
        return self

    def system(self) -> Any:
        return SimpleNamespace(
            system=SimpleNamespace(id="small"), root_path=self.root, state_path=self.state,
            components=self.components, digest="d" * 64, repository=None,
            checkpoints=self.checkpoints, declaration=self.base / "rollback.yaml",
            services=self.services,
        )  # fmt: skip

    @contextmanager
    def open(self, tap: Tap | None = None) -> Any:
        host = Host(tap=tap or Tap(), clock=self.clock)
        with (
            host.tree(str(self.state)) as state,
            Checkpoints(self.system(), host, state, self.progress) as found,
        ):
            yield found


def walked(root: Path | bytes) -> dict[bytes, tuple[Any, ...]]:
    """Every path below root with everything that a restore has to bring back."""
    top = os.fsencode(root)
    found: dict[bytes, tuple[Any, ...]] = {}
    if not os.path.lexists(top):
        return found
    inodes: dict[tuple[int, int], list[bytes]] = {}
    todo = [top]
    if stat.S_ISDIR(os.lstat(top).st_mode):
        for folder, names, others in os.walk(top, followlinks=False):
            todo += [os.path.join(folder, name) for name in (*names, *others)]
    for path in todo:
        seen = os.lstat(path)
        name = os.path.relpath(path, top)
        what: Any = None
        if stat.S_ISLNK(seen.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(seen.st_mode):
            with open(path, "rb") as file:
                what = hashlib.sha256(file.read()).hexdigest()
            inodes.setdefault((seen.st_dev, seen.st_ino), []).append(name)
        found[name] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns, what)
    for names_of_one in inodes.values():
        for name in names_of_one:
            found[name] += (tuple(sorted(names_of_one)),)
    return found


def settle(world: World) -> None:
    """Nothing below changed so lately that its time could stay the same at another change."""
    clock = Host().clock
    newest = max(path.lstat().st_ctime_ns for path in (world.root, *world.root.rglob("*")))
    assert clock.poll(
        lambda: clock.now().timestamp() * 1e9 - newest > RACY_NS * 2, within_s=5, every_s=0.01
    )


def tree_of(path: Path, tap: Tap | None = None) -> Tree:
    """The folder, opened."""
    return Tree.open(str(path), tap=tap or Tap())
