"""What a component's folders looked like to `stat` when their contents were last read and hashed.

A folder whose every name, inode, size, mode, owner and time is as it was has the tree that it had:
nothing in it is read again. A file that changed so shortly before it was looked at that a second
change could have kept its time is never believed (the racy entry of git).

The cache is disposable: damaged, of another root, scope or boot, it is no cache: a power loss can take
the bytes of a file that nobody synced and leave its size and times. It trusts
the change time that the kernel sets; whoever does not asks for `deep`.

Hides: the file in `cache/` of the state directory, and the packing of stat results.
Never: makes anything true that is not in the store too.
"""

from __future__ import annotations

import hashlib
import os
import stat as stat_
import struct
import zlib
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from rollback.host import Tree
from rollback.model.errors import HostError

MAGIC = b"RBSTAT1\n"
_NEVER = -1  # no change time of a live file
RACY_NS = 20_000_000  # two ticks of the slowest kernel clock (100 Hz)
_STAT = struct.Struct("<HIIIQQqqI")  # length of the name, mode, uid, gid, inode, size, times, links
_FRAME = struct.Struct("<I32sIQIQ")  # path, tree, trees below, entries, links, bytes
_TAIL = struct.Struct("<QQ32s8s")  # offset and length of the directory, key, magic
_PLACE = struct.Struct("<IQII")  # length of the path, offset, length, CRC
_BATCH_BYTES = 4 * 2**20
_FOLDER = b"cache"
_ENDING = b".stat"


@dataclass(frozen=True, slots=True)
class Frame:
    """One folder: the packed looks of its children, its tree, and the trees of its folders.

    `count`, `links` and `size_bytes` are of its direct children alone.
    """

    stats: bytes
    tree: bytes
    below: bytes
    count: int
    links: int
    size_bytes: int


def packed(children: Iterable[tuple[bytes, os.stat_result]], *, racy_from: int = 2**63) -> bytes:
    """The looks of what is in a folder. What changed at `racy_from` or later will match nothing."""
    pack = _STAT.pack
    parts = []
    for name, seen in children:
        mode, changed = seen.st_mode, seen.st_ctime_ns
        if changed >= racy_from:
            changed = _NEVER
        if mode & 0o170000 == stat_.S_IFDIR:
            size = links = 0
        else:
            size, links = seen.st_size, seen.st_nlink
        parts.append(pack(len(name), mode, seen.st_uid, seen.st_gid, seen.st_ino, size,
                          seen.st_mtime_ns, changed, links))  # fmt: skip
        parts.append(name)
    return b"".join(parts)


