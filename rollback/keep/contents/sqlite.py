"""One SQLite database: copied while it is in use, restored to a side file, checked, swapped in.

It is swapped while nobody has it open, under the lock that SQLite itself takes. The old one stays in
quarantine under a dated name; what SQLite leaves beside a database (`-journal`, `-wal`, `-shm`)
belongs to it and goes there first, under the same name. A database too damaged to be copied is
captured byte by byte, and says so.

Hides: the copy, and how two databases are told apart.
Never: writes into the live database; swaps it under somebody who has it open.
"""

from __future__ import annotations

import dataclasses
import os
import stat as stat_
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rollback.host import Tree, database
from rollback.host.below import show
from rollback.host.claim import Claim, claimed, users
from rollback.keep.capture import dressed, put_file, read_steadily
from rollback.keep.changes import Changes, Rows
from rollback.keep.comparing import changes, tree_hash
from rollback.keep.content import Captured, Content, Rebuilt, Restore, Site
from rollback.keep.entry import Entry, Source
from rollback.keep.manifest import Manifest
from rollback.keep.progress import counted
from rollback.keep.transaction_log import Change as Logged
from rollback.keep.transaction_log import LeftOut
from rollback.keep.writer import Proof, finish, put_back
from rollback.model.component import TransactionLog
from rollback.model.errors import Confined, HostError, ObjectCorrupt, StoreError
from rollback.model.finding import Json
from rollback.model.registry import register

DRAIN_S = 10.0  # as long as clients of other databases have
COPY_S = 60.0  # for a moment in which it can be read
_COPY = b"sqlite-copy.db"
_LAID = b"sqlite-laid.db"
ROWS_BYTES_MAX = 2**28  # of a database whose rows are told apart one by one


