"""The journal: append-only JSON lines, each chained to the one before; the only truth about runs.

An event counts once its line is on disk. A line torn by a crash stays where it is and is sealed by
the next event, which names its length and hash. Count and head are written to an anchor kept in a
second place, so that a journal that was cut short, or an older copy, is noticed.

Hides: the file, the lock around an append, the reserve that lets a full disk still record an end.
Never: holds a secret: data is redacted before it is chained.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.model.errors import HostError, JournalCorrupt, JournalError
from rollback.model.event import GENESIS, Event, parse
from rollback.model.finding import Json

EVENTS = b"events.jsonl"
_LOCK = b"append.lock"
RESERVE_BYTES = 256 * 2**10
LINE_BYTES_MAX = 8 * 2**20

Redact = Callable[[dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the file: how many events, the last hash, the size up to which lines are whole."""

    count: int
    head: str
    whole_bytes: int
    torn: bytes = b""


class Journal:
    """One journal in an open folder. Appends from several processes take turns."""

    def __init__(
        self, tree: Tree, host: Host, *, redact: Redact | None = None, anchor: Path | None = None
    ):
        self._tree = tree
        self._host = host
        self._redact = redact or (lambda data: data)
        self._anchor = anchor
        self._tail: Tail | None = None

    def close(self) -> None:
        """The folder's descriptor is given back."""
        self._tree.close()

    def append(self, kind: str, *, run: str = "", data: dict[str, Json] | None = None) -> Event:
        """The event is on disk, chained to the last one.

        Raises: JournalError when it cannot be written; JournalCorrupt when the chain is broken.
        """
        try:
            with _Turn(self._tree):
                return self._append(kind, run, data or {})
        except (OSError, HostError) as error:
            self._tail = None
            raise JournalError(
                f"the journal cannot be written: {error}", where=self._tree.place(EVENTS),
                hint="nothing was done; make room or repair the disk, then type the command again",
            ) from error  # fmt: skip

    def events(self) -> list[Event]:
        """All events, oldest first. Raises: JournalCorrupt naming the first bad one."""
        return [event for event, _ in self._read()]

    def anchor(self) -> None:
        """Count and head stand in the second place; a place that cannot be written is reported.

        Raises: JournalError.
        """
        if self._anchor is None:
            return
        tail = self._current()
        line = {"count": tail.count, "head": tail.head, "at": iso(self._host.clock.now())}
        try:
            folder = self._anchor.parent
            if not folder.is_dir():
                with self._host.tree(str(folder.parent)) as above:
                    above.make_folder(folder.name)
            with self._host.tree(str(folder)) as tree:
                tree.append(self._anchor.name, json.dumps(line).encode() + b"\n")
        except (OSError, HostError) as error:
            raise JournalError(
                f"the anchor cannot be written: {error}", where=str(self._anchor)
            ) from error

    def verify(self) -> tuple[int, str, int]:
        """Count, head, and how many anchors agree. Raises: JournalCorrupt."""
        heads = {0: GENESIS}
        count, head = 0, GENESIS
        for event in self.events():
            count, head = event.seq, event.hash
            heads[count] = head
        agreed = 0
        for stated in self._anchors():
            at, wanted = int(str(stated["count"])), str(stated["head"])
            if at not in heads:
                raise JournalCorrupt(
                    f"the journal ends at event {count}, but {at} were anchored: it was cut short, "
                    "or an older copy was put in its place", seq=count + 1,
                    where=self._tree.place(EVENTS), hint="keep both files, and find out who did it",
                )  # fmt: skip
            if heads[at] != wanted:
                raise JournalCorrupt(
                    f"event {at} is not the one that was anchored: the journal was rewritten", seq=at,
                    where=self._tree.place(EVENTS), hint="keep both files, and find out who did it",
                )  # fmt: skip
            agreed += 1
        return count, head, agreed

    # -- inside ----------------------------------------------------------------------------

    def _append(self, kind: str, run: str, data: dict[str, Json]) -> Event:
        tail = self._current()
        if tail.torn or self._size() != tail.whole_bytes:
            tail = self._seal(self._current(fresh=True))
        return self._write(tail, kind, run, self._redact(data))

    def _write(self, tail: Tail, kind: str, run: str, data: dict[str, Json]) -> Event:
        clock = self._host.clock
        event = Event(
            seq=tail.count + 1, at=iso(clock.now()), boot=clock.boot(), boot_s=round(clock.boot_s(), 6),
            kind=kind, run=run, data=data, previous=tail.head,
        ).sealed()  # fmt: skip
        line = event.line()
        assert len(line) <= LINE_BYTES_MAX, f"an event of {len(line)} bytes"
        new = tail.whole_bytes == 0 and self._tree.stat(EVENTS) is None
        self._tree.append(EVENTS, line)
        if (
            new
            or tail.whole_bytes // RESERVE_BYTES != (tail.whole_bytes + len(line)) // RESERVE_BYTES
        ):
            self._reserve()
        self._tail = Tail(event.seq, event.hash, tail.whole_bytes + len(line))
        return event

    def _reserve(self) -> None:
        try:
            self._tree.reserve(EVENTS, RESERVE_BYTES)
        except OSError:
            return  # the disk is nearly full: what was reserved before is what there is

    def _seal(self, tail: Tail) -> Tail:
        """A torn line gets its newline and an event that names it; other writers' lines are read."""
        if tail.torn:
            self._tree.append(EVENTS, b"\n")
            whole = tail.whole_bytes + len(tail.torn) + 1
            fingerprint = hashlib.sha256(tail.torn).hexdigest()
            ended = Tail(tail.count, tail.head, whole)
            self._write(
                ended, "journal.sealed", "", {"torn_bytes": len(tail.torn), "sha256": fingerprint}
            )
        return self._current()

    def _current(self, *, fresh: bool = False) -> Tail:
        if self._tail is None or fresh or self._tail.whole_bytes != self._size():
            tail = Tail(0, GENESIS, 0)
            for event, end in self._read():
                tail = Tail(event.seq, event.hash, end)
            raw = self._bytes()
            self._tail = Tail(tail.count, tail.head, tail.whole_bytes, raw[tail.whole_bytes :])
        return self._tail

    def _size(self) -> int:
        found = self._tree.stat(EVENTS)
        return found.st_size if found else 0

    def _bytes(self) -> bytes:
        return self._tree.read(EVENTS, limit_bytes=2**31) if self._tree.stat(EVENTS) else b""

    def _read(self) -> Iterator[tuple[Event, int]]:
        """Events with the offset where each ends; a torn tail is left out."""
        raw = self._bytes()
        previous, seq, start, torn = GENESIS, 0, 0, None
        while (end := raw.find(b"\n", start)) >= 0:
            line, start = raw[start:end], end + 1
            try:
                event = parse(line)
            except ValueError as error:
                if torn is not None or raw.find(b"\n", start) < 0:
                    # a crash can tear only the last line; sealed, it is followed by its seal
                    raise self._broken(seq + 1, str(error)) from None
                torn = line
                continue
            if torn is not None and not _seals(event, torn):
                raise self._broken(seq + 1, "a line that is no event")
            torn = None
            if event.seq != seq + 1 or event.previous != previous:
                raise self._broken(seq + 1, "the chain is broken")
            seq, previous = event.seq, event.hash
            yield event, start

    def _broken(self, seq: int, why: str) -> JournalCorrupt:
        return JournalCorrupt(
            f"the journal is damaged at event {seq}: {why}", seq=seq, where=self._tree.place(EVENTS),
            hint="put it back from its copy, or move it aside to begin a new one: the anchor will tell",
        )  # fmt: skip

    def _anchors(self) -> list[dict[str, Json]]:
        if self._anchor is None or not self._anchor.is_file():
            return []
        found = []
        with self._host.tree(str(self._anchor.parent)) as tree:
            lines = tree.read(self._anchor.name).split(b"\n")
        for line in lines[:-1]:  # the last part is empty, or torn by a crash
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


def _seals(event: Event, torn: bytes) -> bool:
    return (
        event.kind == "journal.sealed"
        and event.data.get("torn_bytes") == len(torn)
        and event.data.get("sha256") == hashlib.sha256(torn).hexdigest()
    )


class _Turn:
    """Holds the lock that makes appends take turns."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._fd = -1

    def __enter__(self) -> None:
        self._fd = self._tree.open_fd(_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
