"""Where a value stands that says what is in force: a key of a file, a whole small file, a link.

Each is changed in one rename and taken back as exactly; nobody ever sees half of it.

Hides: formats; how a link is replaced.
Never: replaces a file or folder by a link, or lets a link lead out of the root.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from typing import Protocol

from rollback.act.patch import Change, make, patch_from, planned, read, setting, take_back, value_in
from rollback.declare.edit import Format
from rollback.host import Host, Tree
from rollback.host.files import TEMPORARY
from rollback.model.errors import Confined, HostError, PlanError
from rollback.model.finding import Json

Value = bool | int | float | str


class Pointer(Protocol):
    """One place for a value. `bound` is what `plan` returned when the plan was made."""

    @property
    def path(self) -> str:
        """The file or link, below the root."""

    @property
    def name(self) -> str:
        """What is set, for people."""

    def now(self, tree: Tree) -> Json:
        """The value that stands there; None when none does. Raises: HostError."""

    def plan(self, tree: Tree) -> dict[str, Json]:
        """What there is to do, and what stood there. Raises: PlanError when it cannot be done."""

    def make(self, tree: Tree, bound: dict[str, Json], host: Host) -> bool:
        """The value stands there, durably; True when it had to change. Again: no change."""

    def take_back(self, tree: Tree, bound: dict[str, Json], host: Host) -> None:
        """What stood there when the plan was made stands there again. Again: no change."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a YAML, JSON or env file; every other byte stays."""

    path: str
    key: str
    format: Format
    value: Value

    @property
    def name(self) -> str:
        """The key."""
        return self.key

    def now(self, tree: Tree) -> Json:
        """The scalar that stands there."""
        return value_in(tree, self.path, self.format, self.key)

    def plan(self, tree: Tree) -> dict[str, Json]:
        """The bytes that change."""
        patch = planned(tree, self.path, setting(self.format, self.key, self.value))
        return {"patch": patch.data(), "was": self.now(tree), "format": self.format,
                "changes": int(patch.before != patch.after), "lines": [*patch.lines()]}  # fmt: skip

    def make(self, tree: Tree, bound: dict[str, Json], _host: Host) -> bool:
        """The key holds the value."""
        patch = patch_from(_dict(bound["patch"]))
        return make(tree, patch, setting(self.format, self.key, self.value))

    def take_back(self, tree: Tree, bound: dict[str, Json], _host: Host) -> None:
        """The key holds what it held, or is not there."""
        was = bound["was"]
        old = was if isinstance(was, (bool, int, float, str)) else None
        take_back(tree, patch_from(_dict(bound["patch"])), setting(self.format, self.key, old))


