"""The contracts can fail: each of these wrong kinds is noticed, by the contract that it breaks, in words."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rollback.model.registry import FAMILIES

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "wrong"


@dataclass(frozen=True)
class Told:
    """What the file of a kind says of it. Nothing is imported: it would be a kind of this session too."""

    module: str
    name: str
    family: str
    kind: str
    contract: str = ""  # that has to notice; none for a right kind
    says: str = ""


def _told() -> Iterator[Told]:
    for file in sorted(FOLDER.glob("[!_]*.py")):
        for node in ast.parse(file.read_text()).body:
            calls = {ast.unparse(one.func): [ast.literal_eval(arg) for arg in one.args]
                     for one in getattr(node, "decorator_list", []) if isinstance(one, ast.Call)}  # fmt: skip
            if isinstance(node, ast.ClassDef) and "register" in calls:
                yield Told(f"tests.conformance.wrong.{file.stem}", node.name, *calls["register"],
                           *calls.get("wrong", ()))  # fmt: skip


KINDS = {one.name: one for one in _told()}
WRONG = {name: one for name, one in KINDS.items() if one.contract}
RIGHT = sorted(set(KINDS) - set(WRONG))
WRONG_AT_LEAST = 15


def asked(*words: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """`pytest --pyargs rollback.conformance WORDS`, as somebody types it."""
    argv = [sys.executable, "-m", "pytest", "--pyargs", "rollback.conformance", "-p", "no:cacheprovider",
            *words]  # fmt: skip
    kept = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_")}
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=280,
                          env={**kept, **environ})  # fmt: skip


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Of each kind, wrong or right: the contracts that say no, and what they say."""
    report = tmp_path_factory.mktemp("asked") / "junit.xml"
    kinds = [f"--kind={one.module}:{one.name}" for one in KINDS.values()]
    done = asked(*kinds, f"--junitxml={report}", "-q", KILL_EVERY="3")
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    by_kind = {one.kind: one.name for one in KINDS.values()}
    found: dict[str, dict[str, str]] = {name: {} for name in by_kind.values()}
    for case in ET.parse(report).iter("testcase"):
        test, _, given = case.attrib["name"].partition("[")
        for tag in ("failure", "error"):
            for one in case.findall(tag):
                known = sorted((k for k in by_kind if given.rstrip("]").startswith(k)), key=len)
                found[by_kind[known[-1]]][test] = f"{one.attrib.get('message', '')}\n{one.text}"
    return found


def test_there_are_enough_of_them() -> None:
    """Every family has a wrong kind, and a right one of the same making."""
    assert len(WRONG) >= WRONG_AT_LEAST
    families = {one.family for one in WRONG.values()}
    assert families == {KINDS[name].family for name in RIGHT} == set(FAMILIES)


@pytest.mark.long
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kind_is_noticed_by_the_contract_that_it_breaks(
    broken: dict[str, dict[str, str]], name: str
) -> None:
    """That contract says no, in the words for people."""
    contract, says = WRONG[name].contract, WRONG[name].says
    told = [text for test, text in broken[name].items() if contract in test]
    assert told, f"{name} is noticed by {sorted(broken[name])}"
    assert says in told[0], told[0]
    assert "Traceback" not in told[0]


@pytest.mark.long
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kind_keeps_every_contract(broken: dict[str, dict[str, str]], name: str) -> None:
    """What the wrong ones were made of is well: a contract says no for their one mistake."""
    assert broken[name] == {}


@pytest.mark.long
def test_what_is_said_names_no_inside_of_ours(broken: dict[str, dict[str, str]]) -> None:
    """A message is a line or two for the author of the kind: no frame of the contracts is shown."""
    for name, one in WRONG.items():
        (told,) = [text for test, text in broken[name].items() if one.contract in test][:1]
        assert not re.search(r"^>? +def test_", told, re.MULTILINE), told
