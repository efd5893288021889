"""Runs one suite the way the gate does: a child that can lie about its exit status and gain nothing.

Our own checks and the team's test files are two children: what the team's code does cannot reach
the verdict about the declared checks. Both run from fresh copies of exactly the pinned bytes, so
that neither bytecode, nor a planted conftest, nor an edit during the run has any effect.

Hides: the command line, the environment and the folder of the child.
Never: writes into the managed tree; believes an exit status alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from rollback.declare import secret_values
from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.host.processes import Completed, base_environment, run
from rollback.judge.welcome import unwelcome
from rollback.keep.redact import Redactor
from rollback.model.errors import HostError, RollbackError
from rollback.model.finding import Json
from rollback.model.step import SUITES, Suite
from rollback.model.system import System
from rollback.prove import junit, record
from rollback.prove import verdict as verdicts
from rollback.prove.expect import Expectations, Expected
from rollback.prove.gate import Evidence, judge, tampered, vanished
from rollback.prove.likeness import steady
from rollback.prove.seal import Sealed
from rollback.prove.sight import gate_input
from rollback.prove.verdict import Outcome, Verdict
from rollback.prove.where import FOLDER, suites_folder

HERE = Path(__file__).parent
INI = HERE / "gate.ini"
PINS = HERE / "suites.json"  # what our own suites are in this version
OUTPUT_BYTES_MAX = 2**20
ALLURE, JUNIT = "allure-results", "junit"  # what a run leaves for people, beside its report


@dataclass(frozen=True)
class SuiteResult:
    """How one suite came out. `open` is False unless every proof is there; `reasons` say why not.

    `findings` holds {outcome, evidence, fingerprint, samples, duration_s} by check id, `tests` every
    test, `team` how those of the team came out, by name; `status` is the worst exit status of the
    children; `known_red` are allowed failures that are still red. No text in it
    holds a secret of the declaration.
    """

    suite: Suite
    open: bool
    reasons: tuple[str, ...]
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    duration_s: float = 0.0
    findings: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    known_red: tuple[str, ...] = ()
    tests: tuple[Outcome, ...] = ()
    team: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    verdict_path: Path | None = None
    output: str = ""

    def sealed(self) -> dict[str, Sealed]:
        """The findings as a seal holds them."""
        return {
            key: Sealed.model_validate({
                "suite": self.suite, "answer": one["outcome"], "fingerprint": one["fingerprint"],
                "evidence": one["evidence"], "samples": one["samples"],
                "beyond": one["beyond"],
            })
            for key, one in self.findings.items()
        }  # fmt: skip


@dataclass(frozen=True)
class _Part:
    """One child: which files it runs, and what is wanted of them."""

    name: str
    root: Path
    pinned: Mapping[str, str]
    expected: Mapping[str, Expected]


@dataclass(frozen=True)
class _Order:
    """What is the same for both children."""

    suite: Suite
    system: System
    host: Host
    wanted: Expectations
    environment: str
    since: datetime | None
    held: Mapping[str, Mapping[str, Json]] | None
    work: Path
    allure: Path | None
    run_id: str
    baseline: Path | None
    environ: Mapping[str, str]

    @property
    def hide(self) -> Redactor:
        """What keeps the secrets of the declaration out of everything that is told."""
        secrets = secret_values(self.system, self.environ)
        return Redactor(secrets, keys=self.system.guardrails.redact_keys)


def run_suite(
    suite: Suite, *, system: System, host: Host, expectations: Expectations, work: Path,
    deadline_s: float, environment: str = "production", since: datetime | None = None,
    leaves: Path | None = None, run_id: str = "", level: str | None = None,
    baseline: Path | None = None, held: Mapping[str, Mapping[str, Json]] | None = None,
    environ: Mapping[str, str] | None = None, step: str = "",
) -> SuiteResult:  # fmt: skip
    """The suite has run and ended, with all that it started; whether it opens the gate.

    `work` is a folder outside the managed tree for copies, caches and verdicts; `leaves` is the one
    for what people read, `allure-results/` and `junit/SUITE.xml` (of a `step`: `STEP.SUITE.xml`):
    nothing is decided by these, nor whether they can be written. `baseline` is the file of a seal;
    `held` is what `View.held` is; `environ` are the variables that the declaration was resolved with
    (default: ours). `level` is in `expectations` already. Units: `deadline_s` for the whole suite.
    Raises: CommandFailed when Python cannot be started.
    """
    order = _Order(suite, system, host, expectations, environment, since, held, work,
                   _results_folder(leaves, host), run_id, baseline,
                   os.environ if environ is None else environ)  # fmt: skip
    at, began_s = iso(host.clock.now()), host.clock.boot_s()
    result = _asked(order, deadline_s, began_s)
    if leaves is not None:
        about = {"run": run_id, "level": expectations.level, "environment": environment,
                 "version": system.system.version, "step": step}  # fmt: skip
        junit.write(
            leaves / JUNIT, host, system=system.system.id, suite=suite, step=step, tests=result.tests,
            reasons=result.reasons, duration_s=host.clock.boot_s() - began_s, at=at, about=about,
            hide=order.hide.text,
        )  # fmt: skip
    return result


def _results_folder(leaves: Path | None, host: Host) -> Path | None:
    """Where Allure's results go; None where there is no such folder, and none can be made."""
    if leaves is None:
        return None
    with suppress(OSError, HostError), host.tree(str(leaves)) as tree:
        tree.make_folder(ALLURE)
        return leaves / ALLURE
    return None


