"""Notifiers and stores that are wrong, each in one way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from rollback.conformance import Example
from rollback.conformance.world import World
from rollback.host import Host
from rollback.keep.place import Place, StoreKind
from rollback.keep.stores.folder import Folder, FolderStore
from rollback.model.registry import Kind, register
from rollback.model.step import NotifierKind
from rollback.tell.message import Outgoing
from tests.conformance.wrong import wrong

SECRET = "geheim-of-the-bot"


class Letter(NotifierKind):
    """A message as lines of a file below the folder of the declaration."""

    path: str
    word: str = "file:secret"
    within: float = 1.0

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        try:
            with (place / self.path).open("a") as box:
                box.write(message.text + "\n")
        except OSError as error:
            return str(error)
        return ""


@register("notifier", "letter")
class RightNotifier(Letter):
    """The right one."""


@wrong("what_does_not_leave_is_said", "it raises IsADirectoryError")
@register("notifier", "raises")
class Raises(Letter):
    """Raises."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        with (place / self.path).open("a") as box:
            box.write(message.text + "\n")
        return ""


@wrong("what_does_not_leave_is_said", "it has to keep a deadline of its own")
@register("notifier", "hangs")
class Hangs(Letter):
    """Waits for ever where the other side does."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        said = super().deliver(message, place, host)
        if said:
            time.sleep(60)
        return said


@wrong("what_does_not_leave_is_said", "the reason that it gives holds a secret")
@register("notifier", "tells-its-secret")
class TellsItsSecret(Letter):
    """Its reason holds the address with the secret in it."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        said = super().deliver(message, place, host)
        return said and f"https://bot:{SECRET}@chat: {said}"


@wrong("a_message_leaves_once", "it says that the message left, and it arrived 0 times")
@register("notifier", "into-the-void")
class IntoTheVoid(Letter):
    """Says that it left when it did not."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        return "" if not (place / self.path).is_dir() else "no"


@wrong("whatever_a_text_holds_it_stays_a_text", "it raises KeyError")
@register("notifier", "fills-in")
class FillsIn(Letter):
    """Takes a text for a template."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        text = message.text.replace("{{", "").format(host="here")
        return super().deliver(replace(message, text=text), place, host)


class _Remembering(Folder):
    """Reads each file once."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.known: dict[str, bytes] = {}

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        if name not in self.known:
            self.known[name] = super().read(name, 0, 10**9)
        return self.known[name][offset : offset + size_bytes]

    def replace(self, name: str, data: bytes | Iterable[bytes]) -> None:
        self.known.pop(name, None)
        super().replace(name, data)

    def remove(self, name: str) -> None:
        self.known.pop(name, None)
        super().remove(name)

    def set_aside(self, name: str) -> None:
        self.known.pop(name, None)
        super().set_aside(name)


class _Torn(Folder):
    """Writes where the file will be."""

    def create(self, name: str, chunks: Iterable[bytes]) -> None:
        super().create(name, [b""])
        with open(os.path.join(os.fsdecode(self._tree.path), name), "wb") as file:
            for chunk in chunks:
                file.write(chunk)


class _OpenToAll(Folder):
    """Its lock keeps nobody out."""

    def lock(self, *, shared: bool = False, within_s: float = 10.0) -> Any:
        return nullcontext()


class _Shelf(StoreKind):
    """A folder, in some way of its own."""

    path: str
    of: ClassVar[type[Folder]] = Folder

    def place(self, host: Host, *, base: str, make: bool = False) -> Place:
        FolderStore(path=self.path).place(host, base=base, make=make).close()
        return self.of(host.tree(self.address(base=base)), host)

    def address(self, *, base: str) -> str:
        return FolderStore(path=self.path).address(base=base)


@register("store", "shelf")
class RightStore(_Shelf):
    """The right one."""


@wrong("a_flipped_byte_is_seen", "it was damaged on the medium, and is read as if it were whole")
@register("store", "remembers")
class Remembers(_Shelf):
    """A cache that does not forget."""

    of: ClassVar[type[Folder]] = _Remembering


@wrong("a_file_is_there_whole_or_not_at_all", "half a file is listed as if it were whole")
@register("store", "torn")
class TornStore(_Shelf):
    """Half a file counts."""

    of: ClassVar[type[Folder]] = _Torn


@wrong("one_writer_keeps_out_the_next", "two writers have the lock at once")
@register("store", "open-to-all")
class OpenToAll(_Shelf):
    """A lock that is none."""

    of: ClassVar[type[Folder]] = _OpenToAll


def _flipped(world: World) -> None:
    for path in (world.folder / "copies" / "packs").iterdir():
        data = bytearray(path.read_bytes())
        data[0] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)


EXAMPLES = {
    "notifier": Example(
        {"path": "box"}, seen=lambda w: (w.folder / "box").read_text() if (w.folder / "box").exists() else "",
        spoils={"there is a folder": lambda w: (w.folder / "box").mkdir()}, secrets=(SECRET,)),
    "store": Example({"path": "copies"}, spoils={"a flipped byte": _flipped}),
}  # fmt: skip


def example(kind: type[Kind]) -> Example:
    """What each is tried on."""
    return EXAMPLES[kind.family]
