"""`pytest verification -m smoke --system FILE`: the same suites, started by a person."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rollback.act.site import Site
from rollback.host import Host
from rollback.host.clock import parse_iso
from rollback.model.errors import UsageError
from rollback.model.system import System
from rollback.prove import plugin
from rollback.prove import seal as seals
from rollback.prove import suite as suites
from rollback.prove.seal import Seal, Sealed
from rollback.prove.sight import Wish, look
from tests.prove.conftest import Little

OURS = suites.suites_folder()
FILES = "- files: {{id: {}, exists: [{}]{}}}"


def by_hand(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest over our suites, as typed by a person in the folder `cwd`."""
    known = {k: v for k, v in os.environ.items() if k not in ("ROLLBACK_SYSTEM", "PYTEST_ADDOPTS")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c",
         str(suites.INI), "--rootdir", str(OURS.parent), "--import-mode=importlib", *arguments],
        cwd=cwd, env={**known, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_system_that_is_well_is_verified(little: Little) -> None:
    """One line says it; the ids of the checks are the names of the tests."""
    little.declare()
    done = by_hand(str(OURS), "-v", "-m", "smoke", "--system", str(little.file), cwd=little.folder)
    assert done.returncode == 0, done.stdout
    assert "VERIFIED  Little 1.0: smoke" in done.stdout
    assert "NOT VERIFIED" not in done.stdout
    assert "test_declared[there] PASSED" in done.stdout
    assert re.search(r"^  smoke +\d+\.\d\d s  1 passed$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("way", ["variable", "folder"])
def test_the_system_is_found_as_everywhere(little: Little, way: str) -> None:
    """$ROLLBACK_SYSTEM, then ./rollback.yaml."""
    little.declare()
    environment = {"ROLLBACK_SYSTEM": str(little.file)} if way == "variable" else {}
    cwd = little.folder.parent if way == "variable" else little.folder
    done = by_hand(str(OURS), "-m", "smoke", cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("-m", "smoke"), (), ("-m", "smoke", "--system", "no.yaml")])
def test_no_system_is_wrong_usage_and_never_a_skip(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """Exit status 4, one line that says what to type."""
    done = by_hand(str(OURS), *arguments, cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 1
    assert said[0].startswith("ERROR: no system" if "--system" not in arguments else "ERROR: the")


def test_a_wrong_declaration_says_every_problem(little: Little) -> None:
    """As `rollback validate` would."""
    little.checks = {"smoke": ["- fils: {id: one}", "- files: {id: two, existss: [x]}"]}
    done = by_hand(str(OURS), "--system", str(little.declare()), cwd=little.folder)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "fils" in done.stderr
    assert "existss" in done.stderr


def test_what_fails_is_said_with_its_evidence(little: Little) -> None:
    """NOT VERIFIED, and one line for each reason."""
    little.checks["smoke"].append(FILES.format("gone", "data/b.txt", ""))
    little.declare()
    done = by_hand(str(OURS), "-m", "smoke", "--system", str(little.file), cwd=little.folder)
    assert done.returncode == 1
    assert "NOT VERIFIED" in done.stdout
    assert "\n  check gone answered FAIL, wanted pass: data/b.txt is missing\n" in done.stdout


def test_a_part_of_a_suite_is_not_the_suite(little: Little) -> None:
    """`-k` leaves out required checks: everything passed, and nothing is verified."""
    little.checks["smoke"].append(FILES.format("also", "data", ""))
    little.declare()
    done = by_hand(str(OURS), "-m", "smoke", "-k", "there", "--system", str(little.file),
                   cwd=little.folder)  # fmt: skip
    assert done.returncode == 10
    assert "required check also did not run" in done.stdout


def test_checks_of_a_level_are_asked_for_that_level(little: Little) -> None:
    """Limited checks are not collected, unless their level is named."""
    little.checks["smoke"].append(FILES.format("limited", "data", ", levels: [back]"))
    little.declare()
    arguments = (str(OURS), "-v", "-m", "smoke", "--system", str(little.file))
    assert "limited" not in by_hand(*arguments, cwd=little.folder).stdout
    asked = by_hand(*arguments, "--gate-level", "back", cwd=little.folder)
    assert "test_declared[limited] PASSED" in asked.stdout
    wrong = by_hand(*arguments, "--gate-level", "bakc", cwd=little.folder)
    assert wrong.returncode == pytest.ExitCode.USAGE_ERROR


def test_smoke_does_not_wait_for_the_other_suites(little: Little) -> None:
    """`-m smoke` imports no other suite: a broken one cannot stand in its way."""
    little.declare()
    for suite in ("functional", "performance"):
        little.team(f"verification/{suite}/test_team.py", "import nothing_like_this\n")
    little.team(
        "verification/smoke/test_team.py", "def test_fine(system): assert system.system.id\n"
    )
    arguments = ("-p", "rollback.prove.plugin", "--system", str(little.file), "--rootdir",
                 str(little.folder), str(little.folder / "verification"))  # fmt: skip
    done = by_hand(*arguments, "-m", "smoke", cwd=little.folder)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert by_hand(*arguments, cwd=little.folder).returncode != 0


def test_a_mark_of_another_suite_is_wrong_usage(little: Little) -> None:
    """A test marked smoke in functional/ would silently be left out of smoke."""
    little.declare()
    little.team("verification/functional/test_team.py",
                "import pytest\n@pytest.mark.smoke\ndef test_fine(): pass\n")  # fmt: skip
    done = by_hand("-p", "rollback.prove.plugin", "--system", str(little.file), "--rootdir",
                   str(little.folder), str(little.folder / "verification"), cwd=little.folder)  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "is marked smoke and lies in functional/" in done.stderr


def test_a_mark_that_nobody_registered_is_wrong_usage(little: Little) -> None:
    """A typo in a mark would silently leave a test out, whatever the team's own settings say."""
    little.declare()
    little.team("verification/smoke/test_team.py",
                "import pytest\n@pytest.mark.smoek\ndef test_fine(): pass\n")  # fmt: skip
    (little.folder / "pytest.ini").write_text("[pytest]\n")
    done = by_hand("-p", "rollback.prove.plugin", "--system", str(little.file), "-c", "pytest.ini",
                   "--rootdir", str(little.folder), "verification", cwd=little.folder)  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "nobody registered: smoek" in done.stderr


def test_what_failed_last_is_asked_alone_and_proves_nothing_by_itself(little: Little) -> None:
    """`--lf` is for who mends: the whole suite has to be asked again."""
    little.checks["smoke"].append(FILES.format("later", "data/b.txt", ""))
    little.declare()
    arguments = (str(OURS), "-p", "cacheprovider", "-o", f"cache_dir={little.folder / 'cache'}", "-v",
                 "-m", "smoke", "--system", str(little.file))  # fmt: skip
    assert by_hand(*arguments, cwd=little.folder).returncode == 1
    (little.folder / "app" / "data" / "b.txt").write_text("")
    done = by_hand(*arguments, "--lf", cwd=little.folder)
    assert "test_declared[later] PASSED" in done.stdout
    assert "test_declared[there]" not in done.stdout
    assert done.returncode == 10
    assert "required check there did not run" in done.stdout


@pytest.mark.long
def test_two_suites_may_run_side_by_side(little: Little) -> None:
    """`-n 2 --dist loadfile`: each file whole in one worker; the end says the same."""
    little.checks = {"functional": [FILES.format("one", "data", ""), FILES.format("gone", "data/b", "")],
                     "integration": [FILES.format("two", "data", "")]}  # fmt: skip
    little.declare()
    done = by_hand(str(OURS), "-p", "xdist.plugin", "-n", "2", "--dist", "loadfile", "-m",
                   "functional or integration", "--system", str(little.file), cwd=little.folder)  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT VERIFIED  Little 1.0: functional, integration, tests: 3" in done.stdout
    assert "check gone answered FAIL" in done.stdout
    assert re.search(r"^  functional .* s  1 passed, 1 failed$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("named", "workers"),
    [("verification", ()), ("verification/functional/test_team.py", ()),
     ("verification/functional", ("-p", "xdist.plugin", "-n", "2"))],
)  # fmt: skip
def test_a_team_suite_outside_of_the_rootdir_was_asked(
    little: Little, named: str, workers: tuple[str, ...]
) -> None:
    """Its tests are known by where they lie, however they are called; one process or several."""
    little.checks = {"functional": [FILES.format("one", "data", "")]}
    little.team("verification/functional/test_team.py", "def test_well(): assert 1\n")
    little.declare()
    arguments = (str(OURS), str(little.folder / named), *workers, "-m", "functional", "--system",
                 str(little.file))  # fmt: skip
    done = by_hand(*arguments, cwd=little.folder)
    assert "== VERIFIED  Little 1.0: functional, tests: 2" in done.stdout, done.stdout + done.stderr
    assert re.search(r"^  functional .* s  2 passed$", done.stdout, re.MULTILINE), done.stdout
    assert done.returncode == 0
    # other bytes in the same second need another size: pytest keeps bytecode by both
    little.team("verification/functional/test_team.py", "def test_well(): assert not 1\n")
    little.declare()
    done = by_hand(*arguments, cwd=little.folder)
    assert "NOT VERIFIED  Little 1.0: functional, tests: 2" in done.stdout
    assert "test_well: call failed" in done.stdout
    done = by_hand(str(OURS), *arguments[2:], cwd=little.folder)
    assert "is pinned and was not asked: name" in done.stdout


def test_marks_and_fixtures_are_explained(little: Little) -> None:
    """One line each, in words of the product."""
    named = ("-p", "rollback.prove.plugin", str(OURS))
    marks = by_hand(*named, "--markers", cwd=little.folder).stdout
    for suite, meaning in plugin._MEANING.items():
        assert f"@pytest.mark.{suite}: {meaning}" in marks
    fixtures = by_hand(
        *named, "--fixtures", "--system", str(little.declare()), cwd=little.folder
    ).stdout
    for name in ("system", "component", "service", "http", "host", "baseline", "flag", "log"):
        found = re.search(rf"^{name}\b.*\n    (\S.*)$", fixtures, re.MULTILINE)
        assert found, (name, fixtures)


def _past(little: Little) -> tuple[System, Seal, str]:
    """A run of level `back` that is mitigated, and the seal of what it went back to."""
    system = little.load()
    with Site.open(system, Host()) as site:
        made = site.checkpoints.create("good")
        told = {"there": Sealed(suite="smoke", answer="pass", samples={"ms": (1.0, 2.0)})}
        seal = seals.make(told, belongs_to={"checkpoint": made.id}, at="2026-11-20T00:00:00Z")
        seals.save(site.state.tree, seal)
        plan: dict[str, Any] = {"level": "back", "environment": "production", "gate": {},
                                "target": {"source": "checkpoint", "id": made.id}}  # fmt: skip
        body = {"plan": plan, "plan_digest": "0", "incident": "i0001"}
        site.journal.append("run.planned", run="r0001", data=body)
        for kind in ("run.authorized", "run.protected", "run.started", "run.mitigated"):
            site.journal.append(kind, run="r0001", data={})
        return system, seal, site.run("r0001").moments["run.mitigated"][2]


def test_a_run_is_asked_about_as_its_gate_does(little: Little) -> None:
    """Its level's checks, logs since its mitigation, compared with what it went back to."""
    little.checks["smoke"].append(FILES.format("limited", "data", ", levels: [back]"))
    _, seal, since = _past(little)
    for name in ("r0001", "last"):
        found = look(Wish(system=str(little.file), run=name))
        assert set(found.wanted.checks) == {"there", "limited"}
        assert found.view.since == parse_iso(since)
        assert found.view.baseline == seal.samples
    assert look(Wish(system=str(little.file), run="last", level="other")).wanted.level == "other"
    done = by_hand(str(OURS), "-m", "smoke", "--system", str(little.file), "--run", "r0009",
                   cwd=little.folder)  # fmt: skip
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "there is no run r0009" in done.stderr


def test_a_baseline_is_named_by_file_seal_or_checkpoint(little: Little) -> None:
    """All of them are the same one; without it there is none, and one that is not there is refused."""
    system, seal, _ = _past(little)
    checkpoint = seal.belongs_to["checkpoint"]
    file = system.state_path / seals.path(seal.id)
    for name in (str(file), seal.id, "good", checkpoint):
        assert look(Wish(system=str(little.file), baseline=name)).view.baseline == seal.samples
    assert look(Wish(system=str(little.file))).view.baseline == {}
    with pytest.raises(UsageError, match="there is no seal better"):
        look(Wish(system=str(little.file), baseline="better"))


def test_all_suites_at_once(little: Little) -> None:
    """Suites without a declared check are simply not there."""
    little.checks = {"smoke": [FILES.format("one", "data", "")],
                     "integration": [FILES.format("two", "data", "")]}  # fmt: skip
    little.declare()
    done = by_hand(str(OURS), "--system", str(little.file), cwd=little.folder)
    assert done.returncode == 0, done.stdout
    assert "VERIFIED  Little 1.0: smoke, integration, tests: 2" in done.stdout


@pytest.mark.parametrize("arguments", [("verification",), (".",), ("--pyargs", "verification")])
def test_the_suites_run_where_they_are_installed(
    little: Little, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """By path, from above, or by name of the package; no file of a checkout around them."""
    little.declare()
    site = tmp_path / "site"
    shutil.copytree(OURS, site / "verification", ignore=shutil.ignore_patterns("__pycache__"))
    named = ("-p", "rollback.prove.plugin") if "verification" != arguments[0] else ()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *named, *arguments, "-m", "smoke",
         "--system", str(little.file)],
        cwd=site, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, text=True,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIED  Little 1.0: smoke, tests: 1" in done.stdout


def test_our_suites_are_the_pinned_ones() -> None:
    """`suites.json` is what the gate compares with; a change of a suite changes it too."""
    found = {
        path.relative_to(OURS.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(OURS.rglob("*.py"))
    }
    assert json.loads(suites.PINS.read_text()) == found, json.dumps(found, indent=2)


def test_the_suites_name_no_system() -> None:
    """What is asked stands in the declaration alone."""
    known = {path.stem for path in (OURS.parent / "systems").glob("*.yaml")}
    assert known
    for path in OURS.rglob("*.py"):
        assert not known & set(path.read_text().lower().replace(".", " ").split()), path


PINNED = "verification/smoke/test_team.py"
TEAM = "def test_it(system):\n    assert system.system.id == 'little'\n"


@pytest.mark.parametrize(
    ("now", "asked", "said"),
    [
        (TEAM, True, ""),
        (TEAM + "# altered\n", True, f"suite file {PINNED} is not the pinned one (pinned "),
        (None, False, f"suite file {PINNED} is not the pinned one (pinned "),
        (TEAM, False, f"suite file {PINNED} is pinned and was not asked"),
    ],
)
def test_by_hand_nothing_is_verified_that_a_gate_would_not_believe(
    little: Little, now: str | None, asked: bool, said: str
) -> None:
    """A team's file that is not the pinned one, or is left out, opens no gate: nor does a person's look."""
    file = little.team(PINNED, TEAM)
    little.declare()
    file.unlink() if now is None else file.write_text(now)
    named = [str(OURS), str(file.parent)] if asked else [str(OURS)]
    done = by_hand(*named, "-m", "smoke", "--system", str(little.file), cwd=little.folder)
    assert done.returncode == (10 if said else 0), done.stdout
    assert ("NOT VERIFIED" in done.stdout) is bool(said)
    assert said in done.stdout