def _asked(order: _Order, deadline_s: float, began_s: float) -> SuiteResult:
    suite, clock = order.suite, order.host.clock
    refused = [*_misplaced(order.system), *_not_welcome(order)]
    if refused:
        return SuiteResult(suite, open=False, reasons=tuple(refused))
    results = []
    for part in _parts(order):
        left_s = deadline_s - (clock.boot_s() - began_s)
        results.append(_run(order, part, max(0.0, left_s)))
    if not results:
        reason = f"nothing to ask: no {suite} check is declared for this gate"
        return SuiteResult(suite, open=False, reasons=(reason,))
    return _together(order, results, clock.boot_s() - began_s)


def _misplaced(system: System) -> Iterator[str]:
    """Suite files that the gate could not run where they are said to be."""
    for path in (PurePosixPath(one.path) for one in system.verification.suites):
        if path.is_absolute() or ".." in path.parts:
            yield f"suite file {path} does not lie below the folder of the declaration"
        elif path.name.startswith("test_") and not _suite_of(str(path)):
            yield f"suite file {path} lies in no suite: put it into {FOLDER}/<suite>/"


def _not_welcome(order: _Order) -> Iterator[str]:
    """Checks that would do to this environment what it does not allow."""
    wanted = order.wanted.of(order.suite)
    for check in getattr(order.system.verification, order.suite):
        one = wanted.get(str(getattr(check, "id", "")))
        why = unwelcome(order.system, order.environment, check)
        if one and one.wanted != "absent" and why:
            yield f"{why}: run this suite in another environment"


def _parts(order: _Order) -> Iterator[_Part]:
    expected = order.wanted.of(order.suite)
    if any(one.wanted != "absent" for one in expected.values()):
        pins: dict[str, str] = json.loads(PINS.read_bytes())
        mine = {path: pin for path, pin in pins.items() if _belongs(path, order.suite)}
        yield _Part("declared", suites_folder().parent, mine, expected)
    files = {one.path: one.sha256 for one in order.system.verification.suites}
    if any(_suite_of(path) == order.suite for path in files):
        mine = {path: pin for path, pin in files.items() if _belongs(path, order.suite)}
        yield _Part("team", order.system.declaration.parent, mine, {})


def _suite_of(path: str) -> str:
    parts = PurePosixPath(path).parts
    return next((part for part in parts[:-1] if part in SUITES), "")


def _belongs(path: str, suite: str) -> bool:
    """Files of the suite, and what lies above all suites (a conftest, a package file)."""
    return _suite_of(path) in (suite, "")


# -- one child -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ran:
    reasons: tuple[str, ...]
    ended: Completed | None = None
    verdict: Verdict | None = None
    verdict_path: Path | None = None


