"""What Allure draws trends from: one line for each run of a system, in the order of the runs.

Kept in `reports/history/SYSTEM.jsonl`, so that the pages of later runs show what became of each test
before. The lines are Allure's own, but for `uuid` and `timestamp`, which say which run it was.

Hides: the form of the file.
Never: holds a run twice, however often its page is made; decides anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rollback.host import Host
from rollback.host.clock import parse_iso
from rollback.model.errors import HostError
from rollback.model.event import canonical

FOLDER = "history"
LINES_MAX = 50
FILE_BYTES_MAX = 256 * 2**20


@dataclass(frozen=True)
class Dated:
    """A run and its results. `at` is when it was planned, ISO 8601: that tells runs apart."""

    run: str
    at: str
    name: str
    results: Path

    @property
    def key(self) -> str:
        """What no other run has."""
        return f"{self.run}@{self.at}"

    @property
    def at_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(parse_iso(self.at).timestamp() * 1000)


class Trend:
    """The history of one system in one folder of reports."""

    def __init__(self, reports: Path, host: Host, system: str) -> None:
        self._reports = reports
        self._host = host
        self._name = f"{FOLDER}/{system}.jsonl"

    def before(self, run: Dated) -> bytes:
        """The lines of earlier runs, as Allure reads them; none where there is no history."""
        return b"".join(line for _, line in self._lines(before_ms=run.at_ms))

    def holds(self, run: Dated) -> bool:
        """True when the run has a line."""
        return any(key == run.key for key, _ in self._lines())

    def keep(self, run: Dated, line: bytes) -> None:
        """The run has this line, in its place; where nothing can be written there is no trend.

        Raises: ValueError when it is no line of Allure's.
        """
        told = json.loads(line)
        if not isinstance(told, dict) or "testResults" not in told:
            raise ValueError("no line of a history")
        mine = canonical({**told, "uuid": run.key, "timestamp": run.at_ms}) + b"\n"
        with suppress(OSError, HostError), self._host.tree(str(self._reports)) as tree:
            tree.make_folder(FOLDER)
            with tree.lock(f"{FOLDER}/lock", clock=self._host.clock):
                others = [one for key, one in self._lines() if key != run.key]
                lines = sorted([*others, mine], key=lambda one: int(json.loads(one)["timestamp"]))
                tree.write(self._name, b"".join(lines[-LINES_MAX:]), sync=False)

    def _lines(self, *, before_ms: int | None = None) -> Iterator[tuple[str, bytes]]:
        """Every line that can be read, with its run."""
        data = b""
        with suppress(OSError, HostError), self._host.tree(str(self._reports)) as tree:
            data = tree.read(self._name, limit_bytes=FILE_BYTES_MAX)
        for line in data.splitlines(keepends=True):
            with suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)
                if before_ms is None or int(told["timestamp"]) < before_ms:
                    yield str(told["uuid"]), line
