"""One PostgreSQL database: dumped while it is in use, restored beside itself, proved, swapped in.

The swap is two renames in one transaction, after new connections are refused and the old ones have
ended. The old database stays on the server under a dated name. What is under way stands in the
intent; where it stands is asked of the server, by the numbers that databases keep when renamed.

Hides: the order of these steps, and how two databases are told apart.
Never: drops a database that holds anything but a restore of its own; writes into the live one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rollback.host.below import show
from rollback.host.postgres import Server, identifier, literal, one_moment
from rollback.keep.changes import Change, Changes, Rows
from rollback.keep.content import Captured, Content, Restore, Site
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest
from rollback.keep.postgres_tables import creation, described, figures, held, likeness
from rollback.keep.progress import counted
from rollback.model.errors import HostError, ObjectCorrupt, RollbackError
from rollback.model.event import canonical
from rollback.model.finding import Json
from rollback.model.registry import register

_DUMP = b"postgres.dump"
_NAME_BYTES_MAX = 40  # 63 in all, with what is added
_CLIENTS = """
select pid, coalesce(application_name, '') as who from pg_stat_activity
where datname = {name} and backend_type = 'client backend'"""
_END_CLIENTS = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = {name} and pid <> pg_backend_pid();"""
_FIGURES = ("tables", "schema")


@register("content", "postgres")
class Postgres(Content):
    """`content: postgres`, with `database:` saying which one and how it is reached."""

    def capture(self, site: Site) -> Captured:
        """One consistent moment of the database is in the store, with rows and checksums.

        A database that cannot be reached or read is missing in the checkpoint, and says why.
        """
        try:
            return self._captured(site)
        except HostError as error:
            lost = Manifest(site.component, site.content, None, {"refused": error.message})
            return Captured(lost, (f"{site.component}: .: {error}",))

    def _captured(self, site: Site) -> Captured:
        live = _server(site)
        found = described(_maintenance(site, live), live.database)
        if found is None:
            return Captured(Manifest(site.component, site.content, None, {"absent": True}))
        if not found["open"]:
            raise HostError("it refuses connections", where=live.where)
        with _emptied(site) as path, one_moment(live) as (session, moment):
            meta = {**figures(live, session, moment), "like": _like(found)}
            live.dump(path, moment=moment, heard=lambda done: site.progress(
                f"dumping {site.component}", done, None, "bytes"))  # fmt: skip
            with site.scratch.reading(_DUMP) as file:
                size = file.stat().st_size
                stored = site.store.put_stream(
                    counted(file.chunks(size), site.progress, f"keeping {site.component}", size)
                )
        entry = Entry(b".", "file", mode=0o600, size=stored.size, sha256=stored.sha256,
                      blocks=stored.blocks)  # fmt: skip
        return Captured(Manifest.of_file(site.component, site.content, entry, meta))

    def restore(self, site: Site, manifest: Manifest, how: Restore) -> Changes:
        """The database holds what was captured, proved before it was swapped in; the old one is kept."""
        swap = _Swap(site, manifest, how)
        changes = self.compare(site, manifest)
        if not changes and not swap.side_proved:
            swap.finish()
            return changes
        swap.carry_out()
        kept = (f"postgres:{swap.intent['old']}",) if swap.intent["live_oid"] else ()
        return replace(changes, kept=kept)

    def compare(self, site: Site, manifest: Manifest) -> Changes:
        """What `restore` would change now, with the rows that each table would gain or lose."""
        live = _server(site)
        at = os.fsencode(f"postgres:{live.database}")
        if "refused" in manifest.meta:
            return Changes(at, notes=(f"it was not captured: {manifest.meta['refused']}",))
        found = described(_maintenance(site, live), live.database)
        if manifest.top is None:
            gone = Change(at, "remove", "database", "it was not there")
            return Changes(at, (gone,) if found else ())
        need = manifest.top.size
        if found is None:
            return Changes(at, (Change(at, "add", "database"),), need_bytes=need)
        if not found["open"]:
            why = "it refuses connections"
            return Changes(at, (Change(at, "modify", "database", why),), need_bytes=need)
        now = held(live)
        if all(now[name] == manifest.meta.get(name) for name in _FIGURES):
            return Changes(at, unchanged=1)
        notes = _differences(now, manifest.meta)
        return Changes(at, (Change(at, "modify", "database", "rows or schema"),), notes, need,
                       rows=_rows(now, manifest.meta))  # fmt: skip

    def items(self, site: Site, manifest: Manifest | None = None) -> dict[str, str]:
        """Rows and checksum of each table, by its name, and the schema: live, or as captured."""
        if manifest is not None:
            return _items(manifest.meta) if manifest.top is not None else {}
        live = _server(site)
        if described(_maintenance(site, live), live.database) is None:
            return {}
        return _items(held(live))

    def fingerprints(self, site: Site) -> dict[str, str]:
        """Rows and checksum of each table, and the schema's digest."""
        return _items(held(_server(site)))


