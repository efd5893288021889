"""Log files as they are while somebody writes them: torn, rotated, huge, with broken lines in.

A last line without its newline is being written: it counts when it can be read, and is left
alone when it cannot. Every other line that cannot be read is counted, and shown once.

Hides: reading a file from its end, block by block, and the spellings of time.
Never: reads more than READ_BYTES_MAX of a file; it says `cut` instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from rollback.declare import secret_values
from rollback.host import Tree
from rollback.host.clock import parse_iso
from rollback.keep.redact import Redactor
from rollback.model.errors import RollbackError
from rollback.model.finding import Json
from rollback.observe.expect import shown, why_not
from rollback.observe.place import opened, size_bytes
from rollback.observe.pointer import parse
from rollback.observe.view import View

READ_BYTES_MAX = 64 * 2**20
LATE = timedelta(seconds=60)  # lines are written when work ends, so they stand out of order
SKEW = timedelta(seconds=5)
_BLOCK_BYTES = 64 * 1024
_EPOCH_S = (10**8, 10**10)  # 1973 to 2286; outside it, a number is no time in seconds
TICK = timedelta(milliseconds=10)  # file times come from a clock that stands still between ticks
_ROTATED = rb"[.-](?:\d[\dT:.-]*|old)"  # app.log.1, app.log-20261128, app.1.log, app.log.old
_PACKED = rb"\.(?:gz|bz2|xz|zst|lz4|Z)"
_TIME = re.compile(
    r"\A[\[(<]?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


@dataclass
class Tally:
    """What reading a log left out, for the evidence; `newest` is the last time that a record says."""

    read: int = 0
    malformed: int = 0
    example: str = ""
    timeless: int = 0
    cut: bool = False
    packed: str = ""
    newest: datetime | None = None

    def refuse(self, line: bytes) -> None:
        """The line is counted as malformed; the first one is kept to be shown."""
        self.malformed += 1
        self.example = self.example or shown(line.decode("utf-8", "replace"), limit=80)

    def note(self) -> str:
        """A sentence about what was left out; "" when nothing was."""
        told = []
        if self.malformed:
            told.append(f"{self.malformed} malformed, like {self.example!r}")
        if self.timeless:
            told.append(f"{self.timeless} without a usable time")
        if self.packed:
            told.append(f"what was rotated into {self.packed} meanwhile cannot be read")
        elif self.cut:
            told.append(f"only the last {READ_BYTES_MAX // 2**20} MiB were read")
        return ", ".join(told)


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON line. `at` is None when its time is missing or unusable."""

    values: Mapping[str, Json] = field(default_factory=dict)
    at: datetime | None = None


def backwards(tree: Tree, name: bytes, tally: Tally, *, start: int = 0) -> Iterator[bytes]:
    """The complete lines of the file, newest first; a torn last line only if it is text to read.

    `start` leaves out what stands before that offset. Raises: FileNotFoundError, Confined.
    """
    fd = tree.open_read(name)
    try:
        position = os.fstat(fd).st_size
        stop = max(start, position - READ_BYTES_MAX)
        rest = b""
        block_bytes = _BLOCK_BYTES
        while position > stop:
            size = min(block_bytes, position - stop)
            position -= size
            parts = (_read_at(fd, size, position) + rest).split(b"\n")
            rest = parts[0]
            yield from reversed(parts[1:])
            # A line longer than a block would be copied once per block: take larger ones.
            block_bytes = _BLOCK_BYTES if len(parts) > 1 else block_bytes * 2
        if position > start:
            tally.cut = True  # `rest` is the middle of a line
        else:
            yield rest
    finally:
        os.close(fd)


def length(view: View, path: str) -> int:
    """How many bytes the log has by now; 0 where it is not there, or cannot be told."""
    with suppress(RollbackError, OSError):
        return size_bytes(view, path) or 0
    return 0


def last_line(view: View, path: str, *, since: int = 0) -> str:
    """The last line behind that offset with anything on it, to be shown; "" where there is none to read."""
    with suppress(RollbackError, OSError), opened(view, path) as (tree, name):
        for line in backwards(tree, name, Tally(), start=since):
            if text := line.decode("utf-8", "replace").strip():
                # secrets are out before it is cut: half of one would not be known for it
                hide = Redactor(secret_values(view.system))
                return shown(hide.text(text))
    return ""


def _read_at(fd: int, size: int, offset: int) -> bytes:
    parts = []
    while size > 0 and (part := os.pread(fd, size, offset)):
        parts.append(part)
        size -= len(part)
        offset += len(part)
    return b"".join(parts)