def looks(stats: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each name of a packed folder with its look."""
    at = 0
    while at < len(stats):
        length = int.from_bytes(stats[at : at + 2], "little")
        start = at + _STAT.size
        yield stats[start : start + length], stats[at:start]
        at = start + length


def alike(then: bytes, now: bytes) -> set[bytes]:
    """The names that look the same in two packed folders."""
    if len(then) == len(now):
        found, at = set(), 0
        while at < len(now):
            start = at + _STAT.size
            end = start + int.from_bytes(now[at : at + 2], "little")
            if now[start:end] != then[start:end]:
                break  # other names: their looks stand elsewhere
            if now[at:start] == then[at:start]:
                found.add(now[start:end])
            at = end
        else:
            return found
    before = dict(looks(then))
    return {name for name, look in looks(now) if before.get(name) == look}


class StatCache:
    """The cache of one component, as it was when it was opened. `key` says what it is about."""

    def __init__(self, state: Tree, component: str, key: bytes) -> None:
        self._state = state
        self._key = hashlib.sha256(key).digest()
        self._name = os.path.join(_FOLDER, os.fsencode(component) + _ENDING)
        self._places = _places(state, self._name, self._key)

    def __len__(self) -> int:
        return len(self._places)

    def doubt(self) -> None:
        """What was known is not believed; what is found now is kept as ever."""
        self._places.clear()

    def reload(self) -> None:
        """What was found last is what is known."""
        self._places = _places(self._state, self._name, self._key)

    def frames(self) -> Frames:
        """The frames, read in any order through one descriptor."""
        return Frames(self._state, self._name, self._places)

    def exchange(self, other: StatCache) -> None:
        """The two say of each other's folders what they said of their own."""
        aside = self._name + b".new"
        self._state.rename(self._name, aside)
        self._state.rename(other._name, self._name)
        self._state.rename(aside, other._name)
        self._places, other._places = other._places, self._places

    def fresh(self) -> Fresh:
        """The next cache, to be filled folder by folder; it takes the place of this one."""
        return Fresh(self._state, self._name, self._key)


def _places(state: Tree, name: bytes, wanted: bytes | None) -> dict[bytes, tuple[int, int, int]]:
    """Where each folder's frame lies in a cache; nothing of a damaged one, or of another key."""
    found: dict[bytes, tuple[int, int, int]] = {}
    with suppress(OSError, HostError, struct.error):
        end = state.size(name) - _TAIL.size
        start, length, key, magic = _TAIL.unpack(state.read_at(name, end, _TAIL.size))
        if magic != MAGIC or wanted not in (None, key) or start + length + 4 != end:
            return {}
        listed = state.read_at(name, start, length + 4)
        if zlib.crc32(listed[:-4]).to_bytes(4, "little") != listed[-4:]:
            return {}
        at = 0
        while at < length:
            size, offset, length_of_one, checksum = _PLACE.unpack_from(listed, at)
            at += _PLACE.size
            found[listed[at : at + size]] = (offset, length_of_one, checksum)
            at += size
    return found


def forget_unless(state: Tree, needed: Container[str]) -> None:
    """A cache whose topmost tree is not among what is needed is gone, with all it says.

    The frames below name trees and files of that tree: what it needs stays, and what only it
    needed may go, so a cache that outlived it would vouch for objects that are no more.
    """
    if state.stat(_FOLDER) is None:
        return
    for name in state.names(_FOLDER):
        if not name.endswith(_ENDING):
            continue
        path = os.path.join(_FOLDER, name)
        top = Frames(state, path, _places(state, path, None)).get(b".")
        if top is None or top.tree.hex() not in needed:
            state.unlink(path)
            state.sync_folder(_FOLDER)


class Frames:
    """Reads frames; use it in `with`."""

    def __init__(self, state: Tree, name: bytes, places: dict[bytes, tuple[int, int, int]]) -> None:
        self._state, self._name, self._places = state, name, places
        self._window = (0, b"")

    def get(self, path: bytes) -> Frame | None:
        """What is known of the folder at `path`; None when nothing is, or it is damaged."""
        place = self._places.get(path)
        if place is None:
            return None
        offset, length, checksum = place
        data = self._bytes(offset, length)
        if len(data) != length or zlib.crc32(data) != checksum:
            return None
        size, tree, below, count, links, size_bytes = _FRAME.unpack_from(data)
        at = _FRAME.size
        if data[at : at + size] != path:
            return None
        at += size
        return Frame(data[at + below :], tree, data[at : at + below], count, links, size_bytes)

    def _bytes(self, offset: int, length: int) -> bytes:
        """Read ahead: the folders come in nearly the order in which they lie in the file."""
        start, held = self._window
        if not (start <= offset and offset + length <= start + len(held)):
            with suppress(OSError, HostError):
                held = self._state.read_at(self._name, offset, max(length, _BATCH_BYTES))
                start = offset
                self._window = (start, held)
        return held[offset - start : offset - start + length]


class Fresh:
    """A cache being written beside the one in use. Where it cannot be written, there is none."""

    def __init__(self, state: Tree, name: bytes, key: bytes) -> None:
        self._state, self._name, self._key = state, name, key
        self._temporary = name + b".new"
        self._listed: list[bytes] = []
        self._held = bytearray()
        self._offset = 0
        self._begun = False
        self._failed = False

    def add(self, path: bytes, frame: Frame) -> None:
        """The folder is in the cache."""
        data = b"".join((
            _FRAME.pack(len(path), frame.tree, len(frame.below), frame.count, frame.links,
                        frame.size_bytes),
            path, frame.below, frame.stats,
        ))  # fmt: skip
        place = _PLACE.pack(len(path), self._offset, len(data), zlib.crc32(data))
        self._listed.append(place + path)
        self._held += data
        self._offset += len(data)
        if len(self._held) > _BATCH_BYTES:
            self._spill()

    def _spill(self) -> None:
        try:
            self._write()
        except (OSError, HostError):
            self._failed = True
        self._held.clear()

    def _write(self) -> None:
        if self._failed:
            return
        if not self._begun:
            if self._state.stat(_FOLDER) is None:
                self._state.make_folder(_FOLDER)
            if self._state.stat(self._temporary) is not None:
                self._state.unlink(self._temporary)
            self._begun = True
        self._state.append(self._temporary, bytes(self._held), sync=False)

    def commit(self) -> bool:
        """True when the new cache is the cache. Not synced: after a power loss it may be none."""
        listed = b"".join(self._listed)
        self._held += listed + zlib.crc32(listed).to_bytes(4, "little")
        self._held += _TAIL.pack(self._offset, len(listed), self._key, MAGIC)
        self._spill()
        if not self._failed:
            with suppress(OSError, HostError):
                self._state.rename(self._temporary, self._name)
                return True
        return False
