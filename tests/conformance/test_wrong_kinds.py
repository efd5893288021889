"""The contracts can fail: each of these wrong kinds is noticed, by the contract that it breaks, in words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rollback.model.registry import FAMILIES, Kind
from tests.conformance.wrong import WRONG, actions, parts, questions, ways

ROOT = Path(__file__).parents[2]
MODULES = (actions, questions, ways, parts)
CLASSES: dict[str, type[Kind]] = {
    f"{module.__name__}:{name}": found for module in MODULES for name, found in vars(module).items()
    if isinstance(found, type) and issubclass(found, Kind) and "kind" in vars(found)
    and found.__module__ == module.__name__
}  # fmt: skip
RIGHT = sorted(set(CLASSES) - set(WRONG))
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
    kinds = [f"--kind={name}" for name in CLASSES]
    done = asked(*kinds, f"--junitxml={report}", "-q", KILL_EVERY="3")
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    by_kind = {kind.kind: name for name, kind in CLASSES.items()}
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
    families = {CLASSES[name].family for name in WRONG}
    assert families == {CLASSES[name].family for name in RIGHT} == set(FAMILIES)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kind_is_noticed_by_the_contract_that_it_breaks(
    broken: dict[str, dict[str, str]], name: str
) -> None:
    """That contract says no, in the words for people."""
    contract, says = WRONG[name]
    told = [text for test, text in broken[name].items() if contract in test]
    assert told, f"{name} is noticed by {sorted(broken[name])}"
    assert says in told[0], told[0]
    assert "Traceback" not in told[0]


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_kind_keeps_every_contract(broken: dict[str, dict[str, str]], name: str) -> None:
    """What the wrong ones were made of is well: a contract says no for their one mistake."""
    assert broken[name] == {}


def test_what_is_said_names_no_inside_of_ours(broken: dict[str, dict[str, str]]) -> None:
    """A message is a line or two for the author of the kind: no frame of the contracts is shown."""
    for name, (contract, _) in WRONG.items():
        (told,) = [text for test, text in broken[name].items() if contract in test][:1]
        assert not re.search(r"^>? +def test_", told, re.MULTILINE), told
