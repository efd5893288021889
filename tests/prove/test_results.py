"""Who a test is in Allure's results: the same in every run, whatever varies; and never another one."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollback.model.errors import SpecError
from tests.prove.conftest import Little

VARYING = """
import os
import time
import uuid
from datetime import datetime
import pytest

PORT = os.environ["APP_PORT"]
HERE = os.environ["APP_HERE"]


@pytest.mark.parametrize("given", [
    f"http://127.0.0.1:{PORT}/health", f"{HERE}/app/data", str(uuid.uuid4()), uuid.uuid4().hex,
    datetime.now().isoformat(), f"took {time.perf_counter():.9f}", PORT, "8", "9",
], ids=str)
def test_varies(given, tmp_path, request):
    assert given


@pytest.mark.parametrize("nonce", [uuid.uuid4().hex, uuid.uuid4().hex])
def test_two(nonce):
    assert nonce


def test_plain(): pass
"""


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.glob("allure-results/*-result.json")]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(little: Little, monkeypatch: pytest.MonkeyPatch, left: Path, run_id: str) -> dict[str, str]:
    """What identity each test has, by its name without what varies (in the order they began)."""
    port = free_port()
    monkeypatch.setenv("APP_PORT", str(port))
    monkeypatch.setenv("APP_HERE", str(little.folder))
    little.extra = "environment: {variables: {APP_PORT: {}, APP_HERE: {}}}\n"
    little.checks = {"smoke": [
        "- files: {id: there, exists: [data/a.txt]}", "- files: {id: same, exists: [data/a.txt]}",
        '- command: {id: port, argv: [echo, "${APP_PORT}", "${APP_HERE}"]}',
    ]}  # fmt: skip
    little.team("verification/smoke/test_team.py", VARYING)
    little.team("verification/smoke/test_declared.py", "def test_declared(): pass\n")
    left.mkdir()
    found = little.run(leaves=left, run_id=run_id)
    assert found.open, found.reasons
    told = sorted(results(left), key=lambda one: one["start"])
    assert [one["historyId"] for one in told] == [one["testCaseId"] for one in told]
    assert all(p["excluded"] for one in told for p in one.get("parameters", []))
    return {f"{number}": one["historyId"] for number, one in enumerate(told)}


def test_a_test_has_one_identity_in_any_folder_port_and_run_and_shares_it_with_none(
    another: Callable[[str], Little], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two runs of one declaration in two places; the second with other ports, ids, moments, nonces."""
    first = run(another("here"), monkeypatch, tmp_path / "left", "r0001")
    second = run(another("quite/elsewhere"), monkeypatch, tmp_path / "left-again", "r0002")
    assert sorted(first.values()) == sorted(second.values())
    assert len({*first.values()}) == len(first) == 3 + 9 + 2 + 1 + 1


def test_another_systems_test_of_the_same_name_is_another_test(
    another: Callable[[str], Little], tmp_path: Path
) -> None:
    """The check of one system has nothing to do with that of its neighbour."""
    one, other = another("one"), another("other")
    assert one.run(leaves=tmp_path).open
    other.declare()
    other.file.write_text(other.file.read_text().replace("id: little", "id: big"))
    import rollback.kinds  # noqa: F401 - the declaration names kinds
    from rollback.declare import load

    assert other.run(leaves=tmp_path, system=load(other.file)).open
    assert len({found["historyId"] for found in results(tmp_path)}) == 2


def test_a_teams_test_stands_beside_the_declared_ones_and_names_its_run(
    little: Little, tmp_path: Path
) -> None:
    """Under the system and the suite, as it says itself where it says so; with a link to the run."""
    little.team("verification/smoke/test_team.py", "import allure\ndef test_a(): pass\n"
                "@allure.epic('Own')\ndef test_b(): pass\n")  # fmt: skip
    assert little.run(leaves=tmp_path, run_id="r0009").open
    told = {one["name"]: one for one in results(tmp_path)}
    labels = {name: {one["name"]: one["value"] for one in found["labels"]}
              for name, found in told.items()}  # fmt: skip
    assert [labels["test_a"][key] for key in ("epic", "feature", "story")] == [
        "Little", "smoke", "test_team.py",
    ]  # fmt: skip
    assert labels["test_b"]["epic"] == "Own"
    run_links = [one for found in told.values() for one in found["links"] if one["type"] == "run"]
    assert len(run_links) == len(told) == 3
    assert {one["name"] for one in run_links} == {"run r0009"}
    assert all(one["url"].endswith("/.rollback/runs/r0009/report.md") for one in run_links)


@pytest.mark.parametrize(
    ("declared", "url"),
    [('requirements: "https://demands.example/show?id={item}"', "https://demands.example/show?id=MB-1"),
     ("retired: []", "rollback.yaml")],
)  # fmt: skip
def test_a_check_leads_to_the_demand_that_it_shows(
    little: Little, tmp_path: Path, declared: str, url: str
) -> None:
    """To where demands are written down, as declared; else to the declaration."""
    little.checks = {"smoke": ["- files: {id: there, item: MB-1, exists: [data/a.txt]}"]}
    little.extra = ""
    little.declare()
    little.file.write_text(little.file.read_text() + f"  {declared}\n")
    import rollback.kinds  # noqa: F401 - the declaration names kinds
    from rollback.declare import load

    assert little.run(leaves=tmp_path, system=load(little.file)).open
    (one,) = results(tmp_path)
    (link,) = [one for one in one["links"] if one["type"] == "requirement"]
    assert link["name"] == "MB-1"
    assert link["url"].endswith(url)


@pytest.mark.parametrize(
    "written", ["https://demands.example/", "ftp://x/{item}", "https://u:p@x/{item}"]
)
def test_an_address_of_demands_that_leads_nowhere_is_refused(little: Little, written: str) -> None:
    """Without the place for the demand, of another kind, or with a password in it."""
    little.declare()
    little.file.write_text(little.file.read_text() + f'  requirements: "{written}"\n')
    import rollback.kinds  # noqa: F401 - the declaration names kinds
    from rollback.declare import load

    with pytest.raises(SpecError) as refused:
        load(little.file)
    (problem,) = refused.value.problems
    assert "verification.requirements" in problem.message
    assert "write an address with {item} in it" in f"{problem.message} {problem.hint}"
