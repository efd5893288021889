"""The package as a library: what it says is what the program says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rollback
from rollback.model.errors import RollbackError
from tests.cli.program import rollback as typed

DECLARATION = """\
schema: 1
system: {id: front, title: Front, version: 1.0.0, date: 2026-11-28, next_review: 2127-05-28}
root: .
components: {pages: {path: html, content: files}}
people:
  owner: operators
  roles: {operators: {title: Who runs it}, lead: {title: Who answers for it}}
  members: [{id: operator, roles: [operators]}, {id: head, roles: [lead]}]
levels:
  fast: &level
    rank: 1
    title: The pages of the last good day
    budgets: {mitigated: 30s, complete: 2m}
    data_loss: edits since then
    authority: {roles: [operators], alone: true}
    target: {sources: [{checkpoint: last-good}]}
    steps: [{restore: {component: pages}}]
    gate: {suites: [smoke]}
  full:
    rank: 2
    title: The same on the word of the lead
    budgets: {mitigated: 30s, complete: 2m}
    data_loss: edits since then
    authority: {roles: [lead]}
    target: {sources: [{checkpoint: last-good}]}
    steps: [{restore: {component: pages}}]
    gate: {suites: [smoke]}
verification:
  smoke:
    - config: {id: right, title: The page says one, file: html/a.json, values: {a: 1}}
""".replace(" &level", "")


@pytest.fixture
def front(tmp_path: Path) -> Path:
    """The declaration of a system with a good checkpoint, whose page went bad since."""
    (tmp_path / "html").mkdir()
    page = tmp_path / "html/a.json"
    page.write_text('{"a": 1}')
    (tmp_path / "rollback.yaml").write_text(DECLARATION)
    assert typed(tmp_path, "checkpoint", "create", "good", "--seal").status == 0
    page.write_text('{"a": 2}')
    return tmp_path / "rollback.yaml"


@pytest.mark.requirement("QL-31")
def test_going_back_tells_success_and_where_log_and_backup_are(front: Path) -> None:
    """Both paths exist, the page is back, and the checkpoint of the bad page is listed."""
    success, log, backup = rollback.execute_rollback(
        level="fast", auto_confirm=True, system=front, person="operator"
    )
    assert success is True
    assert log is not None
    assert backup is not None
    assert log.read_text().startswith("# ")
    assert "COMPLETE" in log.read_text()
    listed = typed(front.parent, "checkpoint", "list", "--json").json["checkpoints"]
    assert backup.stem in [one["id"] for one in listed]
    assert json.loads((front.parent / "html/a.json").read_text()) == {"a": 1}


@pytest.mark.requirement("QL-32")
def test_whether_all_is_well_is_told_with_details(front: Path) -> None:
    """The document of `verify --json`, with the reason; a rollback changes the answer."""
    success, details = rollback.verify_rollback_success(system=front)
    assert success is False
    assert details["suites"]["smoke"]["failed"] == 1
    assert "2 is not 1" in json.dumps(details["suites"]["smoke"]["reasons"])
    rollback.execute_rollback(system=front, person="operator")
    success, details = rollback.verify_rollback_success("smoke", system=front)
    assert success is True
    assert details == typed(front.parent, "verify", "smoke", "--json").json | {
        "suites": {"smoke": details["suites"]["smoke"]}
    }


@pytest.mark.requirement("QL-41")
def test_whether_it_is_allowed_is_told_with_the_reason(front: Path) -> None:
    """ "OK", or what stands in the way: here a checkpoint that was lost."""
    assert rollback.check_safety("fast", system=front) == (True, "OK")
    assert rollback.check_safety(1, system=front) == (True, "OK")
    for path in (front.parent / ".rollback/store/checkpoints").iterdir():
        path.unlink()
    allowed, reason = rollback.check_safety("fast", system=front)
    assert allowed is False
    assert "target: " in reason


def test_a_closed_gate_is_no_success(front: Path) -> None:
    """What was restored is not what the checks want now: paths are told, and success is not."""
    front.write_text(front.read_text().replace("values: {a: 1}", "values: {a: 3}"))
    success, log, backup = rollback.execute_rollback(system=front, person="operator")
    assert success is False
    assert log is not None
    assert backup is not None
    assert "NEEDS_OPERATOR" in log.read_text()


def test_a_run_that_waits_is_no_success(front: Path) -> None:
    """Nobody's yes is invented, and nothing was changed."""
    success, _, backup = rollback.execute_rollback("full", system=front, person="operator")
    assert (success, backup) == (False, None)
    assert json.loads((front.parent / "html/a.json").read_text()) == {"a": 2}


def test_nothing_to_take_back_is_no_success(front: Path) -> None:
    """Nothing was done, so nothing was proved."""
    rollback.execute_rollback(system=front, person="operator")
    assert rollback.execute_rollback(system=front, person="operator") == (False, None, None)


@pytest.mark.parametrize(
    ("level", "status", "said"), [("gone", 3, "gone"), ("--help", 3, "--help"), ("", 2, "empty")]
)
def test_what_cannot_be_done_is_raised_with_what_to_type(
    front: Path, level: str, status: int, said: str
) -> None:
    """As an error of the package: message, hint and the program's exit status."""
    with pytest.raises(RollbackError) as refused:
        rollback.execute_rollback(level, system=front, person="operator")
    assert isinstance(refused.value, rollback.Failed)
    assert refused.value.status == status
    assert said in refused.value.message
    assert refused.value.hint
    with pytest.raises(rollback.Failed):
        rollback.check_safety("gone", system=front)


def test_a_declaration_that_is_wrong_is_raised(tmp_path: Path) -> None:
    """With its place."""
    (tmp_path / "rollback.yaml").write_text("schema: 1\nroots: .\n")
    with pytest.raises(rollback.Failed) as refused:
        rollback.verify_rollback_success(system=tmp_path / "rollback.yaml")
    assert refused.value.where.startswith(str(tmp_path / "rollback.yaml:"))
    assert refused.value.status == 2


def test_whoever_does_not_ask_does_not_load_it() -> None:
    """The program starts without the library."""
    said = subprocess.run(
        [sys.executable, "-c", "import rollback.cli.group, sys; print('rollback.api' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "False"
    assert set(rollback.__all__) <= set(dir(rollback)) | {
        name for name in rollback.__all__ if hasattr(rollback, name)
    }
    with pytest.raises(AttributeError):
        rollback.nothing  # noqa: B018
