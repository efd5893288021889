"""Exports of checkpoints as plain tars, as their kind declares: made when due, the newest kept.

Which ones were made is told by their names in the place: system, kind, the moment of the checkpoint
and the beginning of its id. A tar that somebody took away is made anew when the next is due.

Hides: those names.
Never: removes a file that is no export of this system and kind, or before a newer one is whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rollback.act.site import Site
from rollback.host import Tree
from rollback.host.below import show
from rollback.host.clock import parse_iso
from rollback.keep.outside import path_of, place, present, room, within
from rollback.keep.retention import kind_of
from rollback.model.errors import HostError, HostUnreachable, RollbackError, RunLocked
from rollback.model.finding import Json
from rollback.model.operations import Export
from rollback.model.quantity import spoken

if TYPE_CHECKING:
    from rollback.keep.checkpoint import Checkpoint

LOCK = "exports.lock"
EARLY_S = 30.0  # a checkpoint that was taken a moment early is exported with its turn
LATE_S = 3600.0  # one that is due for so long did not happen


@dataclass(frozen=True, slots=True)
class Exporting:
    """A kind that is exported: the newest tar of it, the checkpoint that is due, what is wrong.

    `last` is the moment of the checkpoint in the newest tar, "" for none; `problem` says that the
    place cannot be looked at, or that what is due was not exported for long.
    """

    kind: str
    place: str
    last: str
    due: Checkpoint | None
    problem: str = ""

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"kind": self.kind, "place": self.place, "last": self.last or None,
                "due": self.due.id if self.due else None, "problem": self.problem or None}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one export that was due: the file, or why there is none; what went for it."""

    kind: str
    checkpoint: str
    file: str = ""
    size_bytes: int = 0
    sha256: str = ""
    removed: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"kind": self.kind, "checkpoint": self.checkpoint, "file": self.file or None,
                "size_bytes": self.size_bytes, "sha256": self.sha256 or None,
                "removed": list[Json](self.removed), "problem": self.problem or None}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Tar:
    """One export in a place, by its name."""

    name: str
    moment: datetime
    identity: str


def exports(site: Site) -> tuple[Exporting, ...]:
    """Every kind that declares an export, and how it stands now. Changes nothing."""
    declared = {name: one.export for name, one in site.system.checkpoints.kinds.items()
                if one.export is not None}  # fmt: skip
    if not declared:
        return ()
    listed = site.checkpoints.list()
    return tuple(_standing(site, kind, one, listed) for kind, one in declared.items())


def export_due(site: Site) -> tuple[Exported, ...]:
    """Every export that is due is made, read back, and journalled; what became of each.

    Never raises for what a place does: that is its `problem`, journalled once. One caller at a time
    makes them; another one makes none.
    """
    if not any(one.due or one.problem for one in exports(site)):
        return ()
    done = []
    try:
        with site.state.tree.lock(LOCK, clock=site.host.clock, within_s=0.0):
            for one in exports(site):
                if one.due is not None:
                    done.append(_export(site, one.kind, one.due))
                elif one.problem:
                    done.append(Exported(one.kind, "", problem=one.problem))
    except RunLocked:
        return ()
    for made in done:
        _tell(site, made)
    return tuple(done)


def _standing(site: Site, kind: str, declared: Export, listed: Iterable[Checkpoint]) -> Exporting:
    newest = next((one for one in listed if _fit(site, one, kind)), None)
    if newest is None:
        return Exporting(kind, declared.place, "", None)
    try:
        there = _there(site, kind, declared)
    except (RollbackError, OSError) as error:
        return Exporting(kind, declared.place, "", None, f"{declared.place}: {_said(error)}")
    last = there[-1] if there else None
    moment = last.moment.strftime("%Y-%m-%dT%H:%M:%SZ") if last else ""
    if any(newest.id.startswith(one.identity) for one in there):
        return Exporting(kind, declared.place, moment, None)
    apart_s = (parse_iso(newest.at) - last.moment).total_seconds() if last else 0.0
    if last and declared.every and 0 <= apart_s < declared.every - EARLY_S:
        return Exporting(kind, declared.place, moment, None)
    waits_s = (site.host.clock.now() - parse_iso(newest.at)).total_seconds()
    late = f"{newest.name or newest.id[:12]}, {spoken(waits_s)} old, is not exported yet"
    return Exporting(kind, declared.place, moment, newest, late if waits_s > LATE_S else "")


