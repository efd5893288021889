"""The transaction log of a component, read: what was changed for good, and what cannot be said.

The log may have been written by a program that died: its last line may be torn, transactions may
be open, records may be missing. None of that is applied, and all of it is listed.

Hides: the declared names of fields and words.
Never: guesses what a record means; changes the log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rollback.model.component import TransactionLog
from rollback.model.finding import Json

LINE_BYTES_MAX = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Change:
    """One item of a component is `value` from then on, or is gone. `line` counts from 1."""

    key: str
    value: Json
    gone: bool
    table: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of the log that is in no state that is made from it, and why."""

    line: int
    why: str
    text: str = ""

    def as_json(self) -> dict[str, Json]:
        """For a file that a person reads."""
        return {"line": self.line, "why": self.why, "text": self.text}


@dataclass(frozen=True)
class Reading:
    """What a log says: committed changes in the order of their commits, and what is left out.

    Units: `size_bytes` were read; `sha256` is over them.
    """

    changes: tuple[Change, ...]
    left_out: tuple[LeftOut, ...]
    transactions: int
    size_bytes: int
    sha256: str


def read(chunks: Iterable[bytes], declared: TransactionLog) -> Reading:
    """The log of these bytes. Never raises for what is in them: it is listed as left out."""
    reader = _Reader(declared)
    for number, line, whole in _lines(chunks, reader):
        reader.take(number, line, whole=whole)
    return reader.done()


@dataclass
class _Reader:
    declared: TransactionLog
    size_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    done_: list[Change] = field(default_factory=list)
    left: list[LeftOut] = field(default_factory=list)
    open: dict[str, list[Change]] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    transactions: int = 0
    last: int | None = None

    def take(self, number: int, line: bytes, *, whole: bool) -> None:
        text = line.decode("utf-8", "replace")
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("no object")
        except (ValueError, RecursionError):
            why = "it is no record" if whole else "the last line is torn"
            self.left.append(LeftOut(number, why, text))
            return
        if self._in_order(number, record, text):
            self._record(number, record, text)

    def _in_order(self, number: int, record: dict[str, Any], text: str) -> bool:
        """False for a record that came before; what is missing in between is listed."""
        name = self.declared.fields.sequence
        if name is None:
            return True
        found = record.get(name)
        if not isinstance(found, int) or isinstance(found, bool):
            self.left.append(LeftOut(number, f"its {name} is no number", text))
            return False
        before, self.last = self.last, found if self.last is None else max(found, self.last)
        if before is not None and found <= before:
            self.left.append(LeftOut(number, f"{name} {found} came before", text))
            return False
        if before is not None and found > before + 1:
            gap = f"{before + 1}" if found == before + 2 else f"{before + 1} to {found - 1}"
            self.left.append(LeftOut(number, f"records are missing before it: {name} {gap}"))
        return True

    def _record(self, number: int, record: dict[str, Any], text: str) -> None:
        fields, words = self.declared.fields, self.declared.words
        kind = record.get(fields.kind)
        known = record.get(fields.transaction) if fields.transaction else None
        transaction = None if known is None else str(known)
        if kind in words.begin or kind in words.commit or kind in words.abort:
            if transaction is None:
                self.left.append(LeftOut(number, f"{kind} of no transaction", text))
            elif kind in words.begin:
                self.began.setdefault(transaction, number)
            else:
                held = self.open.pop(transaction, [])
                self.began.pop(transaction, None)
                if kind in words.commit:
                    self.done_ += held
                    self.transactions += 1
        elif kind in words.set or kind in words.delete:
            change = self._change(number, record, text, gone=kind in words.delete)
            if change is None:
                return
            if transaction is None:
                self.done_.append(change)
                self.transactions += 1
            else:
                self.open.setdefault(transaction, []).append(change)
                self.began.setdefault(transaction, number)
        else:
            self.left.append(LeftOut(number, f"nobody declared what {kind!r} means", text))

    def _change(
        self, number: int, record: dict[str, Any], text: str, *, gone: bool
    ) -> Change | None:
        fields = self.declared.fields
        key = record.get(fields.key)
        table = record.get(fields.table) if fields.table else None
        if not isinstance(key, str | int) or isinstance(key, bool):
            self.left.append(LeftOut(number, f"it names no {fields.key}", text))
            return None
        if not gone and fields.value not in record:
            self.left.append(LeftOut(number, f"it has no {fields.value}", text))
            return None
        where = str(table) if table is not None else self.declared.table or ""
        return Change(_key(key), record.get(fields.value), gone, where, number, text)

    def done(self) -> Reading:
        for transaction, number in sorted(self.began.items(), key=lambda item: item[1]):
            held = self.open.get(transaction, [])
            self.left.append(LeftOut(number, f"transaction {transaction} is open"))
            self.left += [LeftOut(c.line, f"of the open transaction {transaction}", c.text)
                          for c in held]  # fmt: skip
        ordered = tuple(sorted(self.left, key=lambda one: one.line))
        return Reading(tuple(self.done_), ordered, self.transactions, self.size_bytes,
                       self.digest.hexdigest())  # fmt: skip


def _key(key: str | int) -> str:
    return key if isinstance(key, str) else str(key)


def _lines(chunks: Iterable[bytes], reader: _Reader) -> Iterator[tuple[int, bytes, bool]]:
    """Each line that is not empty, with its number, and whether it ended."""
    rest, number = b"", 0
    for chunk in chunks:
        reader.size_bytes += len(chunk)
        reader.digest.update(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                yield number, line[:LINE_BYTES_MAX], len(line) <= LINE_BYTES_MAX
    if rest.strip():
        yield number + 1, rest[:LINE_BYTES_MAX], False
