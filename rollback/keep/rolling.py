"""The store read again bit by bit, a slice at each call, over and over: what rots is found in time.

Every byte of every pack is looked at once a round: its header and index, and of each object the
header before it and the hash of what it becomes. Where a call ended is remembered.

Hides: how a pack is read in pieces, and where the last slice ended.
Never: repairs; holds up a writer; takes an error of the disk for a good object.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.keep import damage
from rollback.keep.damage import FOLDER, Damage
from rollback.keep.pack import HEADER, INDEX, RECORD, Location, opened, read_index, record_header
from rollback.keep.store import Store
from rollback.model.errors import HostError, ObjectCorrupt, RunLocked
from rollback.model.event import canonical

_FILE = f"{FOLDER}/slice.json"
_PART_BYTES = 4 * 2**20


@dataclass
class Slice:
    """What one call looked at. `new` was not known before; `rounds` have been ended since ever.

    `busy`: somebody writes to the store, and nothing was looked at. Units: `size_bytes` stored.
    """

    size_bytes: int = 0
    objects: int = 0
    rounds: int = 0
    busy: bool = False
    new: tuple[Damage, ...] = ()
    damaged: tuple[Damage, ...] = ()


@dataclass
class _At:
    """Where the last slice ended: in which pack, behind which byte."""

    pack: str = ""
    offset: int = 0
    rounds: int = 0


@dataclass
class _Work:
    """One slice under way: how much is left of it, what was looked at, what was bad."""

    store: Store
    left: int
    now: str
    looked: set[tuple[str, str]] = field(default_factory=set)
    found: list[Damage] = field(default_factory=list)
    objects: int = 0
    size_bytes: int = 0

    def take(self, size_bytes: int) -> None:
        """So much more was read."""
        self.size_bytes += size_bytes
        self.left -= size_bytes

    def note(self, pack: str, identity: str, why: str) -> None:
        """This is bad."""
        self.looked.add((pack, identity))
        self.found.append(Damage(pack, identity, why, self.now))


def verify_slice(store: Store, state: Tree, host: Host, size_bytes: int) -> Slice:
    """The next `size_bytes` of the store, at least one object, were read and hashed just now.

    A slice ends where a round does, and never waits for a writer. Effects: what was found is written
    down. Raises: StoreError, OSError.
    """
    try:
        with store.place.lock(shared=True, within_s=0.0):
            store.refresh()
            return _sliced(store, state, host, size_bytes)
    except RunLocked:
        return Slice(busy=True, rounds=_read(state).rounds,
                     damaged=damage.standing(state, store))  # fmt: skip


def _sliced(store: Store, state: Tree, host: Host, size_bytes: int) -> Slice:
    known = {one.key: one for one in damage.standing(state, store)}
    at = _read(state)
    work = _Work(store, max(1, size_bytes), iso(host.clock.now()))
    for pack, why in store.damaged.items():
        work.note(pack, "", why)
    names = sorted(store.usable)
    rest = names[bisect_left(names, at.pack) :] or names
    start = at.offset if rest[:1] == [at.pack] else 0
    for name, following in zip(rest, [*rest[1:], ""], strict=False):
        at.pack, at.offset = name, _pack(work, name, start)
        start = 0
        if not at.offset:  # to its end
            at.pack = following
        if work.left <= 0:
            break
    at.rounds += bool(names) and not at.pack
    after = {key: one for key, one in known.items() if key not in work.looked}
    after |= {one.key: known.get(one.key, one) for one in work.found}
    if after != known:
        damage.keep(state, after.values())
    if names:
        _keep(state, at)
    new = tuple(one for one in work.found if one.key not in known)
    return Slice(work.size_bytes, work.objects, at.rounds, new=new, damaged=tuple(after.values()))


def _pack(work: _Work, name: str, start: int) -> int:
    """The pack was read from behind `start`, its index first; where that ended, 0 at its end."""
    path = f"packs/{name}.pack"
    place = work.store.place
    try:
        size = place.size(path)
        if not start:
            place.forget(path)
        listed = read_index(name, size, lambda offset, count: place.read(path, offset, count))
    except (OSError, ObjectCorrupt) as error:
        work.note(name, "", str(error))
        return 0
    work.looked.add((name, ""))
    if not start:
        work.take(len(HEADER) + len(listed))
    places = sorted(
        (offset, raw.hex(), Location(name, offset, length, stored, codec))
        for raw, offset, length, stored, codec, _ in INDEX.iter_unpack(listed)
        if offset > start
    )
    done = 0
    for piece in _grouped(places, work):
        _look(work, path, piece)
        done += len(piece)
        if work.left <= 0 and done < len(places):
            return piece[-1][0]
    return 0


Placed = tuple[int, str, Location]


def _grouped(places: list[Placed], work: _Work) -> Iterator[list[Placed]]:
    """Neighbours that one read brings: a few megabytes, and no more than what is left of the slice."""
    group: list[Placed] = []
    size = 0
    for one in places:
        if group and size >= min(_PART_BYTES, work.left):
            yield group
            group, size = [], 0
        group.append(one)
        size += RECORD.size + one[2].stored
    if group:
        yield group


def _look(work: _Work, path: str, piece: list[Placed]) -> None:
    """Every object of the piece is read and hashed; the bad ones are noted."""
    first, last = piece[0][2], piece[-1][2]
    begin = first.offset - RECORD.size
    try:
        data = work.store.place.read(path, begin, last.offset + last.stored - begin)
    except OSError:
        data = b""  # one by one: the medium may give back some of them
    for offset, identity, location in piece:
        at = offset - RECORD.size - begin
        why = _wrong(
            work.store, path, identity, location, data[at : at + RECORD.size + location.stored]
        )
        work.looked.add((location.pack, identity))
        work.objects += 1
        work.take(RECORD.size + location.stored)
        if why:
            work.note(location.pack, identity, why)


def _wrong(store: Store, path: str, identity: str, location: Location, record: bytes) -> str:
    """Why the object is not what its id says; "" when it is."""
    try:
        if not record:
            record = store.place.read(
                path, location.offset - RECORD.size, RECORD.size + location.stored
            )
        if record[: RECORD.size] != record_header(identity, location):
            return "its header has changed"
        opened(record[RECORD.size :], location, identity)
    except (OSError, ObjectCorrupt) as error:
        return str(error)
    return ""


def _read(state: Tree) -> _At:
    with suppress(OSError, HostError, ValueError, TypeError, KeyError):
        found = json.loads(state.read(_FILE))
        return _At(str(found["pack"]), int(found["offset"]), int(found["rounds"]))
    return _At()


def _keep(state: Tree, at: _At) -> None:
    if state.stat(FOLDER) is None:
        state.make_folder(FOLDER)
    state.write(_FILE, canonical({"pack": at.pack, "offset": at.offset, "rounds": at.rounds}),
                sync=False)  # fmt: skip


__all__ = ["Slice", "verify_slice"]
