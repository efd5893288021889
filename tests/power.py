"""Power loss, in user space: what a trace of changes may leave behind when the current goes.

`Recorder` is a tap that looks at the whole world after every change and keeps what the change did to
it: names, inodes, bytes, modes, owners, times. Whatever changed without passing a tap is kept as well.
`Trace.after` says what may be on disk when the power goes after so many of these changes.

The file system is believed in this, and in nothing more:
- fsync of a file: its bytes, length, mode, owner and time are on disk. Not its name.
- fdatasync of a file: its bytes and length. Not its mode, owner and time.
- fsync of a folder: every name in it, and its own mode, owner and time. Not its own name.
- syncfs: everything.
- A folder has one name at most: of changes that give or take a name of the same folder, a later one is
  there only if the earlier ones are.
- One rename, exchange, link, symlink, mkdir, unlink or rmdir is there as a whole or not at all, across
  two folders too; it is on disk once one of the folders whose names it changed was synced. A symbolic
  link has its target from the beginning: nobody can sync one.
What was not synced may be there or not, each name for itself and in any order. A file that was not
synced holds what was synced last (nothing, when that is never), what was written last, the first half of
that, or zeros of its length. What ext4 does beyond this (a file's name along with its bytes, zeros
never after a rename, names in order) is not assumed. A loss of power does not turn a bit: that is
another test. What is not modelled: sectors of one write that come in another order than from the front;
inode numbers, so no look of a file that the stat cache knows is ever found again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rollback.host import Tap

T = TypeVar("T")
UNTAPPED = "(no tap)"
ALL_NAMES = 6  # so many names that are not synced are tried in every combination


class Node(NamedTuple):
    """One inode: `data` is bytes of a file, the target of a link, nothing of a folder."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    data: bytes = b""


Spot = tuple[int, bytes]  # a folder, and a name in it
Name = tuple[int, bytes, int]  # a folder, a name, the inode that has it from now on; 0 is none


@dataclass(frozen=True)
class Step:
    """One change: the names and inodes that it altered, or what it made durable."""

    call: str
    where: str
    names: tuple[Name, ...] = ()
    nodes: tuple[tuple[int, Node], ...] = ()
    syncs: tuple[int, ...] = ()  # inodes; 0 is everything
    data_only: bool = False

    def __str__(self) -> str:
        return f"{self.call} {self.where}"


@dataclass
class World:
    """Folders and inodes at one moment; the folder 1 is the top."""

    names: dict[Spot, int] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)

    def copy(self) -> World:
        return World(dict(self.names), dict(self.nodes))


