"""Git objects, read and hashed by us: blobs, trees, commits, and what differs between two trees.

What is made in memory (the result of a revert) is an object like any other, and reaches the disk
only through `store`.

Hides: the object database, the bytes of trees and commits.
Never: believes an id, runs a filter, writes unasked.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pygit2

from rollback.host import Tap
from rollback.model.errors import ObjectCorrupt, ObjectMissing, Refused

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
_NAMES = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
BLOB_BYTES_MAX = 512 * 2**20
DEPTH_MAX = 200
LINK, FILE, PROGRAM, FOLDER, SUBMODULE = 0o120000, 0o100644, 0o100755, 0o040000, 0o160000
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_MODES = {0o100664: FILE, FILE: FILE, PROGRAM: PROGRAM, LINK: LINK, FOLDER: FOLDER,
          SUBMODULE: SUBMODULE}  # fmt: skip
_POINTER = b"version https://git-lfs.github.com/spec/v1"


@dataclass(frozen=True, slots=True)
class Node:
    """What a tree holds under a name: the mode as git writes it, and the id of the object."""

    mode: int
    id: str

    @property
    def permissions(self) -> int:
        """0644 or 0755."""
        return stat.S_IMODE(self.mode)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit. `at` is when it was committed, UTC."""

    id: str
    tree: str
    parents: tuple[str, ...]
    at: datetime
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message, at most 200 characters."""
        return self.message.strip().split("\n", 1)[0][:200]


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees; None where it is absent."""

    path: bytes
    old: Node | None
    new: Node | None


