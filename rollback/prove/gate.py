"""The decision: does this evidence open the gate? Closed unless every proof is there.

`judge` is pure and looks at one pytest child; `witness` asks the smoke checks again, in process,
without pytest; `unchanged` looks whether what was restored is still what was restored.

Hides: nothing; every condition is one line here and one mutant in the tests.
Never: opens because something is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from rollback.host import Host
from rollback.model.finding import Json
from rollback.model.quantity import spoken
from rollback.model.registry import Planned
from rollback.model.step import Check
from rollback.model.system import System
from rollback.observe.check import ask
from rollback.observe.view import View
from rollback.prove.expect import (
    Expectations,
    Expected,
    declared,
    expectations,
    shortfall,
)
from rollback.prove.likeness import likeness, steady
from rollback.prove.verdict import Outcome, Verdict

REASONS_MAX = 20
_STATUS = {
    1: "tests failed", 2: "interrupted, or a file that cannot be collected",
    3: "pytest itself failed", 4: "wrong usage", 5: "no tests were collected",
}  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Everything that one child left, and what was wanted of it.

    `pinned` is what each suite file should be, `before` and `after` what it was around the run
    (SHA-256 by path; absent when there is no such file). `problem` says why there is no verdict.
    """

    suite: str
    nonce: str
    declaration: str
    status: int
    timed_out: bool
    deadline_s: float
    verdict: Verdict | None
    problem: str = ""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)


def judge(evidence: Evidence) -> tuple[str, ...]:
    """Why the gate stays closed, one line each; empty when every proof is there."""
    reasons = [*tampered(evidence.pinned, evidence.before, evidence.after)]
    if evidence.timed_out:
        reasons.append(f"the suite did not end within {spoken(evidence.deadline_s)} and was killed")
    if evidence.verdict is None:
        reasons.append(evidence.problem or "the suite ended without a verdict")
    else:
        reasons += _session(evidence, evidence.verdict)
        reasons += _tests(evidence.verdict)
        reasons += _required(evidence.expected, evidence.verdict)
    # Failed tests were named above; any other status says something of its own.
    if evidence.status != 0 and (evidence.status != 1 or not reasons):
        reasons.append(f"pytest ended with {_status(evidence.status)}")
    return tuple(dict.fromkeys(reasons))