class Recorder(Tap):
    """Keeps what every change below `base` did. Use it in `recording`."""

    def __init__(self, base: Path) -> None:
        self.base = os.fsencode(base)
        self.steps: list[Step] = []
        self.marks: list[tuple[int, Any]] = []
        self._ids: dict[int, int] = {}
        self._next = 1
        self._lock = threading.RLock()
        self._synced: list[tuple[int, bytes]] = []
        self.begin = self.world = self._look()

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """While this lasts it is known which inode every fsync is about."""
        real = {name: getattr(os, name) for name in ("fsync", "fdatasync")}

        def noted(call: Callable[[int], None]) -> Callable[[int], None]:
            def noting(fd: int) -> None:
                call(fd)
                self._synced.append((os.fstat(fd).st_ino, os.readlink(b"/proc/self/fd/%d" % fd)))

            return noting

        for name, call in real.items():
            setattr(os, name, noted(call))
        try:
            yield self
        finally:
            for name, call in real.items():
                setattr(os, name, call)
            self._see(UNTAPPED, "the end")

    def mark(self, what: Any) -> None:
        """From here on this was reported."""
        self.marks.append((len(self.steps), what))

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        with self._lock:
            self._see(UNTAPPED, f"before {call}")
            self._synced = []
            result = do()
            if call == "syncfs":
                self._see(call, os.fsdecode(where))
                self.steps.append(Step(call, os.fsdecode(where), syncs=(0,)))
            elif call in ("fsync", "fdatasync"):
                ((inode, path),) = self._synced  # each sync is about one file, and we know which
                self._see(UNTAPPED, f"during {call}")
                full = os.fsdecode(where) if b"#" in path else os.fsdecode(
                    os.path.relpath(path, self.base))  # fmt: skip
                self.steps.append(Step(call, full, syncs=(self._ids[inode],),
                                       data_only=call == "fdatasync"))  # fmt: skip
            else:
                self._see(call, os.fsdecode(where))
            return result

    def trace(self) -> Trace:
        """All of it."""
        return Trace(self.begin, list(self.steps), list(self.marks))

    # -- looking ---------------------------------------------------------------------------

    def _see(self, call: str, where: str) -> None:
        before, now = self.world, self._look()
        names = tuple((folder, name, now.names.get((folder, name), 0))
                      for folder, name in sorted(before.names.keys() | now.names.keys())
                      if before.names.get((folder, name)) != now.names.get((folder, name))
                      and folder in now.nodes)  # fmt: skip
        nodes = tuple((one, node) for one, node in now.nodes.items()
                      if before.nodes.get(one) != node)  # fmt: skip
        self.world = now
        if names or nodes:
            self.steps.append(Step(call, where, names, nodes))

    def _look(self) -> World:
        found = World()
        seen: dict[int, int] = {}
        self._folder(self.base, os.lstat(self.base), found, seen)
        device = os.lstat(self.base).st_dev
        for fd in os.listdir("/proc/self/fd"):
            try:
                status = os.fstat(int(fd))
                if status.st_nlink or status.st_dev != device or not stat.S_ISREG(status.st_mode):
                    continue
                data = os.pread(int(fd), status.st_size, 0)
            except OSError:
                continue
            found.nodes[self._id(status, seen)] = _node("file", status, data)
        self._ids = seen
        return found

    def _id(self, status: os.stat_result, seen: dict[int, int]) -> int:
        """The same number as long as the inode is there; a new one when its number is used again."""
        if status.st_ino not in seen:
            one = self._ids.get(status.st_ino)
            if one is None:
                one, self._next = self._next, self._next + 1
            seen[status.st_ino] = one
        return seen[status.st_ino]

    def _folder(
        self, path: bytes, status: os.stat_result, found: World, seen: dict[int, int]
    ) -> None:
        here = self._id(status, seen)
        found.nodes[here] = _node("folder", status)
        with os.scandir(path) as entries:
            for entry in entries:
                below = os.lstat(entry.path)
                found.names[here, entry.name] = one = self._id(below, seen)
                if stat.S_ISDIR(below.st_mode):
                    self._folder(entry.path, below, found, seen)
                elif one not in found.nodes:
                    if stat.S_ISLNK(below.st_mode):
                        found.nodes[one] = _node("link", below, os.readlink(entry.path))
                    else:
                        with open(entry.path, "rb") as file:
                            found.nodes[one] = _node("file", below, file.read())


def _node(kind: str, status: os.stat_result, data: bytes = b"") -> Node:
    return Node(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
                status.st_mtime_ns, data)  # fmt: skip


@dataclass
class Disk:
    """What is on disk after some steps, what may be, and since which step."""

    names: list[tuple[int, Step, bool]]  # in order: when, what, and whether it is on disk
    fixed: dict[int, Node]  # inodes as they were last synced
    last: dict[int, Node]  # as they are
    begin: World

    @property
    def open(self) -> list[int]:
        """Which steps' names may or may not be there."""
        return [at for at, _, durable in self.names if not durable]

    def legal(self, kept: frozenset[int]) -> frozenset[int]:
        """The same without what cannot be there, since an earlier name of the same folder is not."""
        moved: dict[int, bool] = {}  # folders, and whether everything about them was there so far
        found = set(kept)
        where = dict(self.begin.names)
        for at, step, durable in self.names:
            about = {one for folder, name, new in step.names
                     for one in (where.get((folder, name), 0), new)
                     if one and self.last[one].kind == "folder"}  # fmt: skip
            where.update({(folder, name): new for folder, name, new in step.names})
            if not durable and not all(moved.get(one, True) for one in about):
                found.discard(at)
            there = durable or at in found
            moved.update({one: there and moved.get(one, True) for one in about})
        return frozenset(found)