def _run(order: _Order, part: _Part, deadline_s: float) -> _Ran:
    before = _found(part, order.suite)
    refused = tuple(tampered(part.pinned, before, before))
    if refused:
        return _Ran(refused)  # nothing runs that is not pinned
    nonce = order.host.token(16)
    folder = order.work / f"{order.suite}-{part.name}-{nonce[:8]}"
    copies = folder / "suite"
    verdict_path = folder / "verdict.json"
    with order.host.tree(str(order.work)) as work:
        _lay_out(work, folder.name, part)
        data = gate_input(order.system, part.expected, order.wanted.level, order.held)
        work.write(f"{folder.name}/input.json", data, sync=False)
    argv = _argv(order, part, nonce, folder)
    ended = run(argv, cwd=str(folder), timeout_s=deadline_s, limit_bytes=OUTPUT_BYTES_MAX,
                environment=_environment(order, folder), tap=order.host.tap)  # fmt: skip
    verdict, problem = None, ""
    try:
        verdict = verdicts.read(verdict_path, order.host)
    except (verdicts.NoVerdict, RollbackError) as error:
        problem = str(error)
    after = _found(part, order.suite)
    ran = record.digests(copies)
    _tidy(order, folder.name)
    changed = {path: pin for path, pin in after.items() if ran.get(path) == pin}
    reasons = judge(Evidence(
        suite=order.suite, nonce=nonce, declaration=order.system.digest, status=ended.status,
        timed_out=ended.timed_out, deadline_s=deadline_s, verdict=verdict,
        problem=problem + _tail(ended) if problem else "", expected=part.expected,
        pinned=part.pinned, before=before, after=changed,
    ))  # fmt: skip
    return _Ran(reasons, ended, verdict, verdict_path)


def _tidy(order: _Order, folder: str) -> None:
    """What tests left in their scratch folders is gone, and nothing else holds a secret.

    The child has taken out those that it knew; it is not given all that we know.
    """
    with suppress(OSError, HostError), order.host.tree(str(order.work)) as work:
        work.remove(f"{folder}/scratch")
    hers = secret_values(order.system, _environment(order, order.work / folder))
    more = Redactor({*secret_values(order.system, order.environ)} - {*hers})
    for place in (order.work / folder, order.allure):
        if place is not None and not more.idle:
            with suppress(OSError, HostError), order.host.tree(str(place)) as tree:
                for name in tree.names():
                    _search(tree, name, more)


def _search(tree: Tree, name: bytes, hide: Redactor) -> None:
    found = tree.stat(name)
    if found is None or not stat.S_ISREG(found.st_mode):
        return
    before = tree.read(name).decode("utf-8", "surrogateescape")
    if (after := hide.text(before)) != before:
        tree.write(name, after.encode("utf-8", "surrogateescape"), sync=False)


def _found(part: _Part, suite: str) -> dict[str, str]:
    """SHA-256 of the pinned files that are there, and of strangers in our own suites."""
    paths = {path for path in part.pinned if (part.root / path).is_file()}
    if part.name == "declared":
        folders = (part.root / FOLDER, part.root / FOLDER / suite)
        paths |= {
            file.relative_to(part.root).as_posix()
            for folder in folders for file in folder.glob("*.py")
        }  # fmt: skip
    return {p: hashlib.sha256((part.root / p).read_bytes()).hexdigest() for p in sorted(paths)}


def _lay_out(work: Tree, folder: str, part: _Part) -> None:
    """A folder with exact copies of the pinned files and nothing else."""
    work.make_folder(folder)
    work.make_folder(f"{folder}/scratch")
    for path in part.pinned:
        place = f"{folder}/suite/{path}"
        work.make_folder(os.path.dirname(place), parents=True)
        work.write(place, (part.root / path).read_bytes(), mode=0o400, sync=False)


def _argv(order: _Order, part: _Part, nonce: str, folder: Path) -> list[str]:
    root = folder / "suite"
    tests = sorted({str(root / os.path.dirname(p)) for p in part.pinned if _suite_of(p)})
    argv = [
        sys.executable, "-I", "-B", "-m", "pytest", "-q", "--no-header", "--tb=short", "-c", str(INI),
        "--rootdir", str(root), "--confcutdir", str(root), "--import-mode=importlib",
        "--basetemp", str(folder / "scratch" / "pytest"), "-p", "no:cacheprovider",
        "-p", "rollback.prove.plugin", "-p", "pytest_timeout",
        "--system", str(order.system.declaration), "--gate-state", str(order.system.state_path),
        "--gate-verdict", str(folder / "verdict.json"), "--gate-nonce", nonce,
        "--gate-suite", order.suite, "--gate-expect", str(folder / "input.json"),
        "--gate-environment", order.environment, "--gate-level", order.wanted.level,
        "--gate-run", order.run_id,
    ]  # fmt: skip
    if part.name == "declared":
        argv.append("--noconftest")
    if order.since is not None:
        argv += ["--gate-since", iso(order.since)]
    if order.baseline is not None:
        argv += ["--gate-baseline", str(order.baseline)]
    if order.allure is not None:
        argv += ["-p", "allure_pytest.plugin", "--alluredir", str(order.allure)]
    return [*argv, *tests]


