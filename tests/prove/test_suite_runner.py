"""The gate's own way of running a suite: what it hands down, what it takes back, what it leaves."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from rollback.model.errors import SpecError
from tests.prove.conftest import Little

FILES = "- files: {{id: {}, exists: [{}]{}}}"


def test_findings_come_back_with_evidence_and_nothing_stays_in_the_tree(little: Little) -> None:
    """Outcome, evidence, duration by check id; the system's folder is as it was."""
    little.checks["smoke"].append(FILES.format("gone", "data/b.txt", ""))
    little.team(
        "verification/smoke/test_team.py", "def test_fine(tmp_path): (tmp_path / 'x').touch()\n"
    )
    system = little.load()
    before = sorted(little.folder.rglob("*"))
    result = little.run(system=system)
    assert sorted(little.folder.rglob("*")) == before
    assert (result.open, result.passed, result.failed, result.status) == (False, 2, 1, 1)
    assert result.findings["there"]["outcome"] == "pass"
    assert result.findings["gone"]["evidence"] == "data/b.txt is missing"
    assert result.reasons == ("check gone answered FAIL, wanted pass: data/b.txt is missing",)
    assert 0 < result.duration_s < 30


def test_a_suite_with_nothing_to_ask_is_closed(little: Little) -> None:
    """Zero tests are no proof, whatever was expected of them."""
    little.checks = {"smoke": []}
    assert "nothing to ask" in little.run().reasons[0]
    little.checks = {"smoke": [FILES.format("one", "data", "")]}
    little.gate = "suites: [smoke], expect: {one: absent}"
    assert "nothing to ask" in little.run().reasons[0]


def test_effects_that_an_environment_does_not_allow_close_the_suite(little: Little) -> None:
    """Then nothing runs there at all, and the reason says where it could."""
    trace = little.folder / "asked"
    check = f"- command: {{id: writes, effects: test-data, argv: [touch, {trace}]}}"
    little.checks, little.gate = {"functional": [check]}, "suites: [functional]"
    little.extra = (
        "environments: {production: {allows: [none]}, staging: {allows: [none, test-data]}}\n"
    )
    system = little.load()
    refused = little.run("functional", system=system)
    assert "has effects test-data, which production does not allow" in refused.reasons[0]
    assert not trace.exists()
    assert little.run("functional", system=system, environment="staging").open, trace
    assert trace.exists()


