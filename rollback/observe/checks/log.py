"""What a log must not hold, must hold, must have closed, and must still begin with.

Which lines are new, for `since: mitigation`: lines with a time of their own are judged by it
(a line without one belongs to the line above it); a file without any times is judged from the
length that a checkpoint holds for it, where one does; else everything counts. Without a
mitigation everything counts. What the file was rotated into since then belongs to it; where that is
packed, or the file was written long after its newest line says, nothing is claimed.

Hides: how lines are read.
Never: passes over a line silently: malformed ones are counted and shown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import model_validator

from rollback.model.finding import Attachment, Finding, Json, Measured, failed, passed, unknown
from rollback.model.quantity import Seconds
from rollback.model.registry import Declared, register
from rollback.model.step import Check, Id, Text
from rollback.observe.expect import Bound, Expected, combined, says_none, shown, why_not
from rollback.observe.lines import LATE, TICK, Tally, backwards, holds, line_time, records, rotated
from rollback.observe.place import Place, opened
from rollback.observe.view import View

_SHOWN_MAX = 3
_EXCERPTS_MAX, _AROUND, _LINE_CHARS_MAX = 20, 2, 1000
_CHUNK_BYTES = 1 << 20


class Pairs(Declared):
    """Every record whose `field` is `start` has one with `end` and the same `key`.

    A start younger than `older_than` is open, and that is fine.
    """

    field: Text
    start: Text
    end: Text
    key: Text
    older_than: Seconds = 0.0


class Records(Declared):
    """How many records have these values."""

    where: dict[str, Expected]
    count: Expected


@register("check", "log")
class LogCheck(Check):
    """One or more of lacks, pairs, records and append_only, about one file.

    `zone` says what times without an offset mean; else such a time is none.
    """

    file: Place
    lacks: tuple[Text, ...] = ()
    since: Literal["mitigation"] | None = None
    pairs: Pairs | None = None
    records: Records | None = None
    append_only: Id | None = None
    time: Text = "at"
    zone: Literal["utc", "local"] | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> LogCheck:
        if not (self.lacks or self.pairs or self.records or self.append_only):
            raise ValueError("nothing is asked; write lacks, pairs, records or append_only")
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """How many records are such ones, where they are counted."""
        return {"count": "count"} if self.records is not None else {}

    def ask(self, view: View) -> Finding:
        """PASS when all that is declared holds."""
        try:
            return combined(self._questions(view))
        except FileNotFoundError:
            return unknown(f"{self.file}: there is no such file")

    def _questions(self, view: View) -> Iterator[Finding]:
        if self.append_only is not None:
            yield self._begins_as_held(view, self.append_only)
        if self.lacks:
            yield self._lacks(view)
        if self.pairs is not None:
            yield self._paired(view, self.pairs)
        if self.records is not None:
            yield self._counted(view, self.records)

    def _recent(self, view: View) -> datetime | None:
        return view.since if self.since == "mitigation" else None

    # -- lacks ---------------------------------------------------------------------------------

    def _lacks(self, view: View) -> Finding:
        since = self._recent(view)
        tally = Tally()
        with opened(view, self.file) as (tree, name):
            found = tree.stat(name)
            if found is None:
                raise FileNotFoundError(self.file)
            written = datetime.fromtimestamp(found.st_mtime, UTC)
            lines = list(backwards(tree, name, tally))
            timed = [line_time(line, self.time, self.zone) for line in lines]
            earlier: list[bytes] = []
            if since is not None and not any(at and at < since for at in timed):
                earlier = rotated(tree, name, since, tally)
            if since is not None and written < since - TICK and not earlier and not tally.packed:
                return passed(f"{self.file} was not written since the mitigation")
            held_bytes = self._held_bytes(view)
            if since is not None and not any(timed):
                if 0 < held_bytes <= found.st_size:
                    lines = list(backwards(tree, name, tally, start=held_bytes))
                elif earlier:  # it is not told how much of those is new
                    tally.packed, tally.cut = os.fsdecode(os.path.basename(earlier[0])), True
                earlier = []
                since = None  # what was held is left out; all that came after it counts
            for other in earlier:
                more = list(backwards(tree, other, tally))
                lines += more
                timed += [line_time(line, self.time, self.zone) for line in more]
        fresh = _fresh(lines, timed, since)
        bad = self._among(fresh)
        told_lines = sum(bool(line.strip()) for line in lines)
        span = f"of {told_lines}, since the mitigation" if self._recent(view) else "in all"
        told = f"{self.file}: {len(fresh)} lines looked at, {span}"
        if tally.note():
            told += f", {tally.note()}"
        if bad:
            last = list(dict.fromkeys(reversed(bad)))[:_SHOWN_MAX]  # each once, the newest first
            like = "; ".join(f"“{line}”" for line in last)
            finding = failed(
                f"{told}; {len(bad)} hold what must not be there: {like}", lines=len(bad)
            )
            over = Measured("lines", len(bad), 0, "higher")
            finding = finding.beyond((over,), besides=tuple(dict.fromkeys(bad)))
            return finding.showing(_excerpt(self.file, fresh, self.lacks))
        if tally.packed or (tally.cut and len(fresh) >= len(lines) - 1):
            return unknown(told)  # older lines that count may not have been read
        newest = next((number for number, at in enumerate(timed) if at), 0)
        undated = lines[:newest] if since is not None and not fresh else []
        if doubtful := self._among(undated):
            return unknown(f"{told}; lines without a time at its end may be new: “{doubtful[0]}”")
        if since is not None and not fresh and not any(line.strip() for line in undated):
            return self._in_time(told, timed[newest], written)
        return passed(told)

    def _among(self, lines: Iterable[bytes]) -> list[str]:
        """Those that hold what must not be there, to be shown."""
        texts = (line.decode("utf-8", "replace") for line in lines)
        return [shown(text) for text in texts if any(part in text for part in self.lacks)]

    def _in_time(self, told: str, newest: datetime | None, written: datetime) -> Finding:
        """Of a file without a new line: UNKNOWN when it was written long after its newest one."""
        if newest is not None and written > newest + LATE:
            return unknown(
                f"{told}; its newest line says {newest:%H:%M:%S} UTC and it was written at "
                f"{written:%H:%M:%S}: by a clock that is wrong, what is new cannot be told"
            )
        return passed(told)

    def _held_bytes(self, view: View) -> int:
        for name, component in view.system.components.items():
            if component.path == self.file and name in view.held:
                size = view.held[name].get("size_bytes")
                return size if isinstance(size, int) else 0
        return 0

    # -- records -------------------------------------------------------------------------------

    def _paired(self, view: View, pairs: Pairs) -> Finding:
        tally, known = Tally(), False
        since = self._recent(view)
        ended: set[str] = set()
        open_: dict[str, datetime | None] = {}
        starts = 0
        for record in records(view, self.file, tally, time=self.time, since=since):
            what, key = record.values.get(pairs.field), str(record.values.get(pairs.key))
            known = known or pairs.field in record.values
            if what == pairs.end:
                ended.add(key)
            elif what == pairs.start:
                starts += 1
                if key in ended:
                    ended.discard(key)  # going backwards, this end belongs to this start
                else:
                    open_[key] = record.at
        oldest = view.host.clock.now() - timedelta(seconds=pairs.older_than)
        lost = sorted(key for key, at in open_.items() if at is None or at < oldest)
        note = f", {tally.note()}" if tally.note() else ""
        told = f"{self.file}: {starts} started, {len(open_)} open{note}"
        details: dict[str, Json] = {
            "started": starts, "open": list(sorted(open_)[:20]), "lost": list(lost[:20]),
        }  # fmt: skip
        if lost:
            names = ", ".join(shown(key) for key in lost[: _SHOWN_MAX * 3])
            return failed(f"{told}; without an end for too long: {names}", **details)
        if not known and not self._silent_since(view, tally):
            return unknown(f"{told}: no record with a {pairs.field} was read", **details)
        return unknown(told, **details) if tally.cut else passed(told, **details)

    def _silent_since(self, view: View, tally: Tally) -> bool:
        """True where the file holds records, and none of them is of after the mitigation."""
        return self._recent(view) is not None and not tally.read and tally.newest is not None

    def _counted(self, view: View, wanted: Records) -> Finding:
        tally = Tally()
        since = self._recent(view)
        found = records(view, self.file, tally, time=self.time, since=since)
        count, known = 0, False
        for record in found:
            count += holds(record, wanted.where)
            known = known or wanted.where.keys() <= record.values.keys()
        reason = why_not(count, wanted.count)
        note = f", {tally.note()}" if tally.note() else ""
        if reason:
            finding = failed(f"{self.file}: records: {reason}{note}", count=count)
            limits = wanted.count if isinstance(wanted.count, Bound) else Bound()
            return finding.beyond(limits.broken("records", count))
        told = f"{self.file}: {count} of {tally.read} records are such ones{note}"
        if not known and not says_none(wanted.count) and not self._silent_since(view, tally):
            names = ", ".join(wanted.where)
            return unknown(f"{told}: no record has {names}; write at_least: 0 if there may be none",
                           count=count)  # fmt: skip
        return unknown(told, count=count) if tally.cut else passed(told, count=count)

    # -- append_only ---------------------------------------------------------------------------

    def _begins_as_held(self, view: View, component: str) -> Finding:
        held = view.held.get(component)
        size, digest = (held or {}).get("size_bytes"), (held or {}).get("sha256")
        if not isinstance(size, int) or not isinstance(digest, str):
            return unknown(f"no checkpoint holds {component}: nothing to compare {self.file} with")
        with opened(view, self.file) as (tree, name):
            try:
                fd = tree.open_read(name)
            except FileNotFoundError:
                return failed(f"{self.file} is gone; {size} bytes were held")
            try:
                length = os.fstat(fd).st_size
                if length < size:
                    return failed(f"{self.file} is {length} bytes long; {size} were held")
                state, left = hashlib.sha256(), size
                while left > 0 and (chunk := os.read(fd, min(left, _CHUNK_BYTES))):
                    state.update(chunk)
                    left -= len(chunk)
            finally:
                os.close(fd)
        if left or state.hexdigest() != digest:
            return failed(f"{self.file}: its first {size} bytes are not the ones that were held")
        return passed(f"{self.file} still begins with the {size} bytes that were held")


def _excerpt(file: str, lines: list[bytes], lacks: tuple[str, ...]) -> Attachment:
    """The newest lines that must not be there, marked, with those around them."""
    texts = [line.decode("utf-8", "replace")[:_LINE_CHARS_MAX] for line in lines]
    hits = [n for n, line in enumerate(lines)
            if any(part in line.decode("utf-8", "replace") for part in lacks)][-_EXCERPTS_MAX:]  # fmt: skip
    near = sorted({n for hit in hits for n in range(hit - _AROUND, hit + _AROUND + 1)
                   if 0 <= n < len(texts)})  # fmt: skip
    told, before = [], -1
    for n in near:
        if before >= 0 and n > before + 1:
            told.append("  …")
        told.append(f"{'>' if n in hits else ' '} {texts[n]}")
        before = n
    return Attachment(f"what is wrong in {file}", "\n".join([*told, ""]))


def _fresh(lines: list[bytes], timed: list[datetime | None], since: datetime | None) -> list[bytes]:
    """The lines that count, oldest first. Shape: `lines` and `timed` newest first."""
    if since is None or not any(timed):
        return [line for line in reversed(lines) if line.strip()]
    fresh, last = [], None
    for line, at in zip(reversed(lines), reversed(timed), strict=True):
        last = at or last
        if line.strip() and (last is None or last >= since):
            fresh.append(line)  # before the first time nothing is known: it counts
    return fresh