@dataclass
class _Swap:
    """One restore under way: the intent says what was begun, the server how far it came."""

    site: Site
    manifest: Manifest
    how: Restore

    def __post_init__(self) -> None:
        self.live = _server(self.site)
        self.server = _maintenance(self.site, self.live)
        self.name = self.live.database
        self.file = f"{self.how.intent.name}.json"
        folder = self.how.intent.folder
        there = folder.stat(self.file) is not None
        self.intent: dict[str, Any] = json.loads(folder.read(self.file)) if there else {}

    @property
    def side_proved(self) -> bool:
        """True when a proved side database was about to be swapped in."""
        return "side_oid" in self.intent

    def carry_out(self) -> None:
        if not self.intent:
            self._note({
                "format": 1, "step": self.how.intent.name, "content": "postgres",
                "database": self.name, "old": self._old_name(), "sides": [],
            })  # fmt: skip
        try:
            if not self.side_proved:
                self._build()
        except RollbackError:
            self.finish()  # nothing was changed but databases of our own
            raise
        self._drain()
        self._rename()
        self.finish()

    def finish(self) -> None:
        """No side database is left, nor the intent."""
        for side in self.intent.get("sides", ()):
            found = described(self.server, side)
            if found is not None:
                self.server.do(f"drop database if exists {identifier(side)} with (force);")
        self.how.intent.end()

    # -- beside ------------------------------------------------------------------------------

    def _build(self) -> None:
        """A database beside the live one holds what was captured, and that was proved."""
        now = described(self.server, self.name)
        self.intent["live_oid"] = now["oid"] if now else 0
        if self.manifest.top is None:
            self._note({**self.intent, "side": "", "side_oid": 0})
            return
        side = f"{_short(self.name)}_side_{self.site.host.token(4)}"
        self._note({**self.intent, "sides": [*self.intent["sides"], side]})
        like: Any = now or self.manifest.meta["like"]
        self.server.do(creation(side, like))
        beside = self.live.on(side)
        with _emptied(self.site) as path:
            size, name, told = self.manifest.top.size, self.site.component, self.site.progress
            chunks = self.site.source(self.manifest).read(self.manifest.top)
            laid = counted(chunks, told, f"laying out {name}", size)
            self.site.scratch.create(_DUMP, laid, mode=0o600)
            beside.load(path, heard=lambda done: told(f"loading {name}", done, size, "bytes"))
        beside.do("analyze;")
        self._prove(beside)
        if now:
            self.server.do(likeness(self.server, self.name, side))
        found = described(self.server, side)
        assert found is not None, "it was proved a moment ago"
        self._note({**self.intent, "side": side, "side_oid": found["oid"]})

    def _prove(self, beside: Server) -> None:
        now = held(beside)
        if any(now[name] != self.manifest.meta.get(name) for name in _FIGURES):
            notes = _differences(now, self.manifest.meta, was="captured", is_="restored")
            raise ObjectCorrupt("the dump restores to something else than was captured: "
                                f"{notes[0] if notes else 'another schema'}",
                                where=self.site.component)  # fmt: skip

    # -- the swap ----------------------------------------------------------------------------

    def _swapped(self) -> bool:
        now = described(self.server, self.name)
        return bool((now["oid"] if now else 0) == self.intent["side_oid"])

    def _drain(self) -> None:
        """No client is connected to the live database, and none can connect."""
        if self._swapped() or not self.intent["live_oid"]:
            return
        declared = self.site.declared
        assert declared is not None
        name, wait_s = identifier(self.name), declared.drain_within
        self.server.do(f"alter database {name} with allow_connections false;")
        clients = _CLIENTS.format(name=literal(self.name))

        def gone() -> bool:
            return not self.server.ask(clients)

        clock = self.site.host.clock
        if declared.clients == "refuse" and clock.poll(gone, within_s=wait_s, every_s=0.1):
            return
        if declared.clients == "refuse":
            busy = self.server.ask(clients)
            if busy:
                self.server.do(f"alter database {name} with allow_connections true;")
                who = ", ".join(sorted({row["who"] or "somebody" for row in busy}))
                self.finish()
                raise HostError(
                    f"the database is in use: {len(busy)} connected ({who}); nothing was changed",
                    where=self.live.where,
                    hint="stop them, or declare database: {clients: terminate}",
                )
            return
        self.server.do(_END_CLIENTS.format(name=literal(self.name)))
        if not clock.poll(gone, within_s=max(wait_s, 1.0), every_s=0.05):
            self.server.do(f"alter database {name} with allow_connections true;")
            raise HostError("clients of the database do not end; it takes connections again",
                            where=self.live.where)  # fmt: skip

    def _rename(self) -> None:
        """The proved database has the live name, the old one its dated name, in one transaction."""
        if self._swapped():
            return
        said = ["begin;"]
        if self.intent["live_oid"]:
            said.append(f"alter database {identifier(self.name)} "
                        f"rename to {identifier(self.intent['old'])};")  # fmt: skip
        if self.intent["side"]:
            said.append(f"alter database {identifier(self.intent['side'])} "
                        f"rename to {identifier(self.name)};")  # fmt: skip
        try:
            self.server.do("\n".join([*said, "commit;"]))
        except HostError:
            # one that was killed may have sent the same a moment ago
            if not self.site.host.clock.poll(self._swapped, within_s=2.0, every_s=0.1):
                raise

    # -- inside --------------------------------------------------------------------------------

    def _note(self, intent: dict[str, Any]) -> None:
        self.intent = intent
        self.how.intent.folder.write(self.file, canonical(intent) + b"\n")

    def _old_name(self) -> str:
        """A dated name that no database of the server has."""
        dated = f"{_short(self.name)}_old_{self.site.host.clock.now():%Y%m%d_%H%M%S}"
        number, name = 1, dated
        while described(self.server, name) is not None:
            number += 1
            name = f"{dated}_{number}"
        return name