def tampered(
    pinned: Mapping[str, str], before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[str]:
    """Suite files that are not, or do not stay, the pinned ones."""
    for path in sorted({*pinned, *before}):
        if path not in pinned:
            yield f"suite file {path} is not pinned"
        elif path not in before:
            yield f"suite file {path} is pinned and is not there"
        elif before[path] != pinned[path]:
            yield (
                f"suite file {path} is not the pinned one "
                f"(pinned {pinned[path][:12]}, found {before[path][:12]})"
            )
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            yield f"suite file {path} changed while the suite ran"


def _session(evidence: Evidence, verdict: Verdict) -> Iterator[str]:
    if verdict.nonce != evidence.nonce:
        yield "the verdict is another run's: its nonce is wrong"
    if verdict.suite != evidence.suite:
        yield f"the verdict is about {verdict.suite}, not {evidence.suite}"
    if verdict.declaration != evidence.declaration:
        yield "the suite read another declaration than the one of this run"
    if verdict.files != evidence.pinned:
        yield "the suite that ran is not the pinned one"
    if verdict.exit_status != 0 and evidence.status == 0:
        yield f"pytest exited 0, but the session ended with {_status(verdict.exit_status)}"
    for problem in verdict.collect_problems:
        yield f"not collected: {problem}"
    for nodeid in sorted({*verdict.collected} - {*verdict.selected}):
        yield f"test {nodeid} was collected and then deselected"
    for path in sorted(evidence.pinned):
        tests = PurePosixPath(path).name.startswith("test_")
        if tests and not any(nodeid.startswith(f"{path}::") for nodeid in verdict.selected):
            yield f"no test of the pinned file {path} was left to run"
    for process in verdict.left_behind:
        yield f"the suite left a process behind: {process}"


def _tests(verdict: Verdict) -> Iterator[str]:
    if not verdict.tests:
        yield "no test ran"
    told = [test.nodeid for test in verdict.tests]
    for nodeid in sorted({nodeid for nodeid in told if told.count(nodeid) > 1}):
        yield f"test {nodeid} is reported more than once"
    for nodeid in sorted({*verdict.selected} - {*told}):
        yield f"test {nodeid} was selected and did not run"
    for nodeid in sorted({*told} - {*verdict.selected}):
        yield f"test {nodeid} ran without being selected"
    for test in verdict.tests:
        if not test.plain:
            yield _not_plain(test)


def _not_plain(test: Outcome) -> str:
    if test.asked is not None and not test.oddities and test.why.startswith("check "):
        return test.why  # the check has said it better; `_required` says the same line
    phases = {"setup": test.setup, "call": test.call, "teardown": test.teardown}
    wrong = [f"{name} {said or 'did not run'}" for name, said in phases.items() if said != "passed"]
    said = "; ".join((*test.oddities, *wrong))
    return f"test {test.nodeid}: {said}" + (f": {test.why}" if test.why else "")


def _required(expected: Mapping[str, Expected], verdict: Verdict) -> Iterator[str]:
    answers = {test.asked.id: test.asked for test in verdict.tests if test.asked is not None}
    for key, one in expected.items():
        asked = answers.get(key)
        if one.wanted == "absent":
            if asked is not None:
                yield f"check {key} ran, wanted absent"
        elif asked is None:
            yield f"required check {key} did not run" + (f": {one.missing}" if one.missing else "")
        elif why := shortfall(one, asked.answer, asked.like, asked.evidence):
            yield why
    for key in sorted({*answers} - {*expected}):
        yield f"check {key} ran and is not in the required list"


def vanished(wanted: Iterable[str], tests: Iterable[Outcome]) -> Iterator[str]:
    """Tests of the team that passed when sealed, and that are not there any more."""
    there = {steady(test.nodeid) for test in tests}
    for name in wanted:
        if name not in there:
            yield (f"test {name} passed when this was sealed and is not there any more: put it back, "
                   "or say so under verification: retired")  # fmt: skip


def _status(status: int) -> str:
    if status < 0:
        return f"signal {-status}"
    return f"status {status}" + (f" ({_STATUS[status]})" if status in _STATUS else "")


# -- the second witness --------------------------------------------------------------------


def witness(
    system: System, host: Host, expectations_: Expectations | None = None,
    since: datetime | None = None, held: Mapping[str, Mapping[str, Json]] | None = None,
    *, environment: str = "production",
) -> tuple[str, ...]:  # fmt: skip
    """Every declared smoke check, asked again without pytest: why the gate stays closed."""
    wanted = expectations_ if expectations_ is not None else expectations(system)
    view = View(system, host, environment=environment, since=since, held=held or {})
    limits = wanted.level
    reasons = []
    for suite, key, check in declared(system):
        limited = check.levels if isinstance(check, Check) else ()
        if suite != "smoke" or (limited and limits not in limited) or isinstance(check, Planned):
            continue
        if any(one.id == key for one in system.verification.retired):
            continue
        expected = wanted.checks.get(key, Expected(key, "smoke", "pass"))
        if expected.wanted == "absent":
            continue
        finding = ask(check, view)
        said = shortfall(expected, finding.answer, likeness(key, finding), finding.evidence)
        if said:
            reasons.append(f"witness: {said}")
    return tuple(reasons)


def unchanged(
    system: System, restored: Iterable[str], changed: Callable[[str], Iterable[str]]
) -> tuple[str, ...]:
    """Paths that changed since they were restored, as reasons; volatile and append-only may.

    `restored` are the components that the plan put back; `changed(component)` names the paths of
    one that differ from what was put there.
    """
    reasons = []
    for name in restored:
        component = system.components[name]
        if component.volatile or component.content == "append-only":
            continue
        reasons += [f"{name}: {path} changed after it was restored" for path in changed(name)]
    if len(reasons) > REASONS_MAX:
        more = len(reasons) - REASONS_MAX
        reasons = [
            *reasons[:REASONS_MAX],
            f"and {more} more paths changed after they were restored",
        ]
    return tuple(reasons)
