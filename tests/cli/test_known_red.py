"""A run that is COMPLETE with a known failure says so wherever it is told of, and needs no new seal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build

ROOT = Path(__file__).parents[2]
RED = ("  known_red: [{id: limit-right, owner: op, expires: 2099-01-01, reason: being mended}]\n"
       "  smoke:\n")  # fmt: skip
LEVEL = "    steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The limit is over what it should be, and it is declared that this is known."""
    made = build(tmp_path)
    made.edit("  smoke:\n", RED)
    made.edit("keys: [limit], levels: [config]", "values: {limit: {below: 2}}")
    made.edit(LEVEL, LEVEL + ", known_red: allowed")
    return made


def _sealed(shop: Shop) -> None:
    done = rollback(shop.folder, "checkpoint", "create", "good", "--seal")
    assert "limit-right answered FAIL" in done.out, done.out
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")


def _by_hand(shop: Shop, *more: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "verification", "-m", "smoke", "-p", "no:cacheprovider",
            "--system", str(shop.folder / "rollback.yaml"), *more]  # fmt: skip
    return subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, timeout=240, check=False)


@pytest.mark.requirement("MB-71")
def test_known_failures_are_said_with_complete_everywhere(shop: Shop) -> None:
    """On the terminal while it runs and after, in status, history, --json, the report and JUnit."""
    _sealed(shop)
    done = rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    assert done.status == 0, done.out + done.err
    assert "r0001  COMPLETE with 1 known failure" in done.out
    assert "still red, as before: limit-right" in done.out
    assert "1 passed, 1 known failure" in done.err
    assert "COMPLETE  with 1 known failure: limit-right" in done.err
    assert "2 passed" not in done.out + done.err
    assert "COMPLETE with 1 known failure: limit-right" in rollback(shop.folder, "status").out
    assert "COMPLETE with 1 known failure" in rollback(shop.folder, "history").out
    for words in (("status",), ("history",), ("report", "r0001")):
        said = json.loads(rollback(shop.folder, "--json", *words).out)
        told = said.get("last_run") or (said["runs"][0] if "runs" in said else said)
        assert (told["state"], told["known_red"]) == ("COMPLETE", ["limit-right"]), words
    folder = shop.folder / ".rollback" / "runs" / "r0001"
    report = (folder / "report.md").read_text()
    assert "COMPLETE with 1 known failure" in report.splitlines()[0]
    assert "1 passed, 0 failed, 1 known failure" in report
    assert "| limit-right | fail (known red) |" in report
    assert 'skipped="1"' in (folder / "junit" / "smoke.xml").read_text()
    again = json.loads(rollback(shop.folder, "--json", "run", "config", "--yes", "--as", "ada").out)
    assert again["changed"] is False
    by_hand = _by_hand(shop, "--run", "r0001")
    assert by_hand.returncode == 0, by_hand.stdout
    assert "VERIFIED with 1 known failure" in by_hand.stdout
    assert "1 passed, 1 known red" in by_hand.stdout
    assert "NOT VERIFIED" in _by_hand(shop).stdout
    verified = rollback(shop.folder, "verify", "--level", "config")
    assert verified.status == 0, verified.out
    assert "1 passed, 0 failed, 1 known failure" in verified.out


def test_a_seal_with_a_known_failure_is_good_for_a_level_that_allows_it(shop: Shop) -> None:
    """It is the last good one of that level; of a level that allows none, and once it expired, it is not."""
    _sealed(shop)
    plan = json.loads(rollback(shop.folder, "--json", "plan", "config").out)
    assert plan["target"]["label"] == "good"
    ready = json.loads(rollback(shop.folder, "--json", "ready", "config", "full").out)
    config, full = ({row["what"]: row["answer"] for row in one["rows"]} for one in ready["levels"])
    assert (config["target"], config["gate"]) == ("pass", "pass")
    assert full["plan"] == "fail"
    assert "its suites were red" in rollback(shop.folder, "plan", "full").err
    shop.edit("expires: 2099-01-01", "expires: 2026-01-01")
    assert "its suites were red" in rollback(shop.folder, "plan", "config").err


def test_another_red_check_is_no_known_failure(shop: Shop) -> None:
    """A seal with one more red check than is declared is no last good one."""
    shop.edit("keys: [party]", "keys: [party, absent]")
    assert rollback(shop.folder, "checkpoint", "create", "bad", "--seal").status in (0, 7)
    assert "its suites were red" in rollback(shop.folder, "plan", "config").err


def test_a_known_failure_that_no_gate_allows_is_warned_of(shop: Shop) -> None:
    """Declared with owner and date, and every gate refuses it: it does nothing."""
    assert "known_red" not in rollback(shop.folder, "validate").out
    shop.edit(", known_red: allowed", "")
    said = rollback(shop.folder, "validate").out
    assert "no gate allows" in said
    assert "known_red: allowed" in said


def test_what_was_sealed_and_is_not_asked_is_said_once(shop: Shop) -> None:
    """On the terminal, in --json and in the report: the suites of the seal that this level leaves out."""
    shop.edit("  smoke:\n", "  functional:\n    - files: {id: deep, exists: [pages]}\n  smoke:\n")
    _sealed(shop)
    done = rollback(shop.folder, "run", "config", "--yes", "--as", "ada")
    said = "sealed, and not asked at this level: functional"
    assert (done.out + done.err).count(said) == 1
    assert (shop.folder / ".rollback/runs/r0001/report.md").read_text().count(said) == 1