class Objects:
    """The objects of one repository. Every object given out has been hashed."""

    def __init__(
        self, repo: pygit2.Repository, where: str, shallow: frozenset[str] = frozenset()
    ) -> None:
        self._disk = repo.odb
        self._where = where
        self.shallow = shallow  # commits whose parents were never fetched
        self._trees: dict[str, Mapping[bytes, Node]] = {}
        self._sizes: dict[str, int] = {}
        self.made: dict[str, tuple[int, bytes]] = {}

    def read(self, oid: str, kind: int) -> bytes:
        """The bytes of an object. Raises: ObjectMissing, ObjectCorrupt, Refused when huge."""
        if oid in self.made:
            found, data = self.made[oid]
        else:
            found, data = self._from_disk(oid)
        if found != kind:
            raise ObjectCorrupt(f"object {oid} is no {_NAMES[kind].decode()}", where=self._where)
        return data

    def _from_disk(self, oid: str) -> tuple[int, bytes]:
        wanted = pygit2.Oid(hex=oid)
        try:
            size = self._size(oid)
            if size > BLOB_BYTES_MAX:
                raise Refused(
                    "git-object-size", f"object {oid} has {size} bytes", where=self._where,
                    hint="restore large files from a checkpoint",
                )  # fmt: skip
            found, data = self._disk.read(wanted)
        except KeyError:
            raise ObjectMissing(
                f"object {oid} is missing", where=self._where,
                hint="fetch it from a clone that has it, or go back to a checkpoint",
            ) from None  # fmt: skip
        except (pygit2.GitError, ValueError) as error:
            raise ObjectCorrupt(
                f"object {oid} cannot be read: {error}", where=self._where,
                hint="fetch it from a clone that has it, or go back to a checkpoint",
            ) from error  # fmt: skip
        if object_id(found, data) != oid:
            raise ObjectCorrupt(
                f"object {oid} holds other bytes than its id says", where=self._where,
                hint="do not trust this repository; go back to a checkpoint",
            )  # fmt: skip
        return int(found), data

    def kind(self, oid: str) -> int:
        """The type of an object. Raises: ObjectMissing, ObjectCorrupt."""
        return self.made[oid][0] if oid in self.made else self._from_disk(oid)[0]

    def size(self, oid: str) -> int:
        """How many bytes a blob has."""
        if oid in self.made:
            return len(self.made[oid][1])
        try:
            return self._size(oid)
        except (KeyError, pygit2.GitError):
            return len(self.read(oid, BLOB))  # says exactly what is wrong with it

    def _size(self, oid: str) -> int:
        """What the header says, looked up once: an object never changes its size."""
        found = self._sizes.get(oid)
        if found is None:
            found = self._sizes[oid] = int(self._disk.read_header(pygit2.Oid(hex=oid))[1])
        return found

    def tree(self, oid: str) -> Mapping[bytes, Node]:
        """What a tree holds, by name, checked: no name occurs twice, no mode is unheard of."""
        if oid in self._trees:
            return self._trees[oid]
        if oid == EMPTY_TREE:
            return {}
        data = self.read(oid, TREE)
        nodes: dict[bytes, Node] = {}
        at = 0
        while at < len(data):
            space, end = data.find(b" ", at), data.find(b"\0", at)
            if not at < space < end or end + 21 > len(data):
                raise ObjectCorrupt(f"tree {oid} is malformed", where=self._where)
            name, written = data[space + 1 : end], data[at:space]
            mode = _MODES.get(int(written, 8)) if written.isdigit() else None
            if mode is None or name in nodes or name in (b"", b".", b"..") or b"/" in name:
                raise ObjectCorrupt(f"tree {oid} has a bad entry {name!r}", where=self._where)
            nodes[name] = Node(mode, data[end + 1 : end + 21].hex())
            at = end + 21
        self._trees[oid] = nodes
        return nodes

    def commit(self, oid: str) -> Commit:
        """A commit, hashed and parsed."""
        head, _, message = self.read(oid, COMMIT).partition(b"\n\n")
        tree, parents, seconds = "", [], 0
        for line in head.split(b"\n"):
            key, _, value = line.partition(b" ")
            if key == b"tree":
                tree = value.decode("ascii", "replace")
            elif key == b"parent":
                parents.append(value.decode("ascii", "replace"))
            elif key == b"committer":
                written = value.rsplit(b" ", 2)[-2:-1]
                seconds = int(written[0]) if written and written[0].isdigit() else 0
        if len(tree) != 40:
            raise ObjectCorrupt(f"commit {oid} names no tree", where=self._where)
        at = datetime.fromtimestamp(min(seconds, 253402300799), UTC)
        known = () if oid in self.shallow else tuple(parents)
        return Commit(oid, tree, known, at, message.decode("utf-8", "replace"))

    def node(self, tree: str, path: bytes) -> Node | None:
        """What stands at `path` in a tree; b"." is the tree itself."""
        found: Node | None = Node(FOLDER, tree)
        for name in [] if path in (b"", b".") else path.split(b"/"):
            if found is None or found.mode != FOLDER:
                return None
            found = self.tree(found.id).get(name)
        return found

    def walk(self, tree: str, prefix: bytes = b"", depth: int = 0) -> Iterator[tuple[bytes, Node]]:
        """Every path and node below a tree, folders before what is in them."""
        self._deep(prefix, depth)
        for name, node in sorted(self.tree(tree).items()):
            path = prefix + b"/" + name if prefix else name
            yield path, node
            if node.mode == FOLDER:
                yield from self.walk(node.id, path, depth + 1)

    def changes(self, old: str, new: str, prefix: bytes = b"", depth: int = 0) -> Iterator[Change]:
        """Every file, link and submodule that differs; equal folders are not entered."""
        if old == new:
            return
        self._deep(prefix, depth)
        before, after = self.tree(old), self.tree(new)
        for name in sorted(before.keys() | after.keys()):
            one, other = before.get(name), after.get(name)
            if one == other:
                continue
            path = prefix + b"/" + name if prefix else name
            folders = [n.id if n and n.mode == FOLDER else EMPTY_TREE for n in (one, other)]
            yield from self.changes(folders[0], folders[1], path, depth + 1)
            one = None if one and one.mode == FOLDER else one
            other = None if other and other.mode == FOLDER else other
            if one != other:
                yield Change(path, one, other)

    def _deep(self, prefix: bytes, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise ObjectCorrupt(f"folders deeper than {DEPTH_MAX}: {prefix[:80]!r}…",
                                where=self._where)  # fmt: skip

    def make(self, kind: int, data: bytes) -> str:
        """The id of a new object; it exists in memory only."""
        oid = object_id(kind, data)
        self.made[oid] = (kind, data)
        return oid

    def make_tree(self, nodes: Mapping[bytes, Node]) -> str:
        """The id of a new tree in memory."""
        key = lambda item: item[0] + (b"/" if item[1].mode == FOLDER else b"")  # noqa: E731
        return self.make(TREE, b"".join(
            b"%o %b\0" % (node.mode, name) + bytes.fromhex(node.id)
            for name, node in sorted(nodes.items(), key=key)))  # fmt: skip

    def make_commit(self, tree: str, parents: tuple[str, ...], at_s: int, message: str) -> str:
        """The id of a new commit in memory; the same arguments give the same commit."""
        who = f"rollback <rollback@localhost> {at_s} +0000"
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents), f"author {who}",
                 f"committer {who}", "", message]  # fmt: skip
        return self.make(COMMIT, "\n".join(lines).encode("utf-8", "replace"))

    def changed_tree(self, tree: str, changes: Mapping[bytes, Node | None]) -> str:
        """The id of a tree in memory: `tree` with these paths set, or absent where None."""
        nodes = dict(self.tree(tree))
        below: dict[bytes, dict[bytes, Node | None]] = {}
        for path, node in changes.items():
            name, _, rest = path.partition(b"/")
            if rest:
                below.setdefault(name, {})[rest] = node
            elif node is None:
                nodes.pop(name, None)
            else:
                nodes[name] = node
        for name, inner in below.items():
            old = nodes.get(name)
            made = self.changed_tree(old.id if old and old.mode == FOLDER else EMPTY_TREE, inner)
            if made != EMPTY_TREE:
                nodes[name] = Node(FOLDER, made)
            elif old is not None and old.mode == FOLDER:
                del nodes[name]
        return self.make_tree(nodes)

    def store(self, wanted: str, tap: Tap) -> None:
        """The commit `wanted` and all that it needs of what was made in memory is on disk."""
        # What an object needs is written before it: one that is there after a crash is whole.
        seen: set[str] = set()
        ahead = [(wanted, False)]
        while ahead:
            oid, below = ahead.pop()
            if not below:
                if oid in seen or oid not in self.made:
                    continue
                seen.add(oid)
                ahead.append((oid, True))
                ahead.extend((one, False) for one in self._needs(oid))
            elif pygit2.Oid(hex=oid) not in self._disk:
                kind, data = self.made[oid]
                tap.change("git-object", oid, lambda k=kind, d=data: self._disk.write(k, d))  # type: ignore[misc]

    def _needs(self, oid: str) -> tuple[str, ...]:
        kind = self.made[oid][0]
        if kind == COMMIT:
            commit = self.commit(oid)
            return (*commit.parents, commit.tree)
        return tuple(node.id for node in self.tree(oid).values()) if kind == TREE else ()

    def prove(self, commit: str) -> tuple[int, int]:
        """Every object below the commit was read and hashed; how many, and their bytes."""
        seen: set[str] = set()
        size = 0
        for _, node in self.walk(self.commit(commit).tree):
            if node.id not in seen and node.mode not in (FOLDER, SUBMODULE):
                size += len(self.read(node.id, BLOB))
            seen.add(node.id)
        return len(seen) + 2, size


