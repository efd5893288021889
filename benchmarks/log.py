"""A question about a log of one GiB, through a declared metric, over DuckDB itself in the same run.

The log is written anew, of one seed, into a temporary folder. Both read the whole file: the window is
as wide as the log. The interpreter is running and DuckDB imported, as in an agent.
"""

from __future__ import annotations

import json
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

import rollback.kinds  # noqa: F401 - registers every kind
from benchmarks.measure import in_turn, report, took_s
from rollback.declare import load
from rollback.host import Host
from rollback.host.clock import iso
from rollback.observe.metric import read
from rollback.observe.view import View

SIZE_BYTES = 2**30
OURS = "a metric over 1 GiB of JSON lines"
THEIRS = "DuckDB itself, the same question"
BARE = "DuckDB itself, without a window of time"
SQL = "select avg((outcome = 'success')::int), count(*) from log"
DECLARATION = """\
schema: 1
system: {id: bench, title: A large log, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}
root: app
people: {owner: op, roles: {op: {title: Whoever runs it}}, members: [{id: one, roles: [op]}]}
metrics:
  success: {unit: fraction, direction: higher-is-better, window: 3650d,
            source: {query: {file: sessions.jsonl, sql: "SQL", within: 120s}}}
levels:
  look: {rank: 1, title: Look, budgets: {mitigated: 1m, complete: 1m}, data_loss: none,
         authority: {roles: [op], alone: true}, steps: [{command: {argv: [/bin/true]}}]}
"""


def main(rounds: int = 5) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        app = Path(folder, "app")
        app.mkdir()
        file = app / "sessions.jsonl"
        lines = _write(file)
        declaration = Path(folder, "rollback.yaml")
        declaration.write_text(DECLARATION.replace("SQL", SQL), encoding="utf-8")
        view = View(load(declaration), Host())

        def ours() -> None:
            sample = read("success", view)
            assert sample.count == lines, sample

        def theirs(where: str) -> None:
            asked = SQL.replace("log", f"read_json('{file}', format = 'newline_delimited') {where}")
            with duckdb.connect(":memory:", config={"threads": 2}) as bare:
                rows = bare.execute(asked).fetchall()
            assert rows[0][1] == lines, rows

        ours()
        now = datetime.now(UTC)
        begin, end = now - timedelta(days=3650), now + timedelta(minutes=1)
        window = f"where \"at\" > '{begin}' and \"at\" <= '{end}'"
        times = in_turn({
            OURS: lambda: took_s(ours), THEIRS: lambda: took_s(lambda: theirs(window)),
            BARE: lambda: took_s(lambda: theirs("")),
        }, rounds=rounds)  # fmt: skip
    ratio = median(times[OURS]) / median(times[THEIRS])
    return report("log", times, aims={"ratio": "at most 1.3"}, lines=lines,
                  ratio_over_duckdb=round(ratio, 2))  # fmt: skip


def _write(file: Path) -> int:
    """How many lines the file of SIZE_BYTES got."""
    chance, lines, at = random.Random(1), 0, datetime.now(UTC) - timedelta(days=90)
    with file.open("w", encoding="utf-8") as out:
        while out.tell() < SIZE_BYTES:
            for _ in range(10_000):
                at += timedelta(seconds=0.5)
                out.write(json.dumps({
                    "at": iso(at), "event": "SESSION_END", "session": f"s{chance.randrange(10**9)}",
                    "outcome": "success" if chance.random() < 0.95 else "failed",
                    "ms": chance.randrange(1, 5000), "agent": f"agent-{chance.randrange(12)}",
                }) + "\n")  # fmt: skip
            lines += 10_000
    return lines


if __name__ == "__main__":
    main()
