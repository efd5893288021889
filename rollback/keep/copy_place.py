"""One further place for checkpoints: what lies there, who may write there, what is whole there.

    packs/<sha256>.pack       the packs of the store, byte for byte
    lists/<id>.json           which packs the checkpoint needs; then its own SHA-256
    checkpoints/<id>.json     the commit record, written last: it is what makes a copy exist
    format, writer            what this place is, and whose
    damaged/                  what was found damaged there, never removed

Hides: the order in which a copy comes into being and goes.
Never: takes a place for ours that is another's, or that is empty though it held copies.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from rollback.host import Host
from rollback.host.bucket import PART_BYTES
from rollback.keep import reference, revoked
from rollback.keep.ciphered import Ciphered
from rollback.keep.format import FORMAT
from rollback.keep.place import Place, StoreKind
from rollback.keep.progress import SILENT, Progress, Tally
from rollback.model.errors import HostUnreachable, ObjectCorrupt, Refused, StoreError
from rollback.model.event import canonical

CIPHERED_FORMAT = b"rollback-copy 1 aes-256-gcm\n"
LISTS = "lists"
_FORMAT, _WRITER = "format", "writer"
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Listed:
    """Which packs a copied checkpoint needs, with their bytes, and of which system it is."""

    system: str
    packs: Mapping[str, int]

    def body(self, identity: str) -> bytes:
        """The file: canonical JSON, a newline, and the SHA-256 of the JSON."""
        told = canonical({
            "format": 1, "checkpoint": identity, "system": self.system, "packs": dict(self.packs),
        })  # fmt: skip
        return told + b"\n" + hashlib.sha256(told).hexdigest().encode("ascii")

    @classmethod
    def read(cls, identity: str, data: bytes) -> Listed:
        """What `body` wrote. Raises: ObjectCorrupt."""
        told, _, digest = data.rpartition(b"\n")
        where = f"{LISTS}/{identity}.json"
        if hashlib.sha256(told).hexdigest().encode("ascii") != digest:
            raise ObjectCorrupt("the list of packs is damaged", where=where)
        try:
            value = json.loads(told)
            found = cls(value["system"], {_pack(k): int(v) for k, v in value["packs"].items()})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ObjectCorrupt(
                f"the list of packs cannot be read: {error}", where=where
            ) from error
        if found.body(identity) != data:
            raise ObjectCorrupt("the list of packs is of another checkpoint", where=where)
        return found


@dataclass
class CopyPlace:
    """An opened place for copies, and what was found there. Close it, or use it in `with`."""

    place: Place
    where: str
    packs: dict[str, int] = field(default_factory=dict)  # bytes, by name without ending
    records: frozenset[str] = frozenset()
    heard: Tally = field(default_factory=lambda: Tally(SILENT, "", None))  # of what is read there
    _lists: dict[str, Listed] = field(default_factory=dict)

    @classmethod
    def open(
        cls, declared: StoreKind, host: Host, *, base: str, writer: str = "", held: bool = False,
        adopt: bool = False,
    ) -> CopyPlace:  # fmt: skip
        """The place, ready to be read; with `writer`, who is named so may write there.

        `held`: copies were made there before. `adopt`: that it is empty, or another's, is known.
        Raises: HostUnreachable, HostError, StoreError, Refused, OSError.
        """
        where = declared.address(base=base)
        begin = bool(writer) and (adopt or not held)
        plain = declared.place(host, base=base, make=begin)
        try:
            place: Place = plain
            if declared.key:
                place = Ciphered(plain, reference.key(declared.key, base=base), host)
            _known(plain, place, where, begin=begin)
            if writer and declared.claimed:
                _claim(place, writer, where, adopt=adopt)
            found = cls(place, where)
            found.look()
        except BaseException:
            plain.close()
            raise
        return found

    def __enter__(self) -> CopyPlace:
        return self

    def __exit__(self, *_: object) -> None:
        self.place.close()

    def listen(self, progress: Progress, what: str, total: int) -> Tally:
        """Whoever listens is told of every byte that is read there from now on; add others to it."""
        self.heard = Tally(progress, what, total)
        return self.heard

    def lock(self) -> AbstractContextManager[None]:
        """One writer at a time. Raises: RunLocked, Refused."""
        return self.place.lock()

    def look(self) -> None:
        """What is there is known, as it is now."""
        self._lists.clear()
        self.packs = {name.removesuffix(".pack"): size
                      for name, size in self.place.sizes("packs").items()}  # fmt: skip
        self.records = frozenset(
            name.removesuffix(".json")
            for name in self.place.names("checkpoints") if name.endswith(".json")
        )  # fmt: skip

    # -- what is there ---------------------------------------------------------------------

    def listed(self, identity: str) -> Listed:
        """Which packs the copy of this checkpoint needs. Raises: FileNotFoundError, ObjectCorrupt."""
        if identity not in self._lists:
            name = f"{LISTS}/{identity}.json"
            data = self.place.read(name, 0, self.place.size(name))
            self._lists[identity] = Listed.read(identity, data)
        return self._lists[identity]

    def lacks(self, identity: str) -> str:
        """Why there is no whole copy of this checkpoint, by names and sizes; "" when there is one."""
        if identity not in self.records:
            return "no copy"
        try:
            wanted = self.listed(identity).packs
        except (FileNotFoundError, ObjectCorrupt) as error:
            return (
                str(error) if isinstance(error, ObjectCorrupt) else "its list of packs is missing"
            )
        for name, size in wanted.items():
            if self.packs.get(name) != size:
                why = "is missing" if name not in self.packs else "has another length"
                return f"packs/{name}.pack {why}"
        return ""

    def damaged(self, name: str) -> str:
        """Why a file there is not what its name says, read whole; "" when it is."""
        try:
            self.place.forget(name)
            whole = hashlib.sha256()
            for part in self.parts(name):
                whole.update(part)
        except (OSError, ObjectCorrupt) as error:
            return str(error)
        named = os.path.basename(name).partition(".")[0]
        return "" if whole.hexdigest() == named else f"{name} does not match its name"

    def parts(self, name: str) -> Iterator[bytes]:
        """The bytes of a file there, in parts. Raises: FileNotFoundError, ObjectCorrupt."""
        size = self.place.size(name)
        for at in range(0, size, PART_BYTES):
            part = self.place.read(name, at, PART_BYTES)
            self.heard.add(len(part))
            yield part

    # -- changing it -----------------------------------------------------------------------

    def add_pack(self, name: str, size: int, parts: Iterator[bytes]) -> None:
        """The pack is there: copied whole, read back and hashed. Raises: ObjectCorrupt, OSError."""
        path = f"packs/{name}.pack"
        if name in self.packs:
            self.place.set_aside(path)  # of another length: it may still hold something
            del self.packs[name]
        self.place.create(path, parts)
        why = self.damaged(path)
        if why:
            self.place.set_aside(path)
            raise ObjectCorrupt(f"the copy is not what was copied: {why}", where=self.where,
                                hint="look at that place; then: rollback checkpoint copy")  # fmt: skip
        self.packs[name] = size

    def add_record(self, identity: str, listed: Listed, record: bytes) -> None:
        """The copy exists: its list of packs is there, then its commit record."""
        self.place.create(f"{LISTS}/{identity}.json", [listed.body(identity)])
        self.place.forget(f"{LISTS}/{identity}.json")
        self._lists.pop(identity, None)
        if self.listed(identity) != listed:
            raise ObjectCorrupt("the list of packs is not what was written", where=self.where)
        path = f"checkpoints/{identity}.json"
        self.place.create(path, [record])
        why = self.damaged(path)
        if why:
            self.place.set_aside(path)
            raise ObjectCorrupt(f"the copy is not what was copied: {why}", where=self.where)
        self.records |= {identity}

    def drop(self, identities: frozenset[str]) -> None:
        """These copies are gone, and of their packs those that no other copy there needs.

        While the list of any other copy cannot be read, no pack is removed.
        """
        gone: set[str] = set()
        for identity in sorted(identities):
            try:
                gone |= self.listed(identity).packs.keys()
            except (FileNotFoundError, ObjectCorrupt):
                pass  # what it needed is not known: that stays
            self.place.remove(f"checkpoints/{identity}.json")
            self.place.remove(f"{LISTS}/{identity}.json")
            revoked.forget(self.place, identity)
            self.records -= {identity}
            self._lists.pop(identity, None)
        try:
            for name in self.place.names(LISTS):
                gone -= self.listed(name.removesuffix(".json")).packs.keys()
        except (FileNotFoundError, ObjectCorrupt):
            return
        for name in sorted(gone & self.packs.keys()):
            self.place.remove(f"packs/{name}.pack")
            del self.packs[name]


def _pack(name: str) -> str:
    """The name, which becomes a path. Raises: ValueError when no pack is called so."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a pack")
    return name