@register("content", "sqlite")
class Sqlite(Content):
    """`content: sqlite`."""

    def capture(self, site: Site) -> Captured:
        """One consistent moment of the database is put into the store, with its row counts."""
        found = site.root.stat(site.at)
        if found is None:
            return Captured(Manifest(site.component, site.content, None, {"absent": True}))
        if not stat_.S_ISREG(found.st_mode):
            raise Confined("a database is one regular file", where=site.root.place(site.at))
        meta: dict[str, Json] = {}
        missing: tuple[str, ...] = ()
        try:
            with _copied(site, COPY_S) as (path, integrity, tables):
                with site.scratch.reading(path) as file:
                    stored = put_file(site.store, file, file.stat().st_size, site.progress,
                                      f"keeping {site.component}")  # fmt: skip
                meta["integrity"] = integrity
                meta["tables"] = dict(tables)
        except HostError as error:
            meta = {"raw": error.message}
            read = read_steadily(site, site.at)
            if read is None:
                return Captured(Manifest(site.component, site.content, None, meta), (
                    f"{site.component}: {show(site.at)}: {error.message}; it changed while its "
                    "bytes were read",))  # fmt: skip
            stored = read[0]
            beside = [show(path) for path in _beside(site)]
            if beside:
                missing = tuple(f"{site.component}: {path}: not captured with a database that "
                                "cannot be copied" for path in beside)  # fmt: skip
        entry = Entry(b".", "file", size=stored.size, sha256=stored.sha256, blocks=stored.blocks)
        return Captured(
            Manifest.of_file(site.component, site.content, dressed(entry, found), meta), missing
        )

    def restore(self, site: Site, manifest: Manifest, how: Restore) -> Changes:
        """The database is what was captured, proved before it was swapped in."""
        found = self._compared(site, manifest)
        if not found:
            with how.quarantine() as quarantine:
                if not _split(quarantine, how):
                    finish(site.root, site.at, quarantine, how.intent)
                    return found

        def proof(entry: Entry, staged: str) -> None:
            _prove(staged, manifest)

        done = self._swap(site, site.source(manifest), how, proof)
        return dataclasses.replace(found, kept=done.kept, notes=(*found.notes, *done.notes))

    def replace(self, site: Site, made: Rebuilt, how: Restore) -> Changes:
        """As for any component, while nobody has the database open."""
        return self._swap(site, made.source, how, None)

    def _swap(self, site: Site, source: Source, how: Restore, proof: Proof | None) -> Changes:
        """The database is what the source holds; the old one is whole in quarantine."""
        with _claimed(site) as claim, how.quarantine() as quarantine:
            done = put_back(
                source, site.root, at=site.at, quarantine=quarantine, intent=how.intent,
                scope=site.scope, limits=how.limits, proof=proof, first_out=_beside(site),
                kept_as=_kept_as(site, how),
            )  # fmt: skip
            late = tuple(f"{who} opened the old database meanwhile and has it still: restart that"
                         for who in (claim.others() if claim else ()))  # fmt: skip
        return dataclasses.replace(done, notes=(*done.notes, *late))

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now, with the rows that each table would gain or lose."""
        return self._compared(site, manifest, measured=True)

    def users(self, root: Tree, at: bytes) -> tuple[tuple[int, str], ...]:
        """Who has the database open."""
        return users(root, at, [at + end for end in database.BESIDE])

    def items(self, site: Site, manifest: Manifest | None = None) -> dict[str, str]:
        """The digest of each row, by table and key."""
        if manifest is None:
            with _copied(site, COPY_S) as (path, _, _tables):
                return database.items(os.fsdecode(os.path.join(site.scratch.path, path)))
        with _laid_out(site, manifest) as file:
            return database.items(file)

    @contextmanager
    def rebuilt(
        self, site: Site, base: Manifest | None, changes: tuple[Logged, ...], log: TransactionLog
    ) -> Iterator[Rebuilt]:
        """The database that the log leaves; its keys are those of rows, its values their columns."""
        with _laid_out(site, base) as file:
            refused = database.change(file, [
                (one.table, one.key, one.value if not one.gone else None, one.gone)
                for one in changes], column=log.column, tap=site.host.tap)  # fmt: skip
            verdict = database.integrity(file)
            if verdict != "ok":
                raise HostError(f"what the log leaves is no sound database: {verdict}",
                                where=site.component)  # fmt: skip
            left = tuple(LeftOut(changes[at].line, why, changes[at].text) for at, why in refused)
            source = _OneFile(site, base)
            yield Rebuilt(source, database.items(file), left, _beside(site))

    def _compared(self, site: Site, manifest: Manifest, *, measured: bool = False) -> Changes:
        """What differs from a copy made now; `measured`: row by row, too.

        The bytes of a live database differ from its copy though it holds the same.
        """
        first_out = _beside(site)
        source = site.source(manifest)
        plain = changes(source, site.root, at=site.at, scope=site.scope, first_out=first_out)
        if not plain or manifest.top is None or "raw" in manifest.meta:
            return plain
        entry = manifest.top
        rows: tuple[Rows, ...] = ()
        try:
            with _copied(site, DRAIN_S) as (path, _, tables):
                if tree_hash(site.scratch, path) == entry.sha256 and _same_dress(site, entry):
                    return Changes(site.at, unchanged=1)
                notes = _counts(tables, manifest)
                rows = _rows(site, path, tables, manifest) if measured else ()
        except HostError as error:
            notes = (f"the live database cannot be read: {error.message}",)
        notes = (*plain.notes, *notes)
        return Changes(plain.at, plain.changes, notes, plain.need_bytes, rows=rows)


def _beside(site: Site) -> tuple[bytes, ...]:
    return tuple(
        site.at + end for end in database.BESIDE if site.root.stat(site.at + end) is not None
    )


@contextmanager
def _claimed(site: Site) -> Iterator[Claim | None]:
    """Nobody has the live database open or uses it. Raises: HostError when somebody stays."""
    found = site.root.stat(site.at)
    if found is None or not stat_.S_ISREG(found.st_mode):
        yield None  # nothing is there that somebody could have open
        return
    users = ", ".join(site.users)
    hint = (f"stop or drain {users} first: rollback run stop, or a step before this one" if users
            else "stop what uses it, then try again")  # fmt: skip
    beside = [site.at + end for end in database.BESIDE]
    with claimed(
        site.root, site.at, beside, hint=hint, clock=site.host.clock, within_s=DRAIN_S
    ) as one:
        yield one


def _split(quarantine: Tree, how: Restore) -> bool:
    """True when an attempt died between what lay beside the old database and the database itself."""
    chosen = how.intent.about().get("kept_as")
    if not isinstance(chosen, str):
        return False
    old = b"kept/" + os.fsencode(chosen)
    there = [end for end in (b"", *database.BESIDE) if quarantine.stat(old + end) is not None]
    return bool(there) and b"" not in there


def _kept_as(site: Site, how: Restore) -> bytes:
    """The dated name of the old database, as an attempt that died chose it."""
    chosen = how.intent.about().get("kept_as")
    if isinstance(chosen, str):
        return os.fsencode(chosen)
    moment = site.host.clock.now()
    return os.path.basename(site.at) + f"_old_{moment:%Y%m%d_%H%M%S}".encode()


@contextmanager
def _copied(site: Site, within_s: float) -> Iterator[tuple[bytes, str, dict[str, int]]]:
    """A copy of the live database: its name in `scratch`, and what SQLite says about it."""
    found = site.root.stat(site.at)
    if found is None or not stat_.S_ISREG(found.st_mode):
        raise HostError("there is no database", where=site.root.place(site.at))
    scratch = site.scratch
    _sweep(scratch)
    path = os.fsdecode(os.path.join(scratch.path, _COPY))
    live = os.fsdecode(os.path.join(site.root.path, site.at))
    try:
        told = site.progress
        database.copy(live, path, timeout_s=within_s, tap=site.host.tap, heard=(
            lambda done, total: told(f"copying {site.component}", done, total, "bytes")), waits=(
            lambda waited_s: told(f"waiting: {site.component} is locked",
                                  int(waited_s), int(within_s), "s")))  # fmt: skip
        integrity = database.integrity(path)
        yield _COPY, integrity, database.tables(path) if integrity == "ok" else {}
    finally:
        _sweep(scratch)


@contextmanager
def _laid_out(site: Site, manifest: Manifest | None) -> Iterator[str]:
    """The path in scratch of the captured database; of an empty one where nothing was captured."""
    _sweep(site.scratch, _LAID)
    try:
        if manifest is not None and manifest.top is not None:
            chunks = site.source(manifest).read(manifest.top)
            what = f"laying out {site.component}"
            told = counted(chunks, site.progress, what, manifest.top.size)
            site.scratch.create(_LAID, told, sync=False)
        yield os.fsdecode(os.path.join(site.scratch.path, _LAID))
    finally:
        _sweep(site.scratch, _LAID)


class _OneFile:
    """The copy in scratch as a source; dressed as the live database, else as the captured one."""

    def __init__(self, site: Site, base: Manifest | None) -> None:
        self._scratch = site.scratch
        found = site.root.stat(site.at)
        with site.scratch.reading(_LAID) as file:
            size = file.stat().st_size
        entry = Entry(b".", "file", size=size, sha256=tree_hash(site.scratch, _LAID))
        if found is not None and stat_.S_ISREG(found.st_mode):
            entry = dataclasses.replace(dressed(entry, found), mtime_ns=None)
        elif base is not None and base.top is not None:
            entry = dataclasses.replace(entry, mode=base.top.mode, uid=base.top.uid,
                                        gid=base.top.gid)  # fmt: skip
        self._entry = entry

    def entries(self) -> tuple[Entry, ...]:
        """The database."""
        return (self._entry,)

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Its bytes."""
        with self._scratch.reading(_LAID) as file:
            yield from file.chunks(entry.size)