class Memory(pygit2.OdbBackend):
    """What libgit2 writes while it merges stays in memory."""

    def __init__(self, made: dict[str, tuple[int, bytes]]) -> None:
        super().__init__()
        self._made = made

    def read_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        return self._made[str(oid)]

    def read_header_cb(self, oid: pygit2.Oid) -> tuple[int, int]:
        kind, data = self._made[str(oid)]
        return kind, len(data)

    def read_prefix_cb(self, prefix: Any) -> Any:
        raise KeyError(prefix)

    def exists_prefix_cb(self, prefix: Any) -> Any:
        raise KeyError(prefix)

    def exists_cb(self, oid: pygit2.Oid) -> bool:
        return str(oid) in self._made

    def write_cb(self, oid: pygit2.Oid, data: bytes, kind: int) -> None:
        self._made[str(oid)] = (kind, bytes(data))

    def refresh_cb(self) -> None:
        return None


def in_memory(path: str, made: dict[str, tuple[int, bytes]]) -> pygit2.Repository:
    """The repository opened once more; whatever is made with it lands in `made`, not on disk."""
    repo = pygit2.Repository(path)
    odb = pygit2.Odb(str(Path(path) / "objects"))
    odb.add_backend(Memory(made), 100)  # above every backend on disk: it takes the writes
    repo.set_odb(odb)
    return repo


def object_id(kind: int, data: bytes) -> str:
    """The SHA-1 that git gives these bytes."""
    header = b"%b %d\0" % (_NAMES[kind], len(data))
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def unsafe(path: bytes) -> str:
    """Why this path of a tree is never written; empty when it may be."""
    for name in path.split(b"/"):
        folded = name.decode("utf-8", "surrogateescape").casefold()
        plain = "".join(c for c in folded if c not in _IGNORABLE).rstrip(". ")
        if name in (b"", b".", b".."):
            return "it has an empty, '.' or '..' part"
        if plain.split(":")[0] in (".git", "git~1"):
            return "it would be part of a git directory"
        if b"\\" in name or b"\0" in name or len(name) > 255:
            return "it has a backslash, a NUL byte or an overlong part"
    return ""


_IGNORABLE = frozenset(map(chr, (*range(0x200C, 0x2010), *range(0x202A, 0x202F),
                                 *range(0x206A, 0x2070), 0xFEFF)))  # fmt: skip


def pointer(data: bytes) -> bool:
    """True for a large-file pointer: the content itself is not in the repository."""
    return len(data) < 1024 and data.startswith(_POINTER)


Validate = Callable[[Commit], str]