def test_declared_variables_reach_the_suite_and_no_others(
    little: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child resolves the declaration as we did; what steers Python or pytest stays here."""
    little.extra = textwrap.dedent("""
        environment:
          variables: {WHERE: {default: nowhere}, PYTEST_ADDOPTS: {default: ""}, LD_PRELOAD: {default: ""}}
        """)
    little.checks = {"smoke": [FILES.format("there", "'${WHERE}'", "")]}
    little.team("verification/smoke/test_team.py", textwrap.dedent("""
        import os, sys
        def test_environment(system):
            assert os.environ["WHERE"] == "data"
            assert not {"PYTEST_ADDOPTS", "LD_PRELOAD", "SECRET", "PYTHONPATH"} & set(os.environ)
            assert os.getsid(0) == os.getpid()
            assert sys.flags.isolated and sys.flags.dont_write_bytecode
        """))  # fmt: skip
    for name, value in {"WHERE": "data", "SECRET": "x", "PYTHONPATH": "/tmp"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTEST_ADDOPTS", "")
    result = little.run()
    assert result.reasons == ()


def test_the_fixtures_of_a_team(little: Little) -> None:
    """What a test file of a team may ask for."""
    (little.folder / "app" / "app.log").write_text("one\ntwo\n")
    little.team("verification/smoke/test_team.py", textwrap.dedent("""
        def test_fixtures(system, view, component, service, http, host, baseline, flag, log):
            assert system.system.id == "little"
            assert view.root == system.root_path
            assert (component("data") / "a.txt").read_text() == "well"
            assert host.file(str(component("data"))).is_directory
            assert baseline == {}
            assert log("app.log") == ["one", "two"]
            assert callable(service) and callable(http) and callable(flag)
        """))  # fmt: skip
    assert little.run().reasons == ()


TWO = 'hosts: {here: {title: This one}, there: {connection: "local://?sudo=false"}}\n'


def test_a_test_about_hosts_runs_on_each_of_them(little: Little, tmp_path: Path) -> None:
    """Once for every declared host, by its name."""
    little.extra = TWO
    little.team("verification/smoke/test_team.py", textwrap.dedent("""
        def test_shell(host):
            assert host.run("exit 3").rc == 3
        """))  # fmt: skip
    result = little.run(leaves=tmp_path)
    assert result.reasons == ()
    named = [name for name in _results(tmp_path / "allure-results") if "test_shell" in name]
    assert sorted(name.rpartition("[")[2] for name in named) == ["here]", "there]"]


@pytest.mark.parametrize(
    ("connection", "asked", "said"),
    [
        ("ssh://nobody@127.0.0.1:1", "host.file('/').exists", "host gone: "),
        ("local://", "not host.service('nginx').is_running", "no service manager"),
    ],
)
def test_a_host_that_is_silent_or_cannot_know_closes_the_gate(
    little: Little, connection: str, asked: str, said: str
) -> None:
    """Neither is an answer, not even to a question that silence would suit."""
    little.extra = f'hosts: {{gone: {{connection: "{connection}"}}}}\n'
    little.team("verification/smoke/test_team.py", f"def test_it(host):\n    assert {asked}\n")
    if Path("/run/systemd/system").exists() and "service" in asked:
        said = ""  # systemd runs here, and it is asked
    reasons = little.run().reasons
    assert any(said in one for one in reasons) if said else not reasons, reasons


def _results(folder: Path) -> dict[str, dict[str, object]]:
    found = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    return {str(one["fullName"]) + str(one["name"]): one for one in found}


def test_an_allure_report_has_the_same_tests_in_every_run(little: Little, tmp_path: Path) -> None:
    """Labels, evidence, environment; a changed version of the system is still the same test."""
    little.checks = {"smoke": ["- files: {id: there, title: The data is there, item: MB-67.3, "
                               "severity: critical, exists: [data/a.txt]}"]}  # fmt: skip
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
        assert little.run(leaves=folder, run_id="r-1").open
        little.declare()
        little.file.write_text(little.file.read_text().replace('"1.0"', '"2.0"'))
    (one,), (other,) = (_results(folder / "allure-results").values() for folder in folders)
    assert one["historyId"] == other["historyId"]
    assert one["name"] == "The data is there"
    labels = {label["name"]: label["value"] for label in one["labels"]}  # type: ignore[attr-defined]
    told = {key: labels[key] for key in ("epic", "feature", "story", "severity")}
    assert told == {
        "epic": "Little",
        "feature": "smoke",
        "story": "MB-67.3",
        "severity": "critical",
    }
    evidence = next((folders[0] / "allure-results").glob("*-attachment.txt")).read_text()
    assert evidence == "pass: data/a.txt: data/a.txt"
    assert "Run=r-1" in (folders[0] / "allure-results/environment.properties").read_text()
    assert (
        json.loads((folders[0] / "allure-results/executor.json").read_text())["buildName"] == "r-1"
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../outside/smoke/test_x.py", "does not lie below"),
        ("/tmp/smoke/test_x.py", "does not lie below"),
        ("verification/test_x.py", "lies in no suite"),
    ],
)
def test_a_suite_file_that_is_not_where_suites_are_closes_the_gate(
    little: Little, path: str, reason: str
) -> None:
    """Refused by the declaration, or else by the gate; never run from there."""
    little.pinned = {path: "0" * 64}
    try:
        reasons = little.run().reasons
    except SpecError as error:
        reasons = (str(error),)
    assert reason in reasons[0] or path in reasons[0]