def _same_dress(site: Site, entry: Entry) -> bool:
    found = site.root.stat(site.at)
    return found is not None and (stat_.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (
        entry.mode, entry.uid, entry.gid)  # fmt: skip


def _sweep(scratch: Tree, base: bytes = _COPY) -> None:
    for name in scratch.names():
        if name.startswith(base):
            scratch.unlink(name)


def _prove(staged: str, manifest: Manifest) -> None:
    """The staged database is sound and holds the rows that were counted."""
    if manifest.meta.get("integrity") != "ok":
        return  # it was damaged when it was captured, and goes back as it was
    verdict = database.integrity(staged)
    if verdict != "ok":
        raise ObjectCorrupt(f"the stored database is damaged: {verdict}", where=manifest.component)
    tables = database.tables(staged)
    if tables != manifest.meta.get("tables"):
        raise ObjectCorrupt("the stored database holds other rows than were counted",
                            where=manifest.component)  # fmt: skip


def _counts(tables: dict[str, int], manifest: Manifest) -> tuple[str, ...]:
    held = manifest.meta.get("tables")
    if not isinstance(held, dict):
        return ()
    names = sorted({*tables, *held})
    return tuple(f"table {name}: {tables.get(name, 'none')} rows now, {held.get(name, 'none')} then"
                 for name in names if tables.get(name) != held.get(name))  # fmt: skip


def _rows(site: Site, copy: bytes, tables: dict[str, int], manifest: Manifest) -> tuple[Rows, ...]:
    """The tables that differ; what cannot be told row by row, or is too large for it, in numbers."""
    held = manifest.meta.get("tables")
    then = {n: c for n, c in held.items() if isinstance(c, int)} if isinstance(held, dict) else {}
    known: dict[str, tuple[int, int]] = {}
    if manifest.top is not None and manifest.top.size <= ROWS_BYTES_MAX:
        with suppress(HostError, StoreError, OSError), _laid_out(site, manifest) as laid:
            known = database.differing(os.fsdecode(os.path.join(site.scratch.path, copy)), laid)
    found = []
    for name in sorted({*tables, *then}):
        lost, back = known.get(name, (None, None))
        if name not in then:
            lost, back = tables[name], 0
        elif name not in tables:
            lost, back = 0, then[name]
        if lost or back or tables.get(name) != then.get(name):
            found.append(Rows(name, tables.get(name), then.get(name), lost, back))
    return tuple(found)