def _fit(site: Site, one: Checkpoint, kind: str) -> bool:
    kinds = site.system.checkpoints.kinds
    return one.target and not one.damage and kind_of(one.kind, kinds) is kinds[kind]


def _there(site: Site, kind: str, declared: Export) -> list[_Tar]:
    """The exports of the kind that are in the place, oldest first. Raises: HostError, OSError."""
    if not present(site.system, declared.place, "archive"):
        path = show(path_of(site.system, declared.place, "archive"))
        if any(event.kind == "checkpoint.exported" and event.data.get("name") == kind
               and os.path.dirname(str(event.data.get("file"))) == path
               for event in site.journal.events()):  # fmt: skip
            raise HostUnreachable("it held exports and is not there any more", where=path,
                                  hint=f"mount it, or make it anew: mkdir -p -m 700 {path}")  # fmt: skip
        return []
    with place(site.system, site.host, declared.place, "archive") as tree:
        return _listed(site, kind, tree)


def _listed(site: Site, kind: str, tree: Tree) -> list[_Tar]:
    ours = re.compile(
        rf"{re.escape(site.system.system.id)}-{re.escape(kind)}-(\d{{8}}T\d{{6}}Z)-([0-9a-f]{{12}})\.tar"
    )
    found = []
    for raw in tree.names():
        name = raw.decode("utf-8", "replace")
        if match := ours.fullmatch(name):
            moment = datetime.strptime(match[1] + "+0000", "%Y%m%dT%H%M%SZ%z")
            found.append(_Tar(name, moment, match[2]))
    return sorted(found, key=lambda one: (one.moment, one.identity))


def _export(site: Site, kind: str, due: Checkpoint) -> Exported:
    from rollback.keep.export import write

    declared = site.system.checkpoints.kinds[kind].export
    assert declared is not None, "it is due because it is declared"
    stem = f"{site.system.system.id}-{kind}"
    name = f"{stem}-{parse_iso(due.at):%Y%m%dT%H%M%SZ}-{due.id[:12]}.tar"
    try:
        with place(site.system, site.host, declared.place, "archive", make=True) as tree:
            left = room(site.system, declared.place, tree), tree.free()[0]
            _fits(site, declared.place, tree, due.size_bytes, left)
            made = write(
                site.checkpoints, tree, name, due.id, temporary=f"export-{stem}",
                fits=lambda size: _fits(site, declared.place, tree, size, left),
            )  # fmt: skip
            old = [one for one in _listed(site, kind, tree) if one.name != name]
            gone = tuple(one.name for one in old[: max(0, len(old) + 1 - declared.keep)])
            for one in gone:
                tree.unlink(one)
            if gone:
                tree.sync_folder()
    except (RollbackError, OSError) as error:
        hint = error.hint if isinstance(error, RollbackError) else ""
        return Exported(kind, due.id, problem=f"{declared.place}: {_said(error)}", hint=hint)
    return Exported(kind, due.id, made.path, made.size_bytes, made.sha256, gone)


def _fits(site: Site, name: str, tree: Tree, size_bytes: int, left: tuple[int, int]) -> None:
    """The limit of the place, and its disk, take so many bytes more. Raises: Refused, HostError."""
    within(site.system, name, tree.path, size_bytes, left[0])
    if size_bytes > left[1]:
        raise HostError(f"it takes {size_bytes} bytes and {left[1]} are free", where=tree.place("."),
                        hint="make room there")  # fmt: skip


def _tell(site: Site, one: Exported) -> None:
    if not one.problem:
        site.tell("checkpoint.exported", name=one.kind, checkpoint=one.checkpoint, file=one.file,
                  size_bytes=one.size_bytes, sha256=one.sha256,
                  removed=list[Json](one.removed))  # fmt: skip
        return
    told = [event for event in site.journal.events()
            if event.kind in ("checkpoint.exported", "checkpoint.not_exported")
            and event.data.get("name") == one.kind]  # fmt: skip
    if not told or told[-1].data.get("why") != one.problem:  # asked every minute, it is said once
        site.tell("checkpoint.not_exported", name=one.kind, checkpoint=one.checkpoint,
                  why=one.problem)  # fmt: skip


def _said(error: Exception) -> str:
    from rollback.keep.copies import told

    return told(error)
