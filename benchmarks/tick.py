"""Twenty triggers over ten metrics: reading, judging and journalling once; and the judgement alone.

Each metric is a program that prints a number, so reading starts ten processes, two or more at a time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import rollback.kinds  # noqa: F401 - registers every kind
from benchmarks.measure import in_turn, report, took_s
from rollback.act import eyes
from rollback.act.deciding import decide_now, known
from rollback.act.site import Site
from rollback.declare import load
from rollback.host import Host
from rollback.judge.decision import decide
from rollback.observe.metric import read_all

METRICS, TRIGGERS, REPEATS = 10, 20, 200
WHOLE, READING, ALONE = "read, judged and journalled", "reading alone", "judging alone"
DECLARATION = """\
schema: 1
system: {id: bench, title: Twenty triggers, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}
root: app
people: {owner: op, roles: {op: {title: Whoever runs it}}, members: [{id: one, roles: [op]}]}
levels:
  look: {rank: 1, title: Look, budgets: {mitigated: 1m, complete: 1m}, data_loss: none,
         authority: {roles: [op], alone: true}, steps: [{command: {argv: [/bin/true]}}]}
metrics:
"""


def main(rounds: int = 9) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        Path(folder, "app").mkdir()
        declaration = Path(folder, "rollback.yaml")
        declaration.write_text(DECLARATION + _rules(), encoding="utf-8")
        with Site.open(load(declaration), Host()) as site:
            samples = read_all(eyes.of(site))
            told = known(site, samples, {})
            assert decide(site.system, told).respond == "hold"

            def alone() -> float:
                return took_s(lambda: [decide(site.system, told) for _ in range(REPEATS)]) / REPEATS

            times = in_turn({
                WHOLE: lambda: took_s(lambda: decide_now(site)),
                READING: lambda: took_s(lambda: read_all(eyes.of(site))), ALONE: alone,
            }, rounds=rounds)  # fmt: skip
    return report("tick", times, aims={"judging alone": "under 1 ms"}, metrics=METRICS, triggers=TRIGGERS,
                  judging_alone_ms=round(median(times[ALONE]) * 1000, 3))  # fmt: skip


def _rules() -> str:
    lines = [f'  m{n}: {{unit: count, source: {{command: {{argv: [/bin/echo, "{n}"], number: stdout}}}}}}'
             for n in range(METRICS)]  # fmt: skip
    lines.append("triggers:")
    for n in range(TRIGGERS):
        when = (f"metric: m{n % METRICS}, above: 100" if n % 2 else
                f"all: [{{metric: m{n % METRICS}, above: 50, for: 5m}}, "
                f"{{not: {{metric: m{(n + 1) % METRICS}, below: 1}}}}]")  # fmt: skip
        lines.append(f"  - {{id: t{n}, when: {{{when}}}, respond: {{roll_back: look}}}}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
