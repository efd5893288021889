"""Files made again from a log: what was captured, with what the log says laid over it.

Hides: folders that the log never names, hard links whose file the log replaced.
Never: writes; takes a path that leaves the component.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import os
import stat as stat_
from collections.abc import Iterable
from pathlib import PurePosixPath

from rollback.host.clock import Clock
from rollback.keep.blocks import digest
from rollback.keep.content import Rebuilt, Site
from rollback.keep.entry import Entry, Source, check
from rollback.keep.manifest import Manifest
from rollback.keep.survey import Survey, below, gone
from rollback.keep.transaction_log import Change, LeftOut
from rollback.model.errors import Confined
from rollback.model.finding import Json


def file_items(site: Site, manifest: Manifest | None) -> dict[str, str]:
    """The digest of each file, by its path: live, or as captured."""
    if manifest is None:
        found = site.root.stat(site.at)
        if found is None:
            return {}
        live: dict[str, str] = {}
        if not stat_.S_ISDIR(found.st_mode):
            return {".": _digest(site, site.at)}
        survey = Survey(site.root, site.at, site.scope, Clock(), moving=True)
        for folder in survey.folders(b".", found):
            for name, seen in folder.children:
                if not stat_.S_ISREG(seen.st_mode):
                    continue
                path = below(folder.path, name)
                try:
                    live[os.fsdecode(path)] = _digest(site, survey.full(path))
                except OSError as error:
                    if not gone(error):
                        raise
        return live
    return _items(manifest.entries(site.store.get))


def rebuilt_files(site: Site, base: Manifest | None, changes: Iterable[Change]) -> Rebuilt:
    """What the base becomes by the changes."""
    known: dict[bytes, Entry] = {b".": Entry(b".", "folder")}
    if base is not None:
        known.update((entry.path, entry) for entry in base.entries(site.store.get))
    texts: dict[bytes, bytes] = {}
    left = []
    for change in changes:
        path, data = os.fsencode(change.key), None if change.gone else _bytes(change.value)
        if not _plain(change.key) or not site.scope.holds(path):
            left.append(LeftOut(change.line, "its path is none of the component", change.text))
        elif change.gone:
            texts.pop(path, None)
            _without(known, path)
        elif data is None:
            left.append(LeftOut(change.line, "its value is no file", change.text))
        else:
            _with(known, path, data)
            texts[path] = data
    entries = tuple(sorted(known.values(), key=lambda entry: entry.path))
    try:
        check(entries)
    except Confined as error:
        raise Confined(f"what the log leaves is no tree: {error.message}",
                       where=site.component) from error  # fmt: skip
    source = _Laid(entries, texts, site.source(base) if base is not None else None)
    return Rebuilt(source, _items(entries), tuple(left))


@dataclasses.dataclass(frozen=True)
class _Laid:
    """Captured files, and over them those of the log."""

    entries_: tuple[Entry, ...]
    texts: dict[bytes, bytes]
    under: Source | None

    def entries(self) -> tuple[Entry, ...]:
        """Everything there is."""
        return self.entries_

    def read(self, entry: Entry) -> Iterable[bytes]:
        """The bytes of the log, else those captured."""
        if entry.path in self.texts:
            return (self.texts[entry.path],)
        assert self.under is not None, "what is not in the log was captured"
        return self.under.read(entry)


def _items(entries: Iterable[Entry]) -> dict[str, str]:
    found = {entry.path: entry for entry in entries}
    return {
        os.fsdecode(path): (found[entry.target] if entry.kind == "hardlink" else entry).digest
        for path, entry in found.items()
        if entry.kind in ("file", "hardlink")
    }


def _with(known: dict[bytes, Entry], path: bytes, data: bytes) -> None:
    _alone(known, path)
    before = known.get(path)
    folder = os.path.dirname(path)
    while folder and folder not in known:
        known[folder] = Entry(folder, "folder")
        folder = os.path.dirname(folder)
    worn = before if before is not None and before.kind == "file" else Entry(path, "file")
    known[path] = Entry(path, "file", mode=worn.mode, uid=worn.uid, gid=worn.gid, size=len(data),
                        sha256=hashlib.sha256(data).hexdigest())  # fmt: skip


def _without(known: dict[bytes, Entry], path: bytes) -> None:
    _alone(known, path)
    for one in [one for one in known if one == path or one.startswith(path + b"/")]:
        del known[one]


def _alone(known: dict[bytes, Entry], path: bytes) -> None:
    """Other names of the file at the path become files of their own, as they were captured."""
    first = known.get(path)
    if first is None or first.kind != "file":
        return
    for one, entry in list(known.items()):
        if entry.kind == "hardlink" and entry.target == path:
            known[one] = dataclasses.replace(first, path=one)


def _plain(key: str) -> bool:
    parts = key.split("/")
    return "\0" not in key and key == str(PurePosixPath(key)) and not (
        {"", ".", ".."} & set(parts))  # fmt: skip


def _bytes(value: Json) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and isinstance(value.get("base64"), str):
        try:
            return base64.b64decode(str(value["base64"]), validate=True)
        except (binascii.Error, ValueError):
            return None
    return None


def _digest(site: Site, full: bytes) -> str:
    with site.root.reading(full) as file:
        return digest(file)


__all__ = ["file_items", "rebuilt_files"]