@dataclass(frozen=True, slots=True)
class Line:
    """A file that holds one line and nothing else, like VERSION; it ends as it ended."""

    path: str
    value: str

    @property
    def name(self) -> str:
        """The file."""
        return self.path

    def now(self, tree: Tree) -> Json:
        """The line. Raises: HostError when there is more than one, or it is no text."""
        data = read(tree, self.path)
        if data is None:
            return None
        lines = data.splitlines()
        if len(lines) > 1 or b"\0" in data:
            raise HostError("holds more than one line: it is no version file", where=self.path,
                            hint="name the key that holds the version: key: NAME")  # fmt: skip
        try:
            return lines[0].decode("utf-8") if lines else ""
        except UnicodeDecodeError as error:
            raise HostError("is not UTF-8 text", where=self.path) from error

    def plan(self, tree: Tree) -> dict[str, Json]:
        """The bytes that change. Raises: PlanError for a file that is no version file."""
        try:
            was = self.now(tree)
        except HostError as error:
            raise PlanError(error.message, where=error.where, hint=error.hint) from error
        patch = planned(tree, self.path, _line(self.value))
        return {"patch": patch.data(), "was": was, "format": "text",
                "changes": int(patch.before != patch.after), "lines": [*patch.lines()]}  # fmt: skip

    def make(self, tree: Tree, bound: dict[str, Json], _host: Host) -> bool:
        """The file is that line."""
        self.now(tree)  # more than a line by now: it is somebody else's
        return make(tree, patch_from(_dict(bound["patch"])), _line(self.value))

    def take_back(self, tree: Tree, bound: dict[str, Json], _host: Host) -> None:
        """The file is as it was, or is not there. Raises: HostError when it holds more by now."""
        self.now(tree)
        was = bound["was"]
        take_back(tree, patch_from(_dict(bound["patch"])),
                  _line(was) if isinstance(was, str) else lambda data: data)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link that points at what is in force, like current -> releases/1.0.0."""

    path: str
    value: str

    @property
    def name(self) -> str:
        """The link."""
        return self.path

    def now(self, tree: Tree) -> Json:
        """What it points at, as it is written in it. Raises: HostError for anything but a link."""
        found = tree.stat(self.path)
        if found is None:
            return None
        if not stat.S_ISLNK(found.st_mode):
            raise HostError("something that is no link stands there", where=tree.place(self.path),
                            hint="move it away: it is never replaced by a link")  # fmt: skip
        return os.fsdecode(tree.readlink(self.path))

    def plan(self, tree: Tree) -> dict[str, Json]:
        """What it points at. Raises: PlanError where it cannot be made to point there."""
        try:
            was = self.now(tree)
            self._there(tree)
        except Confined:
            raise
        except HostError as error:
            raise PlanError(error.message, where=error.where, hint=error.hint) from error
        return {"was": was, "format": "link", "changes": int(was != self.value)}

    def make(self, tree: Tree, _bound: dict[str, Json], host: Host) -> bool:
        """It points there, and what it points at is there."""
        self._there(tree)
        changed = self._point(tree, self.value, host)
        if self.now(tree) != self.value:
            raise HostError(
                "somebody else points it elsewhere at the same time", where=tree.place(self.path),
                hint="find out who, stop it, and resume",
            )  # fmt: skip
        return changed

    def take_back(self, tree: Tree, bound: dict[str, Json], host: Host) -> None:
        """It points where it did, or is not there."""
        was = bound["was"]
        self._point(tree, was if isinstance(was, str) else None, host)

    def _point(self, tree: Tree, target: str | None, host: Host) -> bool:
        folder = os.path.dirname(self.path) or "."
        if tree.stat(folder) is None and target is None:
            return False
        tree.sweep(folder)
        now = self.now(tree)
        if now == target:
            tree.sync_folder(folder)  # whoever changed it may have died before it was on disk
            return False
        if target is None:
            tree.unlink(self.path)
        else:
            like = tree.stat(self.path) or tree.stat(folder)
            assert like is not None, "a link is made in a folder that is there"
            name = TEMPORARY + host.token().encode()
            temporary = os.path.join(os.fsencode(os.path.dirname(self.path)), name)
            tree.symlink(os.fsencode(target), temporary)
            tree.dress_link(temporary, owner=(like.st_uid, like.st_gid), mtime_ns=None)
            tree.rename(temporary, self.path)
        tree.sync_folder(folder)
        return True

    def _there(self, tree: Tree) -> None:
        """What it is to point at is a file or folder below the root, behind no link."""
        where = pointed(self.path, self.value)
        found = tree.stat(where)
        if found is None or stat.S_ISLNK(found.st_mode):
            raise HostError(
                "is a link itself" if found is not None else "there is nothing to point at",
                where=tree.place(where), hint="choose a version that is there",
            )  # fmt: skip
        if tree.stat(os.path.dirname(self.path) or ".") is None:
            raise HostError("the folder of the link is not there", where=tree.place(self.path))


def pointed(link: str, value: str) -> str:
    """The path below the root that `link` leads to with this text in it. Raises: ValueError."""
    if value.startswith("/"):
        raise ValueError(f"{value!r} is no place below the root; write it relative to the link")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(link), value))
    if found == ".." or found.startswith("../"):
        raise ValueError(f"{link} -> {value} would lead out of the root")
    if found == "." or link == found or link.startswith(found + "/"):
        raise ValueError(f"{link} -> {value} would lead to the link itself")
    if posixpath.normpath(value) != value:
        raise ValueError(f"write {posixpath.normpath(value)} for {value}")
    return found


def _line(value: str) -> Change:
    """The change that makes a file this one line, which ends as the old one ended."""

    def change(data: bytes) -> bytes:
        end = b"\r\n" if data.endswith(b"\r\n") else b"" if data and data[-1:] != b"\n" else b"\n"
        return value.encode() + end

    return change


def _dict(found: Json) -> dict[str, Json]:
    assert isinstance(found, dict)
    return found