@dataclass
class Trace:
    """What was there at the beginning, all of it on disk, and every step since."""

    begin: World
    steps: list[Step]
    marks: list[tuple[int, Any]] = field(default_factory=list)

    def reported(self, count: int) -> list[Any]:
        """What had been reported when so many steps were done."""
        return [what for at, what in self.marks if at <= count]

    @property
    def syncs(self) -> list[int]:
        """The numbers of the steps that make something durable."""
        return [at for at, step in enumerate(self.steps) if step.syncs]

    def without(self, first: int, last: int) -> Trace:
        """The same, but for these steps."""
        count = last + 1 - first
        return Trace(self.begin, self.steps[:first] + self.steps[last + 1 :],
                     [(when - (count if when > last else 0), what) for when, what in self.marks])  # fmt: skip

    def moved(self, at: int, to: int) -> Trace:
        """The same, with one step at another place."""
        steps = list(self.steps)
        steps.insert(to, steps.pop(at))
        return Trace(self.begin, steps, list(self.marks))

    def disk(self, count: int) -> Disk:
        """What `count` steps have made durable, and what they have not."""
        names: list[tuple[int, Step, bool]] = []
        fixed, last = dict(self.begin.nodes), dict(self.begin.nodes)
        for at, step in enumerate(self.steps[:count]):
            for one, node in step.nodes:
                if one not in last and node.kind != "file":
                    fixed[one] = node  # a folder or link is what it is from the beginning
                last[one] = node
            if step.names:
                names.append((at, step, False))
            for one in step.syncs:
                names = [(when, old, durable or one == 0 or one in {f for f, _, _ in old.names})
                         for when, old, durable in names]  # fmt: skip
                if one == 0:
                    fixed = dict(last)
                elif step.data_only and one in fixed:
                    fixed[one] = fixed[one]._replace(data=last[one].data)
                elif one in last:
                    fixed[one] = last[one]
        return Disk(names, fixed, last, self.begin)

    def after(self, count: int, *, seed: int = 0, random_ones: int = 30) -> Iterator[World]:
        """What may be on disk when the power goes after `count` steps; some of it twice."""
        disk = self.disk(count)
        dice = random.Random(f"{seed} {count}")
        for kept in _choices(disk.open, dice, random_ones):
            yield from _contents(disk, _named(disk, disk.legal(kept)), dice, random_ones)

    def some(self, count: int, wanted: int, *, seed: int = 0) -> Iterator[World]:
        """So many of what may be on disk then, at random; whatever was not synced is lost in the first."""
        disk = self.disk(count)
        dice = random.Random(f"{seed} {count}")
        for number in range(wanted):
            chance = dice.choice((0.1, 0.5, 0.9)) if number else 0
            kept = frozenset(one for one in disk.open if dice.random() < chance)
            names = _named(disk, disk.legal(kept))
            ways = {one: _versions(disk.fixed.get(one), disk.last[one])
                    for one in _reached(names, disk.last)}  # fmt: skip
            yield World(names, {one: dice.choice(found) if number else found[min(1, len(found) - 1)]
                                for one, found in ways.items()})  # fmt: skip


def _choices(open_: list[int], dice: random.Random, random_ones: int) -> Iterator[frozenset[int]]:
    """Which of these are there: all ways of a few; of many, the orderly ways and some others."""
    if len(open_) <= ALL_NAMES:
        for count in range(len(open_), -1, -1):
            yield from map(frozenset, itertools.combinations(open_, count))
        return
    whole = frozenset(open_)
    yield whole
    for count in range(len(open_)):
        yield frozenset(open_[:count])
        yield frozenset(open_[count:])
        yield whole - {open_[count]}
        yield frozenset({open_[count]})
    for _ in range(random_ones):
        chance = dice.choice((0.2, 0.5, 0.8))
        yield frozenset(one for one in open_ if dice.random() < chance)


def _named(disk: Disk, kept: frozenset[int]) -> dict[Spot, int]:
    names = dict(disk.begin.names)
    for at, step, durable in disk.names:
        if durable or at in kept:
            for folder, name, one in step.names:
                if one:
                    names[folder, name] = one
                else:
                    names.pop((folder, name), None)
    return names


