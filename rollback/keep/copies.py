"""Copies of checkpoints in further places: made, looked at, proved, fetched back.

A copy is made after the checkpoint exists here, and its failing changes nothing here: it is said,
and made good by the next one. Packs go first, whole, and are read back and hashed where they lie;
then the list of packs; the commit record last. Killed before that, a copy leaves packs that the
next one finds there.

Hides: which kinds go where, notes, places.
Never: holds the store's lock while something is copied: packs do not change, and may be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.keep import reference, revoked
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.checkpoint_record import Checkpoint, read
from rollback.keep.checkpoint_verify import Reach
from rollback.keep.copy_notes import FOLDER, CopyNotes, Seen
from rollback.keep.copy_place import CopyPlace, Listed
from rollback.keep.manifest import decode
from rollback.keep.place import StoreKind
from rollback.keep.store import Store
from rollback.model.errors import (
    HostError,
    HostUnreachable,
    ObjectCorrupt,
    ObjectMissing,
    Refused,
    RollbackError,
    StoreError,
    UsageError,
)
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import nearest
from rollback.model.system import System

_ON = {"manual": "manual", "safety": "rollback"}  # kinds that we make, and how they are declared


@dataclass(frozen=True)
class Wanted:
    """In how many places a checkpoint has to be, this one included, and which the others are."""

    copies: int
    stores: tuple[str, ...]


@dataclass(frozen=True)
class Copied:
    """What became of one place: what was copied there now, or why something is not there."""

    store: str
    checkpoints: tuple[str, ...] = ()
    packs: int = 0
    size_bytes: int = 0
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Standing:
    """Where a checkpoint is whole: `there` of `needed` places; `missing` are the others by name."""

    there: int
    needed: int
    missing: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """True when it is in as many places as it has to be, and in each that is named for it."""
        return self.there >= self.needed and not self.missing

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"there": self.there, "needed": self.needed, "missing": list[Json](self.missing)}


class Copies:
    """The further places of one system's checkpoints."""

    def __init__(self, system: System, host: Host, state: Tree, kept: Checkpoints) -> None:
        declared = getattr(system, "checkpoints", None)
        self._system = system
        self._host = host
        self._state = state
        self._kept = kept
        self._kinds: Mapping[str, Any] = getattr(declared, "kinds", {})
        self._stores: Mapping[str, Any] = getattr(declared, "stores", {})
        self.notes = CopyNotes(state, host)
        self._base = str(system.declaration.parent) if self._stores else ""

    # -- what has to be where --------------------------------------------------------------

    @property
    def declared(self) -> tuple[str, ...]:
        """The further places, by name."""
        return tuple(self._stores)

    def wanted(self, kind: str) -> Wanted:
        """Where checkpoints of a kind go; one that is not declared goes everywhere."""
        found = self._kinds.get(kind)
        if found is None:
            on = _ON.get(kind, kind)
            found = next((one for one in self._kinds.values() if one.on == on), None)
        if found is None:
            return Wanted(1 + len(self._stores), self.declared)
        return Wanted(found.copies, tuple(one for one in found.stores if one in self._stores))

    def standing(self, found: Iterable[Checkpoint]) -> tuple[dict[str, Standing], dict[str, str]]:
        """How each checkpoint stands, and which places could not be looked at, with the reason.

        Places of this machine are looked at; of the others it is what was last seen there.
        """
        whole: dict[str, frozenset[str]] = {}
        problems: dict[str, str] = {}
        for name, declared in self._stores.items():
            try:
                whole[name] = self._whole(name, declared)
            except (RollbackError, OSError) as error:
                problems[name] = told(error)
        standings = {}
        for one in found:
            wanted = self.wanted(one.kind)
            there = [name for name in wanted.stores if one.id in whole.get(name, ())]
            standings[one.id] = Standing(
                (not one.problems and one.state != "damaged") + len(there), wanted.copies,
                tuple(name for name in wanted.stores if name not in there),
            )  # fmt: skip
        return standings, problems

    def _whole(self, name: str, declared: StoreKind) -> frozenset[str]:
        if declared.remote:
            return frozenset(self.notes.seen(name, declared.address(base=self._base)).whole)
        with self.open(name) as place:
            return frozenset(one for one in place.records if not place.lacks(one))

    def hold(self) -> dict[str, int | None]:
        """How many checkpoints of this system lie in each further place; None: nobody looked yet.

        Places of this machine are looked at; of the others it is what was last seen there. One
        that cannot be looked at is not among them.
        """
        found: dict[str, int | None] = {}
        for name, declared in self._stores.items():
            with suppress(RollbackError, OSError):
                if declared.remote:
                    found[name] = len(self._whole(name, declared)) or None
                    continue
                with self.open(name) as place:
                    found[name] = sum(self._ours(place, one) for one in place.records)
        return found

    def ready(self, name: str) -> str:
        """Copies could be made there from here, for all that is known without asking anybody; how.

        Raises: HostUnreachable, HostError, UsageError, OSError.
        """
        declared = self._stores[name]
        if not isinstance(declared, StoreKind):
            raise HostUnreachable("this kind of store is not built yet", where=name)
        where = declared.address(base=self._base)
        if declared.key:
            reference.key(declared.key, base=self._base)
        new = not declared.remote and not self.notes.seen(name, where).whole
        if new and not os.path.lexists(where) and os.path.isdir(os.path.dirname(where)):
            return f"{where} comes into being with the first copy"
        declared.place(self._host, base=self._base).close()
        return f"{where}{', which was not asked' if declared.remote else ''}"

    def _ours(self, place: CopyPlace, identity: str) -> bool:
        try:
            return place.listed(identity).system == self._system.system.id
        except (StoreError, OSError):
            return False

    def open(self, name: str, *, writing: bool = False, adopt: bool = False) -> CopyPlace:
        """The place, opened, for copies of ours. Raises: as `CopyPlace.open`."""
        declared = self._stores[name]
        if not isinstance(declared, StoreKind):
            raise HostUnreachable("this kind of store is not built yet", where=name)
        address = declared.address(base=self._base)
        own = os.path.realpath(self._state.path)
        if not declared.remote and os.path.commonpath((own, os.fsencode(address))) == own:
            raise StoreError("this place lies in the state directory: that is no other place",
                             where=address, hint="write a folder on another disk")  # fmt: skip
        seen = self.notes.seen(name, address)
        return CopyPlace.open(
            declared, self._host, base=self._base, held=bool(seen.whole), adopt=adopt,
            writer=self.notes.writer() if writing else "",
        )  # fmt: skip

    def named(self, stores: Iterable[str]) -> tuple[str, ...]:
        """These places, or all. Raises: UsageError where one is not declared."""
        chosen = tuple(stores)
        for name in chosen:
            if name not in self._stores:
                declare = (
                    f"declare it: checkpoints: {{stores: {{{name}: {{folder: {{path: …}}}}}}}}"
                )
                raise UsageError(f"there is no store {name!r} under checkpoints.stores",
                                 hint=nearest(name, self.declared) or declare)  # fmt: skip
        return chosen or self.declared

    # -- making ----------------------------------------------------------------------------

    def make_good(
        self, stores: Iterable[str] = (), *, adopt: bool = False, within_s: float = 10.0
    ) -> tuple[Copied, ...]:
        """What has to be elsewhere and is not is copied there; what became of each place.

        Never raises for what a place does: that is its `problem`. Raises: RunLocked when another
        process is copying, UsageError.
        """
        chosen = self.named(stores)
        if not chosen:
            return ()
        self.notes.folder()
        with self._state.lock(f"{FOLDER}/lock", clock=self._host.clock, within_s=within_s):
            self._state.sweep(FOLDER)
            return tuple(self._to(name, adopt=adopt) for name in chosen)

    def _to(self, name: str, *, adopt: bool) -> Copied:
        made: list[str] = []
        tally = _Tally()
        bad: list[StoreError] = []
        try:
            wanted = [one for one in self._kept.list()
                      if one.state == "whole" and one.system == self._system.system.id
                      and name in self.wanted(one.kind).stores]  # fmt: skip
            self._private(name)
            with self.open(name, writing=True, adopt=adopt) as place, place.lock():
                place.place.sweep()
                place.look()
                self._drop_deleted(name, place)
                for one in wanted:
                    try:
                        if place.lacks(one.id):
                            self._copy(one, place, tally)
                            made.append(one.id)
                        revoked.copy(self._kept.store.place, place.place, one.id)
                        self._note(name, one.id)
                    except StoreError as error:  # this one cannot be copied; another may
                        bad.append(error)
                if bad:
                    raise bad[0]
        except (RollbackError, OSError) as error:
            hint = error.hint if isinstance(error, RollbackError) else ""
            return Copied(name, tuple(made), tally.packs, tally.size_bytes, told(error), hint)
        return Copied(name, tuple(made), tally.packs, tally.size_bytes)

    def _private(self, name: str) -> None:
        """Nothing of a sensitive component leaves this machine in clear. Raises: Refused."""
        declared = self._stores[name]
        secret = [one for one, component in self._system.components.items()
                  if getattr(component, "sensitive", False)]  # fmt: skip
        if secret and getattr(declared, "remote", False) and not declared.key:
            raise Refused("sensitive", f"component {secret[0]} may not leave this machine in clear",
                          where=f"checkpoints.stores.{name}",
                          hint="give this store a key: key: file:/etc/rollback/copy.key")  # fmt: skip

    def _copy(self, one: Checkpoint, place: CopyPlace, tally: _Tally) -> None:
        store = self._kept.store
        if one.problems:
            raise ObjectCorrupt(f"it is damaged here and was not copied: {one.problems[0]}",
                                where=one.id[:12], hint="rollback checkpoint verify --repair")  # fmt: skip
        sizes = store.place.sizes("packs")
        needed = {name: sizes[f"{name}.pack"] for name in self._needed(one)}
        lacking = sum(size for name, size in needed.items() if place.packs.get(name) != size)
        heard = place.listen(self._kept.progress, f"copying to {place.where}", 2 * lacking)
        for name, size in sorted(needed.items()):
            if place.packs.get(name) == size:
                continue
            if store.pack_digest(name) != name:
                raise ObjectCorrupt(
                    "this pack is damaged here; it was not copied", where=f"packs/{name}.pack",
                    hint="rollback checkpoint verify --repair",
                )  # fmt: skip
            place.add_pack(name, size, heard.through(_parts(store, f"packs/{name}.pack", size)))
            tally.packs += 1
            tally.size_bytes += size
        path = f"checkpoints/{one.id}.json"
        record = store.place.read(path, 0, store.place.size(path))
        read(one.id, record)
        place.add_record(one.id, Listed(one.system, needed), record)

    def _needed(self, one: Checkpoint) -> frozenset[str]:
        """The packs in which everything of the checkpoint lies. Raises: ObjectMissing."""
        store = self._kept.store
        reach = Reach(store)
        for part in one.parts.values():
            manifest = decode(store.get(part.manifest))
            if reach.missing(manifest) or not reach.need(part.manifest):
                raise ObjectMissing("something of it is not in the store", where=one.id[:12])
        return frozenset(reach.packs)

    def _drop_deleted(self, name: str, place: CopyPlace) -> None:
        gone = self.notes.deleted(name)
        if gone:
            place.drop(gone)
            self.notes.forget_deleted(name, gone)

    def _note(self, name: str, identity: str) -> None:
        """It was seen whole there just now."""
        seen = self._seen(name)
        if identity not in seen.whole:
            seen.whole[identity] = iso(self._host.clock.now())
            self.notes.keep(name, seen)

    def _seen(self, name: str) -> Seen:
        return self.notes.seen(name, self._stores[name].address(base=self._base))

    # -- proving ---------------------------------------------------------------------------

    def verify(
        self,
        found: Iterable[Checkpoint],
        stores: Iterable[str] = (),
        *,
        deep: bool = False,
        repair: bool = False,
    ) -> tuple[Finding, ...]:
        """A finding for each checkpoint and place it has to be in, after looking there.

        `deep`: every file of the copy was read whole and hashed. `repair`: what was found damaged
        there lies aside there; `make_good` copies it anew.
        """
        chosen = self.named(stores)
        wanted = [one for one in found if one.target]
        findings: list[Finding] = []
        for name in chosen:
            mine = [one for one in wanted if name in self.wanted(one.kind).stores]
            try:
                with self.open(name) as place, place.lock() if repair else nullcontext():
                    findings += self._proved(name, place, mine, deep=deep, repair=repair)
            except (RollbackError, OSError) as error:
                findings += [failed(f"{name}: {told(error)}", checkpoint=one.id, store=name)
                             for one in mine]  # fmt: skip
        return tuple(findings)

    def _proved(
        self, name: str, place: CopyPlace, wanted: list[Checkpoint], *, deep: bool, repair: bool
    ) -> Iterator[Finding]:
        known: dict[str, str] = {}  # why a file is damaged; "" when it is not
        seen = self._seen(name)
        if deep:
            place.listen(self._kept.progress, f"reading {name}", sum(place.packs.values()))
        for one in wanted:
            why = place.lacks(one.id)
            if not why and deep:
                for path in (*(f"packs/{pack}.pack" for pack in place.listed(one.id).packs),
                             f"checkpoints/{one.id}.json"):  # fmt: skip
                    if path not in known:
                        known[path] = place.damaged(path)
                        if known[path] and repair:
                            with suppress(FileNotFoundError):
                                place.place.set_aside(path)
                    why = why or known[path]
            if why:
                seen.whole.pop(one.id, None)
                yield failed(f"{name}: {why}", checkpoint=one.id, store=name)
            else:
                seen.whole[one.id] = iso(self._host.clock.now())
                count = counted(len(place.listed(one.id).packs), "pack")
                yield passed(f"{name}: {count} there{', read and hashed' if deep else ''}",
                             checkpoint=one.id, store=name)  # fmt: skip
        with suppress(OSError, HostError):  # whoever may only look leaves no note
            self.notes.keep(name, seen)

    # -- reading from there ----------------------------------------------------------------

    def sources(self) -> Iterator[tuple[str, CopyPlace | str]]:
        """Each further place, opened to be read while it is looked at; or why it cannot be."""
        for name in self._stores:
            try:
                with self.open(name) as place:
                    yield name, place
            except (RollbackError, OSError) as error:
                yield name, told(error)


@dataclass
class _Tally:
    packs: int = 0
    size_bytes: int = 0


def _parts(store: Store, path: str, size: int) -> Iterator[bytes]:
    part = 8 * 2**20
    return (store.place.read(path, at, part) for at in range(0, size, part))


def told(error: Exception) -> str:
    """What went wrong, with the place, in one line."""
    if isinstance(error, RollbackError):
        return str(error)
    assert isinstance(error, OSError)
    name = error.filename
    where = (
        f"{name if isinstance(name, str) else name.decode('utf-8', 'replace')}: " if name else ""
    )
    return f"{where}{error.strerror or error}"
