"""Ways in which a suite says "well" about a system that is not: each fools an exit status.

Every lie is first shown to a gate that believes exit status 0 of a real pytest, and believed;
then it is told to ours, which stays closed and says why. The honest suite opens both.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.host import Host
from rollback.model.lifecycle import State
from rollback.model.step import SUITES, Suite
from rollback.prove import suite as suites
from rollback.prove.expect import expectations
from rollback.prove.gate import unchanged, witness
from rollback.prove.suite import SuiteResult
from tests.prove.conftest import Little
from tests.systems import Shop, build

HONEST = "def test_well(): assert open(DATA).read() == 'well'\n"
FILE = "verification/smoke/test_team.py"
CONFTEST = "verification/conftest.py"
FINE = "def test_fine(): pass\n"


@dataclass(frozen=True)
class Lie:
    """Files of a suite. `planted` ones are not pinned; `DATA` in them is the path of the data."""

    reason: str
    team: str = HONEST
    conftest: str = ""
    other: str = ""
    planted: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    autoload: bool = False


FLIP = """
    import pytest
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        report.outcome = "passed"
        return report
"""
RERUN = """
    from _pytest.runner import runtestprotocol
    def pytest_runtest_protocol(item, nextitem):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if any(report.failed for report in reports):
            for report in reports:
                report.outcome = "rerun" if report.failed else report.outcome
                item.ihook.pytest_runtest_logreport(report=report)
            item._initrequest()
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        return True
"""
VERDICT = """
    import os, sys
    def argument(name):
        return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else os.devnull
    def test_well():
        with open(argument("--gate-verdict"), "w") as file:
            file.write(WORDS)
        os._exit(0)
"""
WHOLE = (
    '{"format": 1, "nonce": "NONCE", "suite": "smoke", "declaration": "", "exit_status": 0, '
    '"collected": ["x"], "selected": ["x"], "collect_problems": [], "files": {}, '
    '"left_behind": [], "tests": [{"nodeid": "x", "setup": "passed", "call": "passed", '
    '"teardown": "passed", "duration_s": 0.1}]}'
)
EVIL_PLUGIN = """
    def pytest_sessionfinish(session):
        session.exitstatus = 0
