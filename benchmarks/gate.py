"""The smoke gate of 50 declared checks over the same 50 questions as bare pytest functions.

The whole gate is what the engine does between MITIGATED and COMPLETE: the suite in a process of its
own, the witness that asks every check again, the look at what was restored, and the journal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import rollback.kinds  # noqa: F401 - registers every kind
from benchmarks.measure import in_turn_with_cpu, report, took_s
from rollback.act import authorize
from rollback.act.engine import advance
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.declare import load
from rollback.host import Host
from rollback.keep.lease import Lease
from rollback.model.lifecycle import State
from rollback.prove.expect import expectations
from rollback.prove.gate import witness
from rollback.prove.suite import run_suite

COUNT = 50
WHOLE = "the whole gate, as the engine asks it"
SUITE = "its smoke suite of 50 declared checks"
WITNESS = "its witness, in process"
BARE = "bare pytest of 50 functions"
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
    steps: [{command: {argv: [/bin/true]}}]
    gate: {suites: [smoke]}
verification:
  smoke:
"""


def main(rounds: int = 9) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        declaration, bare = _written(Path(folder))
        counter = iter(range(10_000))
        system = load(declaration)
        with Site.open(system, Host()) as site:
            works = {
                WHOLE: lambda: _whole(site),
                SUITE: lambda: took_s(lambda: _suite(site, Path(folder, f"work{next(counter)}"))),
                WITNESS: lambda: took_s(lambda: _witness(site)),
                BARE: lambda: took_s(lambda: _pytest(bare)),
            }
            for work in works.values():
                work()  # once without being counted: imports, caches
            times, cpu = in_turn_with_cpu(works, rounds=rounds)
    whole, suite, _, theirs = (median(values) for values in times.values())
    return report("gate", times, aims={"the whole gate more than bare pytest": "at most 1 s"},
                  whole_more_s=round(whole - theirs, 3), whole_ratio=round(whole / theirs, 2),
                  suite_more_s=round(suite - theirs, 3), suite_ratio=round(suite / theirs, 2),
                  whole_more_cpu_s=round(median(cpu[WHOLE]) - median(cpu[BARE]), 3),
                  suite_more_cpu_s=round(median(cpu[SUITE]) - median(cpu[BARE]), 3),
                  checks=COUNT)  # fmt: skip


def _written(folder: Path) -> tuple[Path, Path]:
    """A declaration with the checks, and a test file that asks the same; both are in the folder."""
    app = folder / "app"
    app.mkdir()
    for number in range(COUNT):
        (app / f"f{number}.txt").write_text(f"content {number}\n", encoding="utf-8")
    declaration = folder / "rollback.yaml"
    checks = "".join(
        f"    - files: {{id: f{n}, contains: {{f{n}.txt: content {n}}}}}\n" for n in range(COUNT)
    )
    declaration.write_text(HEAD + checks, encoding="utf-8")
    bare = folder / "test_bare.py"
    bare.write_text(
        "from pathlib import Path\n"
        + "".join(
            f"def test_f{n}():\n"
            f"    assert 'content {n}' in Path({str(app / f'f{n}.txt')!r}).read_text()\n"
            for n in range(COUNT)
        ),
        encoding="utf-8",
    )
    return declaration, bare


def _whole(site: Site) -> float:
    """Seconds of the engine's one transition from MITIGATED to COMPLETE: all that a gate is made of."""
    person = site.system.people.members[0].id
    plan = make_plan(
        site, "look", run=authorize.next_run_id(site), requester=person, reason="bench"
    )
    run = authorize.create(site, plan)
    authorize.approve(site, run, person=person, note="bench")
    with Lease(site.state.tree, site.host, purpose="bench"):
        run = site.run(run.id)
        while run.state is not State.MITIGATED:
            run = advance(site, run)
        began = time.perf_counter()
        run = advance(site, run)
        took = time.perf_counter() - began
    assert run.state is State.COMPLETE, run.reason
    assert run.suites["smoke"]["passed"] == COUNT
    return took


def _suite(site: Site, work: Path) -> None:
    work.mkdir(mode=0o700)
    result = run_suite(
        "smoke", system=site.system, host=site.host, expectations=expectations(site.system, "look"),
        work=work, deadline_s=60.0,
    )  # fmt: skip
    assert result.open, result.reasons
    assert result.passed == COUNT


def _witness(site: Site) -> None:
    assert witness(site.system, site.host, expectations(site.system, "look")) == ()


def _pytest(path: Path) -> None:
    # the extra `openapi` brings a plugin that costs every pytest 0.2 s: the peer is spared it
    argv = [sys.executable, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis",
            str(path)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, check=False, cwd=path.parent)
    assert done.returncode == 0, done.stdout.decode()
