"""The pytest plugin of the suites: declared checks as tests, and a verdict at the very end.

In the gate (`--gate-verdict`) it reports facts to its parent; by hand (`pytest verification -m
smoke --system FILE`) it ends with VERIFIED or NOT VERIFIED. Tests that do not lie in a folder
`verification/<suite>/` are left alone.

Hides: pytest.
Never: decides whether a gate opens; skips.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rollback.model.errors import UsageError
from rollback.prove.discreet import Discreet
from rollback.prove.where import FOLDER, SUITES, suite_of

# Everything else is imported where it is used: this plugin is loaded in sessions without a suite.
if TYPE_CHECKING:
    from rollback.prove.record import Recorder
    from rollback.prove.results import Results
    from rollback.prove.sight import Sight

NOT_VERIFIED = 10  # beside pytest's own 0 to 5
NOTHING = "nothing-declared"
_TIMEOUT_MARGIN_S = 15.0
_PLACES = "rollback-places"  # where tests lie, as a worker tells it
_MEANING = {
    "smoke": "is it up? seconds, read-only", "functional": "does each part do its work?",
    "integration": "do the parts work together?", "performance": "is it as fast as before?",
}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options stand in their own group; none of them is needed by hand but --system."""
    group = parser.getgroup("rollback", "verification of a declared system")
    group.addoption("--system", metavar="FILE", help="the declaration; default: $ROLLBACK_SYSTEM, "
                    "then ./rollback.yaml")  # fmt: skip
    group.addoption("--run", metavar="RUN", default="", help="ask as the gate of this run does (last: the "
                    "newest): its level, environment and baseline, logs since its mitigation")  # fmt: skip
    group.addoption("--baseline", metavar="SEAL", help="a seal to compare with: its file, its id, or "
                    "the checkpoint that was sealed")  # fmt: skip
    group.addoption("--gate-level", default="", help="ask what the gate of this level asks")
    group.addoption("--gate-environment", default="production", help="which environment is asked")
    group.addoption("--gate-since", help="ISO 8601 time from which logs are read")
    group.addoption("--gate-baseline", metavar="FILE", help="set by the gate itself")
    group.addoption("--gate-state", metavar="DIR", help="where the tool keeps its state")
    for name in ("verdict", "nonce", "suite", "expect", "run"):
        group.addoption(f"--gate-{name}", default="" if name != "expect" else None,
                        help="set by the gate itself")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """One `Proof` listens to this session."""
    for suite in SUITES:
        config.addinivalue_line("markers", f"{suite}: {_MEANING[suite]}")
    if _only(config) == "smoke" and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("smoke checks take longer in parallel: leave out -n")
    config.pluginmanager.import_plugin("rollback.prove.fixtures")
    proof = Proof(config)
    config.stash[PROOF] = proof
    config.pluginmanager.register(proof, "rollback-proof")
    if proof.in_gate:
        from rollback.prove import orphans

        orphans.adopt()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m smoke` imports no other suite: one that cannot be imported must not stand in its way."""
    only = _only(config)
    other = only and collection_path.name in SUITES and collection_path.name != only
    return True if other and collection_path.parent.name == FOLDER else None


def _only(config: pytest.Config) -> str:
    """The suite of a plain `-m SUITE`; an expression of several words collects everything."""
    expression = str(getattr(config.option, "markexpr", "") or "").strip()
    return expression if expression in SUITES else ""


class Proof:
    """Listens to one session, from collection to the last report."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._sight: Sight | None = None
        self._reasons: tuple[str, ...] = ()
        self._usage = ""
        self._paths: dict[str, Path] = {}
        self._heard: list[
            Callable[[], None]
        ] = []  # of workers, until they say where their tests lie
        self._recorder: Recorder | None = None
        self._results: Results | None = None
        self._discreet = Discreet(self.sight)
        self.in_gate = bool(config.getoption("gate_verdict"))
        self._controller = not hasattr(config, "workerinput")

    @property
    def recorder(self) -> Recorder:
        """What was seen so far."""
        if self._recorder is None:
            from rollback.prove.record import Recorder

            self._recorder = Recorder()
        return self._recorder

    def sight(self) -> Sight:
        """What this session knows of the system. Raises: UsageError."""
        if self._sight is None:
            from rollback.prove.sight import Wish, look

            option = self._config.getoption
            self._sight = look(Wish(
                system=option("system"), state=option("gate_state"), level=option("gate_level"),
                expect=option("gate_expect"), since=option("gate_since"),
                baseline=option("gate_baseline") or option("baseline"),
                environment=option("gate_environment"), run=option("run"),
            ))  # fmt: skip
        return self._sight

    # -- collecting --

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each declared check of the suite."""
        suite = suite_of(metafunc.definition.path)
        if suite and "host" in metafunc.fixturenames and (hosts := self._hosts()):
            metafunc.parametrize("host", hosts, indirect=True, scope="session")
        if not suite or "declared" not in metafunc.fixturenames:
            return
        try:
            ids = self.sight().asked_in(suite)
        except UsageError as error:
            self._usage, ids = str(error), []
        metafunc.parametrize("declared", ids or [NOTHING], indirect=True)

    def _hosts(self) -> list[str]:
        try:
            return list(self.sight().system.hosts)
        except UsageError as error:
            self._usage = str(error)
            return []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Every test that was found, before anybody deselects it."""
        if suite_of(item.path):
            self._discreet.name(item)
            # A node id is relative to whatever was named, not always to the root.
            self._paths[item.nodeid] = item.path.resolve()
        if self._ours(item.nodeid) and _check_of(item) != NOTHING:
            self.recorder.found([item.nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Marks come from folders; a declared check is given the time that it declares."""
        items[:] = [item for item in items if _check_of(item) != NOTHING or self._usage]
        for item in items:
            suite = suite_of(item.path)
            if not suite:
                continue
            self._need_system()
            foreign = [s for s in SUITES if s != suite and item.get_closest_marker(s)]
            if foreign:
                raise pytest.UsageError(
                    f"{item.nodeid} is marked {foreign[0]} and lies in {suite}/"
                )
            unknown = {mark.name for mark in item.iter_markers()} - self._marks()
            if unknown:
                raise pytest.UsageError(
                    f"{item.nodeid} has a mark that nobody registered: {min(unknown)} (pytest --markers)"
                )
            item.add_marker(suite)
            check = _check_of(item)
            if check and self._timeouts():
                from rollback.observe.check import deadline_s

                allowed_s = deadline_s(self.sight().checks[check]) + _TIMEOUT_MARGIN_S
                item.add_marker(pytest.mark.timeout(allowed_s, method="signal"))

    def _marks(self) -> set[str]:
        lines = self._config.getini("markers")
        return {re.split(r"[:(]", line, maxsplit=1)[0].strip() for line in lines}

    def _need_system(self) -> None:
        try:
            if not self._usage:
                self.sight()
        except UsageError as error:
            self._usage = str(error)
        if self._usage:
            raise pytest.UsageError(self._usage)

    def _timeouts(self) -> bool:
        has = self._config.pluginmanager.hasplugin
        return has("timeout") or has("pytest_timeout")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """What is left to run, and the files as they are now that they were imported."""
        mine = [item.nodeid for item in session.items if self._ours(item.nodeid)]
        if mine:
            self.recorder.chosen(mine)
        if not self._controller:
            places = {nodeid: str(path) for nodeid, path in self._paths.items()}
            self._config.workeroutput[_PLACES] = places  # type: ignore[attr-defined] # of xdist
        if self.in_gate:
            from rollback.prove.record import digests

            self.recorder.files = digests(self._config.rootpath)
        folder = self._config.getoption("allure_report_dir", None)
        if folder and mine and self._sight is not None:
            from rollback.prove.results import Results

            self._results = Results.take_over(Path(folder).absolute(), self._sight)
            self._results.expect(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Iterable[str]) -> None:
        """Workers collect; the controller hears what."""

        def listed() -> None:
            mine = [nodeid for nodeid in ids if self._ours(nodeid)]
            if mine:
                self.recorder.found(mine)
                self.recorder.chosen(mine)

        self._heard.append(listed)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker has ended: where its tests lie cannot be told from what they are called."""
        places = getattr(node, "workeroutput", {}).get(_PLACES, {})
        self._paths.update({nodeid: Path(place) for nodeid, place in places.items()})

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that failed, or skipped itself."""
        if self._ours(report.nodeid):
            self._discreet.report(report)
            self.recorder.not_collected(report)

    def _ours(self, nodeid: str) -> bool:
        return self.in_gate or nodeid in self._paths or bool(suite_of(self._place(nodeid)))

    def _place(self, nodeid: str) -> Path:
        """The file of a test; of one that a worker collected, by its node id."""
        return self._paths.get(nodeid) or (self._config.rootpath / nodeid.split("::")[0]).resolve()

    # -- running --

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
        """A test that returns something instead of asserting it fails, whatever its warnings say."""
        tested = pyfuncitem.obj
        if self._ours(pyfuncitem.nodeid) and not inspect.iscoroutinefunction(tested):
            pyfuncitem.obj = _asserting(tested)
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """What is reported from now on is about this test."""
        if self._results is not None:
            self._results.begin(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test; whoever hears of it after us hears no secret."""
        if hasattr(report, "node"):  # a worker's, which has heard it before
            self._heard.append(lambda: self._tell(report))
        else:
            self._tell(report)

    def _tell(self, report: pytest.TestReport) -> None:
        if self._ours(report.nodeid):
            self._discreet.report(report)
            self.recorder.told(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        """A warning is shown at the end, too."""
        if self._paths:
            self._discreet.warning(warning_message)

    # -- the end --

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """After everybody else: the verdict, or by hand the exit status."""
        result = yield
        if self._results is not None:
            self._results.hand_back()
        if not self._controller:
            return result
        if self.in_gate:
            self._testify(int(session.exitstatus))
        elif self._reasons and int(session.exitstatus) == 0:
            session.exitstatus = NOT_VERIFIED
        folder = self._config.getoption("allure_report_dir", None)
        if folder and self._sight is not None and Path(folder).is_dir():
            from rollback.host import Host
            from rollback.prove import allure

            option = self._config.getoption
            facts = {"Environment": option("gate_environment"), "Run": option("gate_run"),
                     "Level": option("gate_level")}  # fmt: skip
            allure.describe(Path(folder).absolute(), Host(), self._sight.system, facts)
        return result

    def _testify(self, exit_status: int) -> None:
        from rollback.host import Host
        from rollback.prove import orphans
        from rollback.prove import verdict as verdicts

        option = self._config.getoption
        self.recorder.left_behind = orphans.end_all()
        declaration = self._sight.system.digest if self._sight is not None else ""
        verdict = self.recorder.verdict(
            nonce=option("gate_nonce"), suite=option("gate_suite"), declaration=declaration,
            exit_status=exit_status,
        )  # fmt: skip
        verdicts.write(Path(option("gate_verdict")), verdict, Host())

    def pytest_report_collectionfinish(self) -> str | list[str]:
        """Which system is asked."""
        if self._sight is None or self.in_gate:
            return []
        system = self._sight.system
        return f"system: {system.system.title} {system.system.version} ({system.declaration})"

    def _unlike_the_gate(self, suites: Iterable[str]) -> Iterator[str]:
        """What a gate would run of a team's own tests, and this session did not, or not as pinned."""
        from rollback.prove.record import digest

        system = self.sight().system
        asked = {self._place(nodeid) for nodeid in self.recorder.selected}
        for one in system.verification.suites:
            path = system.declaration.parent / one.path
            if suite_of(path) not in suites:
                continue
            found = digest(path)
            if found != one.sha256:
                is_ = f"found {found[:12]}" if found else "it is not there"
                yield f"suite file {one.path} is not the pinned one (pinned {one.sha256[:12]}, {is_})"
            elif path.name.startswith("test_") and path.resolve() not in asked:
                yield f"suite file {one.path} is pinned and was not asked: name {path.parent} too"

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """One line that says it, and the reasons below."""
        while self._heard:
            self._heard.pop(0)()
        if self._recorder is None:
            return
        found = {suite_of(self._place(nodeid)) for nodeid in self.recorder.collected}
        suites = [suite for suite in SUITES if suite in found]
        if self.in_gate or not suites or int(exitstatus) == pytest.ExitCode.USAGE_ERROR:
            return
        from rollback.model.quantity import counted
        from rollback.prove.gate import REASONS_MAX, Evidence, judge

        try:
            wanted = self.sight().wanted
        except UsageError:
            return
        verdict = self.recorder.verdict(nonce="", suite="", declaration="", exit_status=exitstatus)
        expected = {key: one for s in suites for key, one in wanted.of(s).items()}
        said_ = judge(Evidence("", "", "", int(exitstatus), False, 0.0, verdict, expected=expected))
        self._reasons = (*self._unlike_the_gate(suites), *said_)
        name = self.sight().system.system
        told = f"{name.title} {name.version}: {', '.join(suites)}, tests: {len(verdict.tests)}"
        said = "NOT VERIFIED" if self._reasons else "VERIFIED"
        red = sum(one.known_red for one in verdict.tests)
        if red and not self._reasons:
            said = f"VERIFIED with {counted(red, 'known failure')}"
        terminalreporter.write_sep("=", f"{said}  {told}", red=bool(self._reasons),
                                   green=not self._reasons, bold=True)  # fmt: skip
        for suite in suites:
            mine = [one for one in verdict.tests if suite_of(self._place(one.nodeid)) == suite]
            took_s = sum(one.duration_s for one in mine)
            terminalreporter.write_line(f"  {suite:<12}{took_s:8.2f} s  {_counted(mine)}")
        for reason in self._reasons[:REASONS_MAX]:
            terminalreporter.write_line(f"  {reason}")
        if len(self._reasons) > REASONS_MAX:
            terminalreporter.write_line(f"  and {len(self._reasons) - REASONS_MAX} more")


PROOF = pytest.StashKey[Proof]()


def _counted(tests: list[Any]) -> str:
    """How the tests of one suite came out."""
    from rollback.prove.record import counts

    found = [f"{count} {word}" for word, count in counts(tests).items() if count]
    return ", ".join(found) or "nothing ran"


def _check_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("declared", "")) if callspec is not None else ""


def _asserting(tested: Callable[..., Any]) -> Callable[..., None]:
    def assert_nothing_returned(**arguments: Any) -> None:
        __tracebackhide__ = True
        returned = tested(**arguments)
        assert returned is None, f"the test returned {returned!r:.80} instead of asserting it"

    return assert_nothing_returned