"""


def _verdict(words: str) -> str:
    return VERDICT.replace("WORDS", repr(words))


LIES: dict[str, Lie] = {
    # -- tests that do not test --
    "skip": Lie("skipped", "import pytest\n@pytest.mark.skip\n" + HONEST),
    "skip inside": Lie("skipped", "import pytest\ndef test_well(): pytest.skip('later')\n"),
    "skip of one of two": Lie("skipped", FINE + "import pytest\n@pytest.mark.skip\n" + HONEST),
    "expected failure": Lie("expected to fail (skipped)", "import pytest\n@pytest.mark.xfail\n" + HONEST),
    "unexpected pass": Lie("expected to fail (passed)",
                           "import pytest\n@pytest.mark.xfail(strict=False)\n" + FINE),
    "expected failure of unittest": Lie("expected to fail", """
        import unittest
        class TestWell(unittest.TestCase):
            @unittest.expectedFailure
            def test_well(self): assert open(DATA).read() == "well"
        """),
    "no parameters": Lie("not collected", """
        import pytest
        @pytest.mark.parametrize("path", [])
        def test_well(path): assert open(DATA).read() == "well"
        """),
    "module skips itself": Lie("skipped", "import pytest\npytest.skip('no', allow_module_level=True)\n"
                               + HONEST, other=FINE),
    "import or skip": Lie("skipped", "import pytest\npytest.importorskip('nothing_like_it')\n" + HONEST,
                          other=FINE),
    "subtest skipped": Lie("a subtest skipped", """
        import pytest
        def test_well(subtests):
            with subtests.test("data"):
                pytest.skip("later")
        """),
    "returns False": Lie("returned False", """
        import pytest
        @pytest.mark.filterwarnings("ignore")
        def test_well(): return open(DATA).read() == "well"
        """),
    "asserts in a thread": Lie("call failed", """
        import threading
        def check(): assert open(DATA).read() == "well"
        def test_well():
            thread = threading.Thread(target=check)
            thread.start()
            thread.join()
        """),
    "asserts while it is destroyed": Lie("call failed", """
        class Check:
            def __del__(self): assert open(DATA).read() == "well"
        def test_well(): Check()
        """),
    "class that is not collected": Lie("not collected", FINE + textwrap.dedent("""
        class TestWell:
            def __init__(self): pass
            def test_well(self): assert open(DATA).read() == "well"
        """)),
    # -- sessions that end early, or as they like --
    "exits in a test": Lie("without a verdict", "import os\ndef test_well(): os._exit(0)\n"),
    "exits on import": Lie("without a verdict", "import os\nos._exit(0)\n"),
    "pytest.exit": Lie("selected and did not run", """
        import pytest
        def test_fine(): pytest.exit("enough", returncode=0)
        def test_well(): assert open(DATA).read() == "well"
        """),
    "conftest sets the status": Lie("call failed", conftest=EVIL_PLUGIN),
    "exits after the failure": Lie("without a verdict", conftest="""
        import os
        def pytest_runtest_logreport(report):
            if report.failed: os._exit(0)
        """),
    "goes on in the background": Lie("without a verdict", """
        import os, time
        def test_well():
            if os.fork(): os._exit(0)
            time.sleep(600)
        """),
    "drowns its parent": Lie("without a verdict", conftest="""
        import os
        def pytest_unconfigure(config):
            for _ in range(MIB): os.write(1, b"all is well\\n" * 87382)
            os._exit(0)
        def pytest_sessionfinish(session): os._exit(0) if os.fork() == 0 else pytest_unconfigure(None)
        """),
    "killed behind an exit": Lie("without a verdict", """
        import os
        def test_well():
            if os.fork() == 0: os.kill(os.getpid(), 9)
            os._exit(0)
        """),
    # -- collections that leave out --
    "zero tests, and a status that is mended": Lie("no test ran", "x = 1\n", conftest=EVIL_PLUGIN),
    "one file without tests": Lie("no test of the pinned file", "x = 1\n", other=FINE),
    "deselected but for an expected failure": Lie("collected and then deselected", """
        import pytest
        def test_well(): assert open(DATA).read() == "well"
        @pytest.mark.xfail
        def test_known(): assert open(DATA).read() == "well"
        """, conftest="""
        def pytest_collection_modifyitems(config, items):
            config.hook.pytest_deselected(items=items[:1])
            del items[:1]
        """),
    "deselected in silence": Lie("collected and then deselected", FINE + HONEST, conftest="""
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if item.name == "test_fine"]
        """),
    "file ignored": Lie("no test of the pinned file", conftest="collect_ignore = ['smoke/test_team.py']\n",
                        other=FINE),
    "rerun until it passes": Lie("rerun after a failure", """
        tries = []
        def test_well():
            tries.append(1)
            assert len(tries) > 1
        """, conftest=RERUN),
    # -- what surrounds the suite --
    "options in the environment": Lie("call failed", environment={"PYTEST_ADDOPTS": "--collect-only"}),
    "plugin in the environment": Lie("call failed", planted={"evil/liar.py": EVIL_PLUGIN},
        environment={"PYTEST_PLUGINS": "liar", "PYTHONPATH": "evil"}),
    "plugin that is installed": Lie("call failed", autoload=True, environment={"PYTHONPATH": "evil"},
        planted={"evil/liar.py": EVIL_PLUGIN, "evil/liar-1.dist-info/METADATA": "Name: liar\nVersion: 1\n",
                 "evil/liar-1.dist-info/entry_points.txt": "[pytest11]\nliar = liar\n"}),
    "site customised": Lie("call failed", environment={"PYTHONPATH": "evil"},
        planted={"evil/sitecustomize.py": "import os, sys\nif 'pytest' in sys.orig_argv: os._exit(0)\n"}),
    "conftest planted": Lie("call failed", planted={CONFTEST: FLIP}),
    "conftest planted beside the tests": Lie("call failed",
        planted={"verification/smoke/conftest.py": FLIP}),
    "options in a file": Lie("call failed", FINE + HONEST,
        planted={"pytest.ini": "[pytest]\naddopts = -k fine\n"}),
    # -- verdicts that are none --
    "verdict forged": Lie("nonce is wrong", _verdict(WHOLE)),
    "verdict half written": Lie("malformed", _verdict(WHOLE[: len(WHOLE) // 2])),
    "verdict with NaN": Lie("malformed", _verdict(WHOLE.replace("0.1", "NaN"))),
    "verdict with a key twice": Lie("malformed", _verdict(WHOLE.replace("{", '{"format": 1, ', 1))),
    "verdict empty": Lie("malformed", _verdict("")),
}  # fmt: skip


ALL = os.environ.get("GATE_ATTACKS") == "all"  # make drill: each lie in each suite, a whole GiB
TOLD = [(name, suite) for number, name in enumerate(LIES) for index, suite in enumerate(SUITES)
        if ALL or index == number % len(SUITES)]  # fmt: skip


def _write(little: Little, path: str, text: str, *, pin: bool, suite: Suite = "smoke") -> None:
    data = repr(str(little.folder / "app" / "data" / "a.txt"))
    text = textwrap.dedent(text).replace("DATA", data).replace("MIB", "1024" if ALL else "64")
    little.team(path.replace("/smoke/", f"/{suite}/"), text, pin=pin)


def _tell(little: Little, lie: Lie, suite: Suite = "smoke") -> None:
    """The suite stands in the folder of a system that is ill, and lies about it."""
    little.state("ill")
    little.checks = {"smoke": []}
    little.gate = f"suites: [{suite}]"
    _write(little, FILE, lie.team.replace("smoke/", f"{suite}/"), pin=True, suite=suite)
    conftest = lie.conftest.replace("smoke/", f"{suite}/")
    for path, text in ((CONFTEST, conftest), ("verification/smoke/test_other.py", lie.other)):
        if text:
            _write(little, path, text, pin=True, suite=suite)
    for path, text in lie.planted.items():
        _write(little, path, text, pin=False, suite=suite)


def _naive(
    little: Little | Shop, environment: dict[str, str] | None = None, *, autoload: bool = False,
    suite: Suite = "smoke",
) -> int:  # fmt: skip
    """What a gate sees that believes exit statuses."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    given = {**known, **(environment or {}), "PYTHONDONTWRITEBYTECODE": "1"}
    if not autoload:
        given["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"verification/{suite}"],
        cwd=little.folder, env=given, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            return process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # some lies go on in the background


def _refused(result: SuiteResult, reason: str) -> None:
    assert not result.open
    assert any(reason in line for line in result.reasons), result.reasons


@pytest.mark.requirement("MB-71")
@pytest.mark.parametrize(("name", "suite"), TOLD)
def test_a_lie_is_believed_by_its_exit_status_and_not_by_the_gate(
    name: str, suite: Suite, little: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest exits 0 over a system that is ill; the gate stays closed and says why."""
    lie = LIES[name]
    _tell(little, lie, suite)
    environment = {
        key: str(little.folder / value) if key == "PYTHONPATH" else value
        for key, value in lie.environment.items()
    }
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with ThreadPoolExecutor(1) as beside:  # the two gates do not meet: each has its own child
        naive = beside.submit(_naive, little, environment, autoload=lie.autoload, suite=suite)
        result = little.run(suite)
    assert naive.result() == 0
    _refused(result, lie.reason)
    assert len(result.output) <= 2**16


def test_an_honest_suite_opens(little: Little) -> None:
    """The control: the same runner, the same pins, a system that is well, nothing but truth."""
    _tell(little, Lie("", HONEST, conftest="import pytest\n", other=FINE))
    little.state("well")
    little.checks = {"smoke": ["- files: {id: there, contains: {data/a.txt: well}}"]}
    assert _naive(little) == 0
    result = little.run()
    assert (result.open, result.reasons, result.passed) == (True, (), 3)
    assert witness(little.load(), Host()) == ()


def test_an_honest_suite_over_an_ill_system_stays_closed(little: Little) -> None:
    """The other control: truth about a system that is ill is no lie, and does not open."""
    _tell(little, Lie(""))
    assert _naive(little) == 1
    _refused(little.run(), "call failed")


# -- lies that need more than files --------------------------------------------------------


def test_a_suite_edited_after_it_was_pinned_is_not_run(little: Little) -> None:
    """Other bytes than the pinned ones never run."""
    _tell(little, Lie(""))
    trace = little.folder / "ran"
    (little.folder / FILE).write_text(f"open({str(trace)!r}, 'w').close()\n{FINE}")
    assert _naive(little) == 0
    trace.unlink()
    _refused(little.run(), "is not the pinned one")
    assert not trace.exists()


def test_bytecode_planted_beside_the_suite_is_not_run(little: Little) -> None:
    """pytest would run the cached bytecode of another file with the same size and time."""
    truth = HONEST.replace("DATA", repr(str(little.folder / "app" / "data" / "a.txt")))
    _tell(little, Lie("", truth))
    file = little.folder / FILE
    lie = file.with_name("lie.py")
    lie.write_text(FINE.ljust(len(truth) - 1) + "\n")
    os.utime(lie, (1, 1))
    os.utime(file, (1, 1))
    tag = f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}"
    planted = file.parent / "__pycache__" / f"test_team.{tag}.pyc"
    py_compile.compile(str(lie), cfile=str(planted), doraise=True)
    lie.unlink()
    assert _naive(little) == 0
    _refused(little.run(), "call failed")


@pytest.mark.parametrize("whose", ["original", "copy"])
def test_a_suite_that_edits_itself_while_it_runs_is_refused(little: Little, whose: str) -> None:
    """What ran must be what was pinned, before and after."""
    target = repr(str(little.folder / FILE)) if whose == "original" else "__file__"
    _tell(little, Lie("", f"""
        import os
        def test_well():
            os.chmod({target}, 0o600)
            with open({target}, "a") as file: file.write("\\n")
        """))  # fmt: skip
    text = (little.folder / FILE).read_text()
    assert _naive(little) == 0
    (little.folder / FILE).write_text(text)
    _refused(little.run(), "changed while the suite ran")


def test_what_a_suite_leaves_behind_ends_and_closes_the_gate(little: Little) -> None:
    """A daemon in a session of its own is found, named and ended."""
    pid_file = little.folder / "pid"
    starter = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    )
    _tell(little, Lie("", f"""
        import subprocess, sys
        def test_well():
            done = subprocess.run([sys.executable, "-c", {starter!r}], capture_output=True)
            with open({str(pid_file)!r}, "wb") as file: file.write(done.stdout)
        """))  # fmt: skip
    assert _naive(little) == 0
    left = psutil.Process(int(pid_file.read_text()))
    left.kill()
    _refused(little.run(), "left a process behind")
    pid = int(pid_file.read_text())
    assert _soon(lambda: not psutil.pid_exists(pid), 5)


@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        ("hangs", "while True: time.sleep(1)", "did not end within 3 s and was killed"),
        ("is killed", "os.kill(os.getpid(), 9)", "signal 9"),
        ("is stopped", "os.kill(os.getpid(), 19)", "did not end within 3 s and was killed"),
    ],
)
def test_a_suite_that_does_not_end_by_itself_is_refused(
    little: Little, how: str, code: str, reason: str
) -> None:
    """No answer in time, and no answer at all, are not yes."""
    _tell(little, Lie("", f"import os, time\ndef test_well():\n    {code}\n"))
    began = time.monotonic()
    result = little.run(deadline_s=3.0)
    _refused(result, reason)
    _refused(result, "without a verdict")
    assert time.monotonic() - began < 10


def test_a_suite_ends_with_the_gate_that_runs_it(little: Little, tmp_path: Path) -> None:
    """Nobody is left who would keep its deadline: a killed gate leaves no hanging suite."""
    pid_file = tmp_path / "pid"
    _tell(little, Lie("", f"""
        import os, time
        def test_well():
            with open({str(pid_file) + ".new"!r}, "w") as file: file.write(str(os.getpid()))
            os.rename({str(pid_file) + ".new"!r}, {str(pid_file)!r})
            time.sleep(600)
        """))  # fmt: skip
    little.declare()
    code = (
        "import sys, rollback.kinds; from pathlib import Path; from rollback.host import Host\n"
        "from rollback.declare import load; from rollback.prove.suite import run_suite\n"
        "from rollback.prove.expect import expectations; system = load(Path(sys.argv[1]))\n"
        "run_suite('smoke', system=system, host=Host(), work=Path(sys.argv[2]), deadline_s=600,"
        " expectations=expectations(system, 'back'))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(little.file), str(tmp_path)]) as gate:
        try:
            assert _soon(pid_file.exists, 60)
        finally:
            gate.kill()
    pid = int(pid_file.read_text())
    assert _soon(lambda: not psutil.pid_exists(pid), 10)


def _soon(true: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_an_old_verdict_is_another_runs(little: Little, tmp_path: Path) -> None:
    """The verdict of a run that was well, replayed."""
    _tell(little, Lie("", FINE))
    little.state("well")
    first = little.run()
    assert first.open
    kept = shutil.copy(str(first.verdict_path), tmp_path / "kept.json")
    _write(little, FILE, VERDICT.replace("WORDS", f"open({str(kept)!r}).read()"), pin=True)
    assert _naive(little) == 0
    _refused(little.run(), "nonce is wrong")


def _forge(little: Little) -> None:
    """A pinned test of the team that knows everything about our verdict, and lies in it."""
    _write(little, FILE, """
        import hashlib, json, os, sys
        from rollback.prove import record
        def test_well():
            record.Recorder.told = lambda self, report: None
            record.Recorder.tests = lambda self: (record.Outcome(nodeid=next(iter(self.selected)),
                setup="passed", call="passed", teardown="passed"),)
            sys.modules["_pytest.main"].Session.testsfailed = property(lambda s: 0, lambda s, n: None)
            sys.modules["_pytest.runner"].CallInfo.excinfo = None
            assert open(DATA).read() == "well"
        """, pin=True)  # fmt: skip


@pytest.mark.parametrize("asked", [False, True])
def test_a_lie_in_the_plugin_reaches_only_the_teams_own_part(little: Little, asked: bool) -> None:
    """The stated limit: a pinned test may lie about itself, never about declared checks."""
    little.state("ill")
    little.checks = {
        "smoke": ["- files: {id: well, contains: {data/a.txt: well}}"] if asked else []
    }
    _forge(little)
    assert _naive(little) == 0
    result = little.run()
    if not asked:
        assert result.open  # believed: nothing else is asked about the data
    else:
        _refused(result, "check well answered FAIL")
        assert any("check well answered FAIL" in line for line in witness(little.load(), Host()))


def _rewrite(old: str, new: str) -> Callable[[Little], None]:
    def change(little: Little) -> None:
        text = little.file.read_text()
        assert old in text
        little.file.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("how", "change"),
    [
        ("renamed", _rewrite("id: two, contains: {data/a.txt: well}", "id: to, exists: [data]")),
        ("removed", _rewrite("    - files: {id: two, contains: {data/a.txt: well}}\n", "")),
        ("limited to another level", _rewrite("id: two,", "id: two, levels: [other],")),
        ("weakened", _rewrite("contains: {data/a.txt: well}", "exists: [data/a.txt]")),
    ],
)
def test_a_required_check_that_is_gone_is_missed(
    little: Little, how: str, change: Callable[[Little], None]
) -> None:
    """The list of what must hold is the run's, not what the suite happens to find."""
    little.state("ill")
    little.checks = {
        "smoke": ["- files: {id: one, exists: [data/a.txt]}",
                  "- files: {id: two, contains: {data/a.txt: well}}"]
    }  # fmt: skip
    system = little.load()
    change(little)
    ours = Path(suites.__file__).parents[2]
    naive = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
         "--rootdir", str(ours), "-m", "smoke", "--system", str(little.file),
         str(ours / "verification")],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert naive.returncode == 0, naive.stdout
    result = little.run(system=system)
    _refused(result, "check two answered FAIL")  # the child was given the declaration of the run


def test_a_stranger_in_our_own_suites_is_refused(little: Little, tmp_path: Path) -> None:
    """Our suites are pinned by the version; a conftest planted among them stops the gate."""
    ours = tmp_path / "installed"
    shutil.copytree(suites.suites_folder(), ours / "verification")
    (ours / "verification" / "smoke" / "conftest.py").write_text(textwrap.dedent(FLIP))
    pins = {FILE.replace("team", "declared"): ""}
    part = suites._Part("declared", ours, pins, {})
    reasons = suites._run(_order(little, tmp_path), part, 30.0).reasons
    assert any("smoke/conftest.py is not pinned" in line for line in reasons)
    assert any("test_declared.py is not the pinned one" in line for line in reasons)


def _order(little: Little, work: Path) -> suites._Order:
    system = little.load()
    wanted = expectations(system, "back")
    return suites._Order("smoke", system, Host(), wanted, "production", None, None, work, None,
                         "", None, os.environ)  # fmt: skip


def test_what_changes_after_the_suites_is_seen(little: Little) -> None:
    """The suites pass, then the tree changes: the witness and the comparison both see it."""
    little.checks = {"smoke": ["- files: {id: well, contains: {data/a.txt: well}}"]}
    system = little.load()
    assert little.run(system=system).open
    assert witness(system, Host()) == ()
    little.state("ill")
    assert "check well answered FAIL" in witness(system, Host())[0]
    changed = {"data": ["data/a.txt"], "scratch": ["scratch/x"], "trail": ["trail.jsonl"]}
    assert unchanged(system, changed, lambda name: changed[name]) == (
        "data: data/a.txt changed after it was restored",
    )
    assert unchanged(system, changed, lambda name: []) == ()


def test_a_suite_that_edits_what_was_put_back_does_not_complete_the_run(tmp_path: Path) -> None:
    """It passes, and leaves another tree than the one that was restored: no run over it is COMPLETE."""
    shop = build(tmp_path)
    text = (
        f"def test_well(): open({str(shop.tree / 'config' / 'app.yaml')!r}, 'a').write('# me\\n')\n"
    )
    file = shop.folder / FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    pin = hashlib.sha256(text.encode()).hexdigest()
    shop.edit(
        "verification:\n", f"verification:\n  suites:\n    - {{path: {FILE}, sha256: {pin}}}\n"
    )
    with shop.site() as site:
        site.checkpoints.create("good")
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert run.suites["smoke"]["open"] is True
        assert run.state is State.NEEDS_OPERATOR
        assert "config: app.yaml changed after it was restored" in run.reason
    assert _naive(shop) == 0


# -- that none is forgotten ----------------------------------------------------------------

# By what it is: the lies above, and the tests that tell one. Each is believed by an exit status.
KINDS: dict[str, tuple[str, ...]] = {
    "skip": ("skip", "skip inside", "skip of one of two", "module skips itself", "import or skip",
             "subtest skipped"),
    "expected failure": ("expected failure", "unexpected pass", "expected failure of unittest"),
    "no parameters": ("no parameters",),
    "exit inside": ("exits in a test", "exits on import", "exits after the failure", "pytest.exit"),
    "status that is set": ("conftest sets the status",),
    "only collected": ("options in the environment",),
    "deselected": ("deselected in silence", "deselected but for an expected failure", "file ignored"),
    "zero tests": ("zero tests, and a status that is mended", "one file without tests",
                   "class that is not collected"),
    "wrong digest": ("test_a_suite_edited_after_it_was_pinned_is_not_run",
                     "test_bytecode_planted_beside_the_suite_is_not_run",
                     "test_a_stranger_in_our_own_suites_is_refused"),
    "forged report": ("verdict forged", "verdict empty",
                      "test_a_lie_in_the_plugin_reaches_only_the_teams_own_part"),
    "old report": ("test_an_old_verdict_is_another_runs",),
    "half-written report": ("verdict half written", "verdict with a key twice"),
    "NaN": ("verdict with NaN",),
    "conftest": ("conftest planted", "conftest planted beside the tests", "options in a file"),
    "plugin": ("plugin in the environment", "plugin that is installed", "site customised"),
    "killed": ("killed behind an exit", "test_a_suite_that_does_not_end_by_itself_is_refused"),
    "hung": ("goes on in the background",),
    "much output": ("drowns its parent",),
    "daemon": ("test_what_a_suite_leaves_behind_ends_and_closes_the_gate",),
    "edits itself": ("test_a_suite_that_edits_itself_while_it_runs_is_refused",),
    "edits the tree": ("test_a_suite_that_edits_what_was_put_back_does_not_complete_the_run",),
    "tree changes afterwards": ("test_what_changes_after_the_suites_is_seen",),
    "repeats until it passes": ("rerun until it passes",),
    "asserts nothing": ("returns False", "asserts in a thread", "asserts while it is destroyed"),
    "asks less": ("test_a_required_check_that_is_gone_is_missed",),
}  # fmt: skip


def test_no_kind_of_lie_is_forgotten_and_none_is_counted_twice() -> None:
    """Twenty-five kinds, each with its lies; every lie above belongs to one of them."""
    told = [name for names in KINDS.values() for name in names]
    assert len(KINDS) == 25
    assert len(told) == len(set(told)) == 51
    assert {name for name in told if not name.startswith("test_")} == set(LIES)
    assert all(name in globals() for name in told if name.startswith("test_"))
    assert {name for name, _ in TOLD} == set(LIES)
    assert {suite for _, suite in TOLD} == set(SUITES)