def _environment(order: _Order, folder: Path) -> dict[str, str]:
    """Ours, and the variables that the declaration names; none that steers Python or pytest."""
    declared = {
        name: order.environ[name] for name in order.system.environment.variables
        if name in order.environ and not _steers(name)
    }  # fmt: skip
    return base_environment(
        {**declared, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TMPDIR": str(folder / "scratch")}
    )


def _steers(name: str) -> bool:
    return name.startswith(("PYTEST_", "LD_", "PYTHON")) and name != "PYTHON"


def _tail(ended: Completed) -> str:
    """The last lines of a child that said nothing in a verdict."""
    text = (ended.stdout[-2000:] + b"\n" + ended.stderr[-2000:]).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(("E ", "ERROR"))]
    return f" ({lines[-1][:200]})" if lines else ""


# -- both children together ------------------------------------------------------------------


def _together(order: _Order, ran: list[_Ran], duration_s: float) -> SuiteResult:
    hide = order.hide.text
    tests = [
        _discreet(test, hide)
        for one in ran if one.verdict is not None for test in one.verdict.tests
    ]  # fmt: skip
    counts = record.counts(tests)
    findings = {test.asked.id: _finding(test) for test in tests if test.asked is not None}
    said = [reason for one in ran for reason in one.reasons]
    said += vanished(order.wanted.tests.get(order.suite, ()), tests)
    reasons = tuple(dict.fromkeys(map(hide, said)))
    statuses = [one.ended.status for one in ran if one.ended is not None]
    known = tuple(
        key for key, one in order.wanted.of(order.suite).items()
        if one.wanted == "known-red" and findings.get(key, {}).get("outcome") == "fail"
    )  # fmt: skip
    output = b"".join(one.ended.stdout + one.ended.stderr for one in ran if one.ended is not None)
    return SuiteResult(
        order.suite, open=not reasons, reasons=reasons, passed=counts["passed"],
        failed=counts["failed"], skipped=counts["skipped"], duration_s=duration_s,
        findings=findings, known_red=known, tests=tuple(tests), team=_team(order.system, tests),
        status=max(statuses, key=abs) if statuses else None,
        verdict_path=next((one.verdict_path for one in ran if one.verdict_path), None),
        output=hide(output[-65536:].decode("utf-8", "replace")),
    )  # fmt: skip


def _team(system: System, tests: Iterable[Outcome]) -> dict[str, str]:
    """How the team's own tests came out, by names that stay; of several with one name, the worst."""
    files = {one.path for one in system.verification.suites}
    found: dict[str, str] = {}
    for test in tests:
        if test.nodeid.partition("::")[0] in files:
            name, passed = steady(test.nodeid), test.plain
            found[name] = "passed" if passed and found.get(name) != "failed" else "failed"
    return found


def _discreet(test: Outcome, hide: Callable[[str], str]) -> Outcome:
    """The same, without the secrets that the child was not given."""
    asked = test.asked
    if asked is not None:
        asked = asked.model_copy(update={"evidence": hide(asked.evidence)})
    told = {"nodeid": hide(test.nodeid), "why": hide(test.why), "asked": asked}
    return test.model_copy(update=told)


def _finding(test: Outcome) -> dict[str, Json]:
    assert test.asked is not None
    samples: dict[str, Json] = {name: list(s) for name, s in test.asked.samples.items()}
    return {
        "outcome": test.asked.answer, "evidence": test.asked.evidence,
        "fingerprint": test.asked.fingerprint, "samples": samples, "duration_s": test.duration_s,
        "beyond": [one.model_dump() for one in test.asked.beyond],
    }  # fmt: skip
