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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rollback.host import Host, Tree
from rollback.host.below import remedy, why
from rollback.host.clock import iso
from rollback.model.errors import HostError, JournalCorrupt, JournalError
from rollback.model.event import GENESIS, Event, decode, parse
from rollback.model.finding import Json
from rollback.model.quantity import spoken

EVENTS = b"events.jsonl"
_LOCK = b"append.lock"
RESERVE_BYTES = 256 * 2**10
LINE_BYTES_MAX = 8 * 2**20
TURN_S = 10.0  # an append takes milliseconds: who waits longer waits for something that hangs
_ASK_AGAIN_S = 0.002

Redact = Callable[[dict[str, Json]], dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the file: how many events, the last hash, the size up to which lines are whole."""

    count: int = 0
    head: str = GENESIS
    whole_bytes: int = 0
    torn: bytes = b""


@dataclass(frozen=True, slots=True)
class _Whole:
    """The bytes that were read before, up to their last whole line, and the events that they hold."""

    raw: bytes = b""
    events: list[Event] = field(default_factory=list)

    @property
    def last(self) -> tuple[int, str]:
        """Number and hash of the last event."""
        return (self.events[-1].seq, self.events[-1].hash) if self.events else (0, GENESIS)


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
        self._whole = _Whole()

    def close(self) -> None:
        """The folder's descriptor is given back."""
        self._tree.close()

    def append(self, kind: str, *, run: str = "", data: dict[str, Json] | None = None) -> Event:
        """The event is on disk, chained to the last one.

        Raises: JournalError when it cannot be written; JournalCorrupt when the chain is broken.
        """
        return self.write(kind, run, self._redact(data or {}), within_s=TURN_S)

    def write(self, kind: str, run: str, data: dict[str, Json], *, within_s: float) -> Event:
        """As `append`, of data that is redacted already, giving up on a taken lock in time."""
        with self._turn(within_s):
            return self._append(kind, run, data)

    def hide(self, data: dict[str, Json]) -> dict[str, Json]:
        """The data as an event would hold it: without secrets."""
        return self._redact(data)

    def events(self) -> list[Event]:
        """All events, oldest first. Raises: JournalCorrupt naming the first bad one."""
        return self._chain()

    def anchor(self) -> None:
        """Count and head stand in the second place. Raises: JournalError when they cannot."""
        if self._anchor is None:
            return
        tail = self._current()
        line = {"count": tail.count, "head": tail.head, "at": iso(self._host.clock.now())}
        try:
            folder = self._anchor.parent
            if not folder.is_dir():
                with self._host.tree(str(folder.parent)) as above:
                    above.make_folder(folder.name)
                    above.sync_folder()
            with self._host.tree(str(folder)) as tree:
                torn = _ends_torn(tree, self._anchor.name)
                tree.append(self._anchor.name, b"\n" * torn + json.dumps(line).encode() + b"\n")
        except (OSError, HostError) as error:
            raise JournalError(
                f"the anchor cannot be written: {why(error, str(self._anchor))}",
                where=str(self._anchor),
            ) from error

    def verify(self) -> tuple[int, str, int]:
        """Count, head, and how many anchors agree. Raises: JournalCorrupt."""
        heads = {0: GENESIS}
        count, head = 0, GENESIS
        for event in self._chain():
            count, head = event.seq, event.hash
            heads[count] = head
        agreed = 0
        for at, wanted in self._anchors():
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

    @property
    def anchored(self) -> bool:
        """True when a second place is declared for count and head."""
        return self._anchor is not None

    # -- inside ----------------------------------------------------------------------------

    @contextmanager
    def _turn(self, within_s: float) -> Iterator[None]:
        """Holds the lock that makes appends take turns; every failure inside is a JournalError."""
        fd = -1
        try:
            fd = self._tree.open_fd(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
            clock = self._host.clock
            if not clock.poll(lambda: _locked(fd), within_s=within_s, every_s=_ASK_AGAIN_S):
                raise JournalError(
                    f"somebody has been writing to the journal for {spoken(within_s)}",
                    where=self._tree.place(_LOCK),
                    hint=f"look who, with: fuser -v {self._tree.place(_LOCK)}",
                )
            yield
        except (OSError, HostError) as error:
            self._tail = None
            raise JournalError(
                f"the journal cannot be written: {why(error, self._tree.place(EVENTS))}",
                where=self._tree.place(EVENTS),
                hint=f"nothing was done; {remedy(error, self._tree.place(EVENTS))}; then type it again",
            ) from error  # fmt: skip
        finally:
            if fd >= 0:
                os.close(fd)

    def _append(self, kind: str, run: str, data: dict[str, Json]) -> Event:
        tail = self._current()
        if tail.torn:
            tail = self._seal(tail)
        return self._write(tail, kind, run, data)

    def _write(
        self, tail: Tail, kind: str, run: str, data: dict[str, Json], *, lead: bytes = b""
    ) -> Event:
        clock = self._host.clock
        event = Event(
            seq=tail.count + 1, at=iso(clock.now()), boot=clock.boot(), boot_s=round(clock.boot_s(), 6),
            kind=kind, run=run, data=data, previous=tail.head,
        ).sealed()  # fmt: skip
        line = lead + event.line()
        if len(line) > LINE_BYTES_MAX:
            raise JournalError(
                f"an event {kind} of {len(line)} bytes is more than a journal line may have",
                where=self._tree.place(EVENTS), hint="name fewer files or components at once",
            )  # fmt: skip
        begins = tail.whole_bytes + len(tail.torn)
        ends = begins + len(line)
        new = begins == 0
        self._tree.append(EVENTS, line)
        if new or begins // RESERVE_BYTES != ends // RESERVE_BYTES:
            self._reserve()
        self._tail = Tail(event.seq, event.hash, ends)
        return event

    def _reserve(self) -> None:
        with suppress(OSError):  # nearly full: what was reserved before is what there is
            self._tree.reserve(EVENTS, RESERVE_BYTES)

    def _seal(self, tail: Tail) -> Tail:
        """What a crash left after the last event is either a whole event or named by a seal.

        Only its newline may be missing; then it is an event like any other.
        """
        begins = (tail.count, tail.head, tail.whole_bytes)
        if any(True for _ in self._read(self._bytes() + b"\n", begins)):
            self._tree.append(EVENTS, b"\n")
        else:
            fingerprint = hashlib.sha256(tail.torn).hexdigest()
            seal: dict[str, Json] = {"torn_bytes": len(tail.torn), "sha256": fingerprint}
            self._write(tail, "journal.sealed", "", seal, lead=b"\n")
        return self._current(fresh=True)

    def _current(self, *, fresh: bool = False) -> Tail:
        if self._tail is None or fresh or self._tail.torn or self._tail.whole_bytes != self._size():
            raw = self._bytes()
            whole = self._extended(raw)
            last, end = whole.last, len(whole.raw)
            self._tail = Tail(last[0], last[1], end, raw[end:])
        return self._tail

    def _size(self) -> int:
        found = self._tree.stat(EVENTS)
        return found.st_size if found else 0

    def _bytes(self) -> bytes:
        try:
            found = self._tree.stat(EVENTS)
            return self._tree.read(EVENTS, limit_bytes=2**31) if found else b""
        except (OSError, HostError) as error:
            raise JournalError(
                f"the journal cannot be read: {why(error, self._tree.place(EVENTS))}",
                where=self._tree.place(EVENTS),
                hint="it must be a regular file of ours; look at it with: ls -l",
            ) from error  # fmt: skip

    def _chain(self) -> list[Event]:
        return [*self._extended(self._bytes()).events]

    def _extended(self, raw: bytes) -> _Whole:
        """What these bytes hold. Lines that were read before, and are there still, are not read again.

        What is not what it was, byte by byte, is read from its beginning.
        """
        if not raw.startswith(self._whole.raw):
            self._whole = _Whole()
        whole, end = self._whole, len(self._whole.raw)
        new: list[Event] = []
        for event, after in self._read(raw, (*whole.last, end)):
            new.append(event)
            end = after
        if new:
            self._whole = _Whole(raw[:end], [*whole.events, *new])
        return self._whole

    def _read(self, raw: bytes, since: tuple[int, str, int]) -> Iterator[tuple[Event, int]]:
        """Events with the offset where each ends; a torn tail is left out.

        They begin behind this many events, their last hash and offset. A crash can tear the last
        line only, so what follows a torn one is its seal, or nothing but further torn ones. A line
        that is JSON was never torn.
        """
        seq, previous, start = since
        torn = -1
        while (end := raw.find(b"\n", start)) >= 0:
            line, begins, start = raw[start:end], start, end + 1
            try:
                event = parse(line)
            except ValueError as error:
                if _is_json(line):
                    raise self._broken(seq + 1, str(error)) from None
                torn = begins if torn < 0 else torn
                continue
            if event.seq != seq + 1 or event.previous != previous:
                raise self._broken(seq + 1, "the chain is broken")
            if torn >= 0 and not _seals(event, raw[torn : begins - 1]):
                raise self._broken(seq + 1, "a line that is no event")
            torn, seq, previous = -1, event.seq, event.hash
            yield event, start

    def _broken(self, seq: int, why: str) -> JournalCorrupt:
        return JournalCorrupt(
            f"the journal is damaged at event {seq}: {why}", seq=seq, where=self._tree.place(EVENTS),
            hint="put it back from its copy, or move it aside to begin a new one: the anchor will tell",
        )  # fmt: skip

    def _anchors(self) -> Iterator[tuple[int, str]]:
        """Count and head of every anchored line; one that a crash tore says nothing."""
        if self._anchor is None or not self._anchor.exists():
            return
        try:
            with self._host.tree(str(self._anchor.parent)) as tree:
                lines = tree.read(self._anchor.name).split(b"\n")
        except (OSError, HostError) as error:
            raise JournalError(
                f"the anchor cannot be read: {why(error, str(self._anchor))}",
                where=str(self._anchor),
            ) from error
        for line in lines:
            with suppress(ValueError):
                found = decode(line)
                if isinstance(found, dict) and isinstance(found.get("count"), int):
                    yield found["count"], str(found.get("head"))


def _is_json(line: bytes) -> bool:
    try:
        decode(line)
    except ValueError:
        return False
    return True


def _seals(event: Event, torn: bytes) -> bool:
    return (
        event.kind == "journal.sealed"
        and event.data.get("torn_bytes") == len(torn)
        and event.data.get("sha256") == hashlib.sha256(torn).hexdigest()
    )


def _ends_torn(tree: Tree, name: str) -> bool:
    found = tree.stat(name)
    return bool(found and found.st_size and tree.read_at(name, found.st_size - 1, 1) != b"\n")


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def last_at(state: Path, kind: str, host: Host) -> str:
    """When an event of this kind was last appended in a state directory; "" when never.

    Raises: JournalCorrupt. Changes nothing, and makes no state directory.
    """
    found = [event.at for event in events_at(state, host) or () if event.kind == kind]
    return found[-1] if found else ""


def events_at(state: Path, host: Host) -> list[Event] | None:
    """All events of the journal in a state directory, oldest first; None when there is no journal.

    Raises: JournalCorrupt. Changes nothing, and makes no state directory.
    """
    if not (state / "journal" / os.fsdecode(EVENTS)).is_file():
        return None
    with host.tree(str(state / "journal")) as tree:
        return Journal(tree, host).events()