def rotated(tree: Tree, name: bytes, since: datetime | None, tally: Tally) -> list[bytes]:
    """What the log was rotated into since then, newest first; what of it is packed is cut off, and said.

    Only a log that does not itself reach back to `since` lacks what is in there. None: whenever.
    """
    folder, base = os.path.split(name)
    stem, dot, ext = base.rpartition(b".")
    plain = [re.escape(base) + _ROTATED]
    if dot and stem:
        plain.append(re.escape(stem) + _ROTATED + re.escape(b"." + ext))
    ours = re.compile(rb"(?:" + rb"|".join(plain) + rb")(" + _PACKED + rb")?\Z")
    found = []
    for other in tree.names(folder or b"."):
        match = ours.match(other)
        at = tree.stat(os.path.join(folder, other)) if match else None
        if match and at and (since is None or at.st_mtime >= (since - TICK).timestamp()):
            found.append((at.st_mtime, os.path.join(folder, other), bool(match[1])))
    kept = []
    for _, other, packed in sorted(found, reverse=True):
        if packed:
            tally.packed, tally.cut = os.fsdecode(os.path.basename(other)), True
            break
        kept.append(other)
    return kept


def records(
    view: View, path: str, tally: Tally, *, time: str, since: datetime | None
) -> Iterator[Record]:
    """The JSON lines that are not older than `since`, newest first; all when `since` is None.

    Reading stops at the first line that is older by more than LATE. With `since`, a line without a
    usable time is counted and left out, and what the file was rotated into meanwhile is read too.
    """
    with opened(view, path) as (tree, name):
        for record in _through(tree, name, tally, time=time, since=since):
            tally.newest = tally.newest or record.at
            if since is not None:
                if record.at is None:
                    tally.timeless += 1
                    continue
                if record.at < since - LATE:
                    return
                if record.at < since:
                    continue
            tally.read += 1
            yield record


def _through(
    tree: Tree, name: bytes, tally: Tally, *, time: str, since: datetime | None
) -> Iterator[Record]:
    """The records of the file, then of what it was rotated into; that is looked for when it is needed."""
    yield from _records(tree, name, tally, time=time)
    for other in rotated(tree, name, since, tally) if since is not None else ():
        yield from _records(tree, other, tally, time=time)


def _records(tree: Tree, name: bytes, tally: Tally, *, time: str) -> Iterator[Record]:
    for number, line in enumerate(backwards(tree, name, tally)):
        if not line.strip():
            continue
        try:
            values = parse(line)
        except ValueError:
            values = None
        if isinstance(values, dict):
            yield Record(values, moment(values.get(time)))
        elif number > 0:  # the newest part has no newline yet: it is being written
            tally.refuse(line)


def holds(record: Record, where: Mapping[str, Any]) -> bool:
    """True when every field named there has its expected value."""
    return all(
        name in record.values and not why_not(record.values[name], expected)
        for name, expected in where.items()
    )


def moment(value: Json) -> datetime | None:
    """The time that a field says: ISO 8601 with a zone, or seconds since 1970; else None."""
    if isinstance(value, str):
        try:
            return parse_iso(value)
        except (ValueError, OverflowError):
            return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if _EPOCH_S[0] <= value < _EPOCH_S[1]:
            return datetime.fromtimestamp(value, UTC)
    return None


def leading(line: str, naive: Literal["utc", "local"] | None) -> datetime | None:
    """The time at the start of a text line; one without a zone counts only as `naive` says."""
    found = _TIME.match(line)
    if not found:
        return None
    zone = (found[4] or "").replace("Z", "+00:00")
    try:
        at = datetime.fromisoformat(f"{found[1]}T{found[2]}.{(found[3] or '0')[:6]:0<6}{zone}")
    except ValueError:
        return None
    if at.tzinfo is not None:
        return at.astimezone(UTC)
    if naive == "utc":
        return at.replace(tzinfo=UTC)
    return at.astimezone(UTC) if naive == "local" else None


def line_time(line: bytes, name: str, naive: Literal["utc", "local"] | None) -> datetime | None:
    """The time of a line: the field `name` of a JSON line, or what a text line begins with."""
    if line[:1] == b"{":
        try:
            values = parse(line)
        except ValueError:
            values = None
        return moment(values.get(name)) if isinstance(values, dict) else None
    return leading(line[:80].decode("utf-8", "replace"), naive)
