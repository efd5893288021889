"""One SQLite database: copied while it is in use, restored to a side file, checked, swapped in.

What SQLite leaves beside a database (`-journal`, `-wal`, `-shm`) belongs to the old one and goes to
quarantine first. A database too damaged to be copied is captured byte by byte, and says so.

Hides: the copy, and how two databases are told apart.
Never: opens the live database for writing.
"""

from __future__ import annotations

import dataclasses
import os
import stat as stat_
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rollback.host import Tree, database
from rollback.host.below import show
from rollback.keep.capture import dressed, put_file, read_steadily
from rollback.keep.changes import Changes, Rows
from rollback.keep.content import Captured, Content, Rebuilt, Restore, Site
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest
from rollback.keep.plan import changes, tree_hash
from rollback.keep.transaction_log import Change as Logged
from rollback.keep.transaction_log import LeftOut
from rollback.keep.writer import finish, put_back
from rollback.model.component import TransactionLog
from rollback.model.errors import Confined, HostError, ObjectCorrupt, StoreError
from rollback.model.finding import Json
from rollback.model.registry import register

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
            with _copied(site) as (path, integrity, tables):
                with site.scratch.reading(path) as file:
                    stored = put_file(site.store, file, file.stat().st_size)
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
        found, first_out = self._compared(site, manifest)
        if not found:
            with how.quarantine() as quarantine:
                finish(site.root, site.at, quarantine, how.intent)
            return found

        def proof(entry: Entry, staged: str) -> None:
            _prove(staged, manifest)

        with how.quarantine() as quarantine:
            put_back(
                site.source(manifest), site.root, at=site.at, quarantine=quarantine,
                intent=how.intent, scope=site.scope, limits=how.limits, proof=proof,
                first_out=first_out,
            )  # fmt: skip
        return found

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now, with the rows that each table would gain or lose."""
        return self._compared(site, manifest, measured=True)[0]

    def items(self, site: Site, manifest: Manifest | None = None) -> dict[str, str]:
        """The digest of each row, by table and key."""
        if manifest is None:
            with _copied(site) as (path, _, _tables):
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

    def _compared(
        self, site: Site, manifest: Manifest, *, measured: bool = False
    ) -> tuple[Changes, tuple[bytes, ...]]:
        """The changes, and what lies beside the database and would leave with it.

        The bytes of a live database differ from its copy though it holds the same: what counts is
        a copy of it made now. `measured`: row by row, too.
        """
        first_out = _beside(site)
        source = site.source(manifest)
        plain = changes(source, site.root, at=site.at, scope=site.scope, first_out=first_out)
        if not plain or manifest.top is None or "raw" in manifest.meta:
            return plain, first_out
        entry = manifest.top
        rows: tuple[Rows, ...] = ()
        try:
            with _copied(site) as (path, _, tables):
                if tree_hash(site.scratch, path) == entry.sha256 and _same_dress(site, entry):
                    return Changes(site.at, unchanged=1), ()
                notes = _counts(tables, manifest)
                rows = _rows(site, path, tables, manifest) if measured else ()
        except HostError as error:
            notes = (f"the live database cannot be read: {error.message}",)
        notes = (*plain.notes, *notes)
        return Changes(plain.at, plain.changes, notes, plain.need_bytes, rows=rows), first_out


def _beside(site: Site) -> tuple[bytes, ...]:
    return tuple(
        site.at + end for end in database.BESIDE if site.root.stat(site.at + end) is not None
    )


@contextmanager
def _copied(site: Site) -> Iterator[tuple[bytes, str, dict[str, int]]]:
    """A copy of the live database: its name in `scratch`, and what SQLite says about it."""
    found = site.root.stat(site.at)
    if found is None or not stat_.S_ISREG(found.st_mode):
        raise HostError("there is no database", where=site.root.place(site.at))
    scratch = site.scratch
    _sweep(scratch)
    path = os.fsdecode(os.path.join(scratch.path, _COPY))
    live = os.fsdecode(os.path.join(site.root.path, site.at))
    try:
        database.copy(live, path, tap=site.host.tap)
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
            site.scratch.create(_LAID, site.source(manifest).read(manifest.top), sync=False)
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
