"""A store in a folder of this machine: files 0600 in folders 0700, durable before they count.

Hides: temporary names and the order of syncs.
Never: changes a finished file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from rollback.host import Host, Tree
from rollback.host.files import TEMPORARY
from rollback.keep.place import DAMAGED, Place, StoreKind
from rollback.model.errors import HostUnreachable
from rollback.model.registry import register

FOLDERS = ("packs", "checkpoints")
OPENED_MAX = 32
LISTS = "lists"  # of copies alone: which packs a checkpoint needs


class _Opened:
    """A file that is read from again and again. It is closed when nobody reads from it any more."""

    def __init__(self, tree: Tree, name: str) -> None:
        self.fd = tree.open_read(name)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self.fd)


class Folder:
    """A Place in an open folder, which is its own to close."""

    def __init__(self, tree: Tree, host: Host) -> None:
        self._tree = tree
        self._host = host
        self._opened: dict[str, _Opened] = {}

    def names(self, folder: str) -> list[str]:
        """The names of the finished files in a folder."""
        self._opened = {}  # others may have put new files in the place of damaged ones
        if self._tree.stat(folder) is None:
            return []
        found = (name for name in self._tree.names(folder) if not name.startswith(TEMPORARY))
        return [os.fsdecode(name) for name in found]

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each finished file in a folder."""
        if self._tree.stat(folder) is None:
            return {}
        return {os.fsdecode(name.rpartition(b"/")[2]): seen.st_size
                for name, seen in self._tree.scan(folder)
                if not name.rpartition(b"/")[2].startswith(TEMPORARY)}  # fmt: skip

    def size(self, name: str) -> int:
        """Bytes."""
        return self._tree.size(name)

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on."""
        opened = self._opened.get(name)
        if opened is None:
            opened = _Opened(self._tree, name)
            if len(self._opened) >= OPENED_MAX:
                self._opened = {}
            self._opened[name] = opened
        return os.pread(opened.fd, size_bytes, offset)

    def create(self, name: str, chunks: Iterable[bytes]) -> None:
        """The file is there, whole and durable."""
        for folder in FOLDERS:
            self._folder(folder)
        self._folder(os.path.dirname(name))
        self._opened.pop(name, None)
        self._tree.write(name, chunks, mode=0o600)

    def replace(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """The file is exactly `data`, or what it was."""
        self._opened.pop(name, None)
        self._tree.write(name, data, mode=0o600, sync=False)

    def remove(self, name: str) -> None:
        """The file is gone, durably."""
        self._opened.pop(name, None)
        if self._tree.stat(name) is not None:
            self._tree.unlink(name)
            self._tree.sync_folder(os.path.dirname(name) or b".")

    def set_aside(self, name: str) -> None:
        """The file lies in `damaged/`, under its own name."""
        self._opened.pop(name, None)
        self._folder(DAMAGED)
        self._tree.rename(name, f"{DAMAGED}/{os.path.basename(name)}")
        self._tree.sync_folder(DAMAGED)
        self._tree.sync_folder(os.path.dirname(name) or b".")

    def _folder(self, name: str) -> None:
        if name and self._tree.stat(name) is None:
            self._tree.make_folder(name)
            self._tree.sync_folder()

    def sweep(self) -> None:
        """No temporary file of a dead writer is left."""
        for folder in (".", *FOLDERS, LISTS):
            if self._tree.stat(folder) is not None:
                self._tree.sweep(folder)

    def forget(self, name: str) -> None:
        """The next read comes from the disk, as far as the kernel lets go of clean pages."""
        with self._tree.reading(name) as file:
            file.forget()

    @contextmanager
    def lock(self, *, shared: bool = False, within_s: float = 10.0) -> Iterator[None]:
        """One writer, or many readers, on this machine."""
        with self._tree.lock("lock", clock=self._host.clock, within_s=within_s, shared=shared):
            yield

    def close(self) -> None:
        """The folder is given back."""
        self._opened = {}
        self._tree.close()


@register("store", "folder")
class FolderStore(StoreKind):
    """`folder: {path: …}`: a folder of this machine, relative to the declaration.

    It may be the mount of another one's disk; the folder above it has to be there.
    """

    path: str

    def place(self, host: Host, *, base: str, make: bool = False) -> Place:
        """The folder, opened; with `make` it comes into being where the one above it is."""
        path = self.address(base=base)
        above, name = os.path.split(path)
        if not os.path.lexists(path):
            if not make or not os.path.isdir(above):
                raise HostUnreachable("there is no such folder", where=path,
                                      hint=f"mount it, or make it: mkdir -p -m 700 {path}")  # fmt: skip
            with host.tree(above) as tree:
                tree.make_folder(name)
                tree.sync_folder()
        return Folder(host.tree(path), host)

    def address(self, *, base: str) -> str:
        """The absolute path, its links resolved."""
        return os.path.realpath(os.path.join(base, self.path))