def _server(site: Site) -> Server:
    """Where the declared database is, its references looked up now."""
    one = site.declared
    if one is None:
        raise HostError("a component of content postgres declares no database",
                        where=site.component, hint="add database: {name: …, host: …}")  # fmt: skip

    return Server.of(one, folder=site.folder, tap=site.host.tap)


def _maintenance(site: Site, live: Server) -> Server:
    assert site.declared is not None
    return live.on(site.declared.maintenance)


@contextmanager
def _emptied(site: Site) -> Iterator[str]:
    """The path for a dump in scratch; nothing is there before and afterwards."""

    def sweep() -> None:
        if site.scratch.stat(_DUMP) is not None:
            site.scratch.unlink(_DUMP)

    sweep()
    try:
        yield os.fsdecode(os.path.join(site.scratch.path, _DUMP))
    finally:
        sweep()


def _items(figures: Any) -> dict[str, str]:
    found = {name: f"{one['rows']}:{one['sum']}" for name, one in figures["tables"].items()}
    return {**found, "schema": str(figures["schema"])}


def _like(found: dict[str, Any]) -> dict[str, Json]:
    return {
        name: found[name]
        for name in ("owner", "encoding", "collate", "ctype", "provider", "locale")
    }


def _differences(
    now: dict[str, Json], then: Any, *, was: str = "then", is_: str = "now"
) -> tuple[str, ...]:
    here: Any = now["tables"]
    there: Any = then.get("tables") or {}
    said = []
    for name in sorted({*here, *there}):
        mine, theirs = here.get(name), there.get(name)
        if mine == theirs:
            continue
        rows = [str(one["rows"]) if one else "none" for one in (mine, theirs)]
        same = mine and theirs and mine["rows"] == theirs["rows"]
        said.append(f"table {show(name)}: {rows[0]} rows {is_}, {rows[1]} {was}"
                    + (", and others" if same else ""))  # fmt: skip
    if now["schema"] != then.get("schema"):
        said.append("the schema is another one")
    return tuple(said)


def _rows(now: dict[str, Json], then: Any) -> tuple[Rows, ...]:
    """The tables that differ, in numbers: which rows they are, only a second database could tell."""
    here: Any = now["tables"]
    there: Any = then.get("tables") or {}
    found = []
    for name in sorted({*here, *there}):
        mine, theirs = here.get(name), there.get(name)
        if mine != theirs:
            counts = (one["rows"] if one else None for one in (mine, theirs))
            found.append(Rows(name, *counts))
    return tuple(found)


def _short(name: str) -> str:
    return name.encode()[:_NAME_BYTES_MAX].decode(errors="ignore")
