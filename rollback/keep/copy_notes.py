"""What this state directory knows of its copies elsewhere: `copies/` in it.

Without the notes nothing is lost: they are what was last seen, for those who cannot look now, and
which deletions are still to be carried out there.

Hides: the files.
Never: is believed where the place itself can be asked cheaply.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from rollback.host import Host, Tree
from rollback.model.errors import HostError
from rollback.model.event import canonical
from rollback.model.finding import Json

FOLDER = "copies"
_DELETED = f"{FOLDER}/deleted.json"
_WRITER = f"{FOLDER}/writer.json"


@dataclass
class Seen:
    """What was last seen of one place: where it was, and which checkpoints had a copy there."""

    address: str = ""
    whole: dict[str, str] = field(default_factory=dict)  # when it was proved, by checkpoint


class CopyNotes:
    """The notes in one state directory."""

    def __init__(self, state: Tree, host: Host) -> None:
        self._state = state
        self._host = host

    def seen(self, store: str, address: str) -> Seen:
        """What was last seen there; nothing of another address."""
        value = self._read(f"{FOLDER}/of-{store}.json")
        if value.get("address") != address:
            return Seen(address)
        whole = value.get("whole")
        return Seen(address, {str(one): str(at) for one, at in whole.items()}
                    if isinstance(whole, dict) else {})  # fmt: skip

    def keep(self, store: str, seen: Seen) -> None:
        """That is what was last seen there."""
        self._write(f"{FOLDER}/of-{store}.json",
                    {"address": seen.address, "whole": dict[str, Json](seen.whole)})  # fmt: skip

    def writer(self) -> str:
        """The name under which this state directory writes elsewhere; made once."""
        found = self._read(_WRITER).get("writer")
        if not isinstance(found, str) or not found:
            found = self._host.token(16)
            self._write(_WRITER, {"writer": found})
        return found

    def deleted(self, store: str) -> frozenset[str]:
        """The checkpoints that were deleted here and may still have a copy there."""
        found = self._read(_DELETED).get(store)
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def note_deleted(self, identity: str, stores: Iterable[str]) -> None:
        """The copies of the checkpoint are to go too, as soon as their place can be reached."""
        value = self._read(_DELETED)
        for store in stores:
            value[store] = list[Json](sorted({*self.deleted(store), identity}))
        if value:
            self._write(_DELETED, value)

    def forget_deleted(self, store: str, gone: frozenset[str]) -> None:
        """The copies of these are gone from there."""
        value = self._read(_DELETED)
        value[store] = list[Json](sorted(self.deleted(store) - gone))
        self._write(_DELETED, value)

    def folder(self) -> None:
        """The folder of the notes is there."""
        if self._state.stat(FOLDER) is None:
            self._state.make_folder(FOLDER)
            self._state.sync_folder()

    def _read(self, name: str) -> dict[str, Json]:
        with suppress(OSError, HostError, ValueError):
            value = json.loads(self._state.read(name))
            if isinstance(value, dict):
                return value
        return {}

    def _write(self, name: str, value: dict[str, Json]) -> None:
        self.folder()
        self._state.write(name, canonical(value))