def _contents(
    disk: Disk, names: dict[Spot, int], dice: random.Random, random_ones: int
) -> Iterator[World]:
    """The same names with everything that the inodes behind them may hold."""
    reached = _reached(names, disk.last)
    ways = {one: _versions(disk.fixed.get(one), disk.last[one]) for one in reached}
    open_ = [one for one, found in ways.items() if len(found) > 1]

    def world(chosen: dict[int, int]) -> World:
        return World(names, {one: found[min(chosen.get(one, 0), len(found) - 1)]
                             for one, found in ways.items()})  # fmt: skip

    yield world({})
    if not open_:
        return
    for way in range(1, max(len(ways[one]) for one in open_)):
        yield world(dict.fromkeys(open_, way))
    for one in open_ if len(open_) > 1 else ():
        for way in range(1, len(ways[one])):
            yield world({one: way})
    for _ in range(min(random_ones, 4) if len(open_) > 1 else 0):
        yield world({one: dice.randrange(len(ways[one])) for one in open_})


def _versions(fixed: Node | None, last: Node) -> list[Node]:
    """What the inode may hold: as written, as synced, torn, zeros; the bytes and the rest apart."""
    if fixed == last:
        return [last]
    old = fixed if fixed is not None else last._replace(data=b"", mode=0o600)
    found = [last, old, _with(old, last.data), _with(last, old.data)]
    if last.kind == "file" and last.data != old.data:
        same = _same(last.data, old.data)  # what was synced and not changed stays
        half = (same + len(last.data)) // 2
        torn = last.data[:half] + old.data[half : len(last.data)]
        zeros = old.data[: len(last.data)] + bytes(max(0, len(last.data) - len(old.data)))
        found += [_with(last, torn), _with(last, zeros)]
    return list(dict.fromkeys(found))


def _same(one: bytes, other: bytes) -> int:
    """How many bytes the two begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))  # fmt: skip


def _with(node: Node, data: bytes) -> Node:
    """The same with other bytes."""
    return node._replace(data=data)


def _reached(names: dict[Spot, int], nodes: dict[int, Node]) -> list[int]:
    below: dict[int, list[int]] = {}
    for (folder, _), one in names.items():
        below.setdefault(folder, []).append(one)
    found, todo = {1: None}, [1]
    while todo:
        for one in below.get(todo.pop(), ()):
            if one not in found:
                found[one] = None
                if nodes[one].kind == "folder":
                    todo.append(one)
    return list(found)


def digest(world: World) -> bytes:
    """The same for two that nobody can tell apart."""
    whole = hashlib.sha256()
    groups: dict[int, int] = {}

    def add(folder: int) -> None:
        for name, one in sorted(below.get(folder, ())):
            node = world.nodes[one]
            group = groups.setdefault(one, len(groups))
            whole.update(repr((name, group, node)).encode())
            if node.kind == "folder":
                add(one)
        whole.update(b"up")

    below = _below(world)
    whole.update(repr(world.nodes[1]).encode())
    add(1)
    return whole.digest()


def _below(world: World) -> dict[int, list[tuple[bytes, int]]]:
    below: dict[int, list[tuple[bytes, int]]] = {}
    for (folder, name), one in world.names.items():
        below.setdefault(folder, []).append((name, one))
    return below


def write(world: World, base: Path) -> None:
    """The folder `base` is that world, and nothing else."""
    top = os.fsencode(base)
    for name in os.listdir(top):
        path = os.path.join(top, name)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    below, placed = _below(world), dict[int, bytes]()

    def fill(folder: int, path: bytes) -> None:
        for name, one in below.get(folder, ()):
            node, at = world.nodes[one], os.path.join(path, name)
            if node.kind == "folder":
                os.mkdir(at)
                fill(one, at)
            elif one in placed:
                os.link(placed[one], at, follow_symlinks=False)
                continue
            elif node.kind == "link":
                os.symlink(node.data, at)
            else:
                with open(at, "wb") as file:
                    file.write(node.data)
            placed[one] = at
            _dress(at, node)

    fill(1, top)
    _dress(top, world.nodes[1])


def _dress(path: bytes, node: Node) -> None:
    if os.geteuid() == 0:
        os.chown(path, node.uid, node.gid, follow_symlinks=False)
    if node.kind != "link":
        os.chmod(path, node.mode)
    os.utime(path, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)


__all__ = ["UNTAPPED", "Disk", "Node", "Recorder", "Step", "Trace", "World", "digest", "write"]
