"""What the agent read and called for at each of its ticks, for as long as its declaration looks back.

Readings of every second would drown the journal, and equal decisions tell nothing new there. They
stand here, one line each, in two files that take turns; losing them costs conditions that must last
a new beginning, nothing else.

Hides: the two files, and lines that a crash tore.
Never: holds what a run rests on: that is the journal's.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from rollback.host import Host, Tree
from rollback.host.clock import moment_of
from rollback.model.finding import Sample

FOLDER = "watch"
FILE, BEFORE = f"{FOLDER}/ticks.jsonl", f"{FOLDER}/ticks.before.jsonl"
FILE_BYTES_MAX = 8 * 2**20
KEPT_MAX = 100_000  # in memory; a day of every second


@dataclass(frozen=True, slots=True)
class Tick:
    """One look: when, what was read (value, count, note), what was decided, and whether it calls.

    `calls` is true when a rule fired that calls for more than holding.
    """

    at: str
    boot: str
    boot_s: float
    read: dict[str, tuple[float | None, int, str]]
    said: str = ""
    calls: bool = False

    def line(self) -> bytes:
        """As one line of JSON."""
        body = {
            "at": self.at, "boot": self.boot, "boot_s": self.boot_s, "said": self.said,
            "calls": self.calls, "read": self.read,
        }  # fmt: skip
        return json.dumps(body, separators=(",", ":")).encode() + b"\n"


class Ticks:
    """The ticks of a system, oldest first; what is added stands in the file, too."""

    def __init__(self, tree: Tree, host: Host) -> None:
        self._tree = tree
        self._host = host
        self._all: deque[Tick] = deque(_read(tree), maxlen=KEPT_MAX)

    def __iter__(self) -> Iterator[Tick]:
        return iter(self._all)

    def __reversed__(self) -> Iterator[Tick]:
        return reversed(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, tick: Tick, *, lookback_s: float) -> None:
        """It is the newest; those before the time that is looked back are let go of.

        Raises: OSError, HostError when it cannot be written; it counts all the same.
        """
        self._all.append(tick)
        now = self._host.clock.now()
        while (now - self.moment(self._all[0])).total_seconds() > lookback_s:
            self._all.popleft()
        self._tree.make_folder(FOLDER)
        found = self._tree.stat(FILE)
        if found is not None and found.st_size >= FILE_BYTES_MAX:
            self._tree.rename(FILE, BEFORE)
        self._tree.append(FILE, tick.line(), sync=False)  # a lost one costs a reading

    def moment(self, tick: Tick) -> datetime:
        """When it was, by the wall clock as it is set now."""
        return moment_of(self._host.clock, tick.at, tick.boot, tick.boot_s)

    def samples(self, name: str, unit: str) -> Readings:
        """The readings of one metric."""
        return Readings(self, name, unit)


class Readings:
    """One metric's readings, oldest first; each is made when somebody looks at it."""

    def __init__(self, ticks: Ticks, name: str, unit: str) -> None:
        self._ticks, self._name, self._unit = ticks, name, unit

    def __iter__(self) -> Iterator[Sample]:
        return (sample for tick in self._ticks if (sample := self._of(tick)))

    def __reversed__(self) -> Iterator[Sample]:
        return (sample for tick in reversed(self._ticks) if (sample := self._of(tick)))

    def _of(self, tick: Tick) -> Sample | None:
        found = tick.read.get(self._name)
        if found is None:
            return None
        value, count, note = found
        return Sample(
            self._name, value, self._unit, self._ticks.moment(tick), count=count, note=note
        )


def _read(tree: Tree) -> Iterator[Tick]:
    """Every whole line of both files."""
    for name in (BEFORE, FILE):
        if tree.stat(name) is None:
            continue
        for line in tree.read(name, limit_bytes=2 * FILE_BYTES_MAX).splitlines():
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                yield _tick(json.loads(line))


def _tick(body: dict[str, object]) -> Tick:
    read = body["read"]
    assert isinstance(read, dict)
    return Tick(
        str(body["at"]), str(body["boot"]), float(str(body["boot_s"])),
        {str(name): (None if value is None else float(value), int(count), str(note))
         for name, (value, count, note) in read.items()},
        str(body.get("said", "")), body.get("calls") is True,
    )  # fmt: skip
