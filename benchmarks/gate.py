"""The smoke gate of 50 declared checks over the same 50 questions as bare pytest functions."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import rollback.kinds  # noqa: F401 - registers every kind
from benchmarks.measure import in_turn, report, took_s
from rollback.declare import load
from rollback.host import Host
from rollback.prove.expect import expectations
from rollback.prove.suite import run_suite

COUNT = 50
HEAD = """\
schema: 1
system: {id: bench, title: Fifty files, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}
root: app
people:
  owner: operator
  roles: {operator: {title: Whoever runs it}}
  members: [{id: an-operator, roles: [operator]}]
levels:
  look:
    rank: 1
    title: Look
    budgets: {mitigated: 1m, complete: 1m}
    data_loss: none
    authority: {roles: [operator], alone: true}
    steps: [{wait: {for: 1s}}]
    gate: {suites: [smoke]}
verification:
  smoke:
"""


def main(rounds: int = 9) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        app = Path(folder, "app")
        app.mkdir()
        for number in range(COUNT):
            (app / f"f{number}.txt").write_text(f"content {number}\n", encoding="utf-8")
        declaration = Path(folder, "rollback.yaml")
        checks = "".join(
            f"    - files: {{id: f{n}, contains: {{f{n}.txt: content {n}}}}}\n"
            for n in range(COUNT)
        )
        declaration.write_text(HEAD + checks, encoding="utf-8")
        bare = Path(folder, "test_bare.py")
        bare.write_text(
            "from pathlib import Path\n"
            + "".join(
                f"def test_f{n}():\n"
                f"    assert 'content {n}' in Path({str(app / f'f{n}.txt')!r}).read_text()\n"
                for n in range(COUNT)
            ),
            encoding="utf-8",
        )
        counter = iter(range(10_000))
        gate = lambda: took_s(lambda: _gate(declaration, Path(folder, f"work{next(counter)}")))  # noqa: E731
        gate()
        pytest = lambda: took_s(lambda: _pytest(bare))  # noqa: E731
        times = in_turn({"smoke gate of 50 declared checks": gate, "bare pytest of 50 functions": pytest},
                        rounds=rounds)  # fmt: skip
    ours, theirs = (sorted(values)[len(values) // 2] for values in times.values())
    return report("gate", times, aims={"more than bare pytest": "at most 1 s"},
                  more_s=round(ours - theirs, 3), ratio=round(ours / theirs, 2))  # fmt: skip


def _gate(declaration: Path, work: Path) -> None:
    work.mkdir(mode=0o700)
    system = load(declaration)
    wanted = expectations(system, "look")
    result = run_suite(
        "smoke", system=system, host=Host(), expectations=wanted, work=work, deadline_s=60.0
    )
    assert result.open, result.reasons
    assert result.passed == COUNT


def _pytest(path: Path) -> None:
    argv = [sys.executable, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(argv, capture_output=True, check=False, cwd=path.parent)
    assert done.returncode == 0, done.stdout.decode()