def _known(plain: Place, place: Place, where: str, *, begin: bool) -> None:
    """The place is one for copies, in clear or encrypted as declared; `begin`: it becomes one."""
    wanted = FORMAT if place is plain else CIPHERED_FORMAT
    try:
        found = plain.read(_FORMAT, 0, plain.size(_FORMAT))
    except FileNotFoundError:
        if not begin:
            raise HostUnreachable(
                "no copy was ever made there, or it was emptied, or it is not mounted", where=where,
                hint="mount it; if it is new on purpose: rollback checkpoint copy --adopt STORE",
            ) from None  # fmt: skip
        if isinstance(place, Ciphered):
            place.prove_key(begin=True)
        plain.create(_FORMAT, [wanted])
        plain.forget(_FORMAT)
        if plain.read(_FORMAT, 0, plain.size(_FORMAT)) != wanted:
            raise StoreError("what is written there is not what lies there", where=where) from None
        return
    if found != wanted:
        told = "is encrypted" if found == CIPHERED_FORMAT else "is not encrypted"
        if found not in (FORMAT, CIPHERED_FORMAT):
            told = "has a format that this version does not know"
        raise StoreError(f"what lies there {told}", where=where,
                         hint="give this store a path or prefix of its own, or the key it needs")  # fmt: skip
    if isinstance(place, Ciphered):
        place.prove_key(begin=False)


def _claim(place: Place, writer: str, where: str, *, adopt: bool) -> None:
    """This writer's claim stands there. Raises: Refused where another's does."""
    mine = canonical({"host": os.uname().nodename, "writer": writer})
    try:
        found = place.read(_WRITER, 0, place.size(_WRITER))
    except FileNotFoundError:
        found = b""
    if found == mine:
        return
    if found and not adopt:
        try:
            host = str(json.loads(found)["host"])
        except (ValueError, KeyError, TypeError):
            host = "somebody"
        raise Refused(
            "writers: one", f"another state directory, on {host}, copies to this place", where=where,
            hint="give each a prefix of its own; if that one is gone: rollback checkpoint copy "
            "--adopt STORE",
        )  # fmt: skip
    place.create(_WRITER, [mine])
