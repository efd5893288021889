"""JUnit XML beside the Allure results: one file a tier, true to the gate, and never asked by it."""

from __future__ import annotations

import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.prove import junit
from rollback.prove.verdict import Asked, Outcome
from tests.cli.program import rollback
from tests.prove.conftest import Little

TEAM = """
    def test_fine(): pass
    def test_not(): assert 1 == 2, "one is not two"
"""
PASSED = ("passed", "passed", "passed")


def read(folder: Path, suite: str = "smoke") -> dict[str, ET.Element]:
    """The test cases of a tier, by class and name."""
    found = ET.parse(folder / "junit" / f"{suite}.xml").getroot()
    return {f"{one.get('classname')}: {one.get('name')}": one for one in found.iter("testcase")}


def test_each_test_is_named_and_a_failure_says_why(little: Little, tmp_path: Path) -> None:
    """A declared check by its id, a team's test by its name, and last the gate with its reasons."""
    little.checks["smoke"].append("- files: {id: gone, exists: [data/b.txt]}")
    little.team("verification/smoke/test_team.py", textwrap.dedent(TEAM))
    result = little.run(leaves=tmp_path, run_id="r0007")
    cases = read(tmp_path)
    assert [*cases] == [
        "little.smoke: gone", "little.smoke: there", "little.smoke.test_team: test_fine",
        "little.smoke.test_team: test_not", "little.gate: smoke",
    ]  # fmt: skip
    failed = {name: one.find("failure") for name, one in cases.items()}
    told = {name: one.get("message") for name, one in failed.items() if one is not None}
    assert (
        told["little.smoke: gone"] == "check gone answered FAIL, wanted pass: data/b.txt is missing"
    )
    assert "one is not two" in str(told["little.smoke.test_team: test_not"])
    assert {*told} == {*cases} - {"little.smoke: there", "little.smoke.test_team: test_fine"}
    gate = failed["little.gate: smoke"]
    assert gate is not None
    assert str(gate.text).splitlines() == list(result.reasons)
    top = ET.parse(tmp_path / "junit/smoke.xml").getroot()
    suite, last = top
    words = ("name", "tests", "failures", "errors")
    assert [[one.get(word) for word in words] for one in (top, suite, last)] == [
        ["little", "5", "3", "0"], ["little.smoke", "4", "2", "0"], ["little.gate", "1", "1", "0"],
    ]  # fmt: skip
    assert [(one.get("name"), one.get("value")) for one in suite.iter("property")] == [
        ("run", "r0007"), ("level", "back"), ("environment", "production"), ("version", "1.0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind"),
    [("import os\ndef test_ends(): os._exit(0)\n", "failure"),
     ("import pytest\ndef test_left(): pytest.skip('not today')\n", "skipped"),
     ("import pytest\n@pytest.fixture\ndef x(): raise OSError('no')\ndef test_up(x): pass\n", "error")],
)  # fmt: skip
def test_a_closed_gate_is_never_a_green_file(
    little: Little, tmp_path: Path, text: str, kind: str
) -> None:
    """Whatever became of the tests, the last case has failed, and with it the file."""
    little.team("verification/smoke/test_team.py", text)
    assert not little.run(leaves=tmp_path).open
    cases = read(tmp_path)
    assert cases["little.gate: smoke"].find("failure") is not None
    assert any(one.find(kind) is not None for one in cases.values())


def test_what_no_xml_can_hold_is_spelt_out(little: Little, tmp_path: Path) -> None:
    """Control characters, halves of characters and the end of a CDATA section in a message."""
    text = (
        'def test_odd(): assert False, "a" + "".join(map(chr, range(32))) + "\\ud800 ]]> \\uffff"\n'
    )
    little.team("verification/smoke/test_team.py", text)
    result = little.run(leaves=tmp_path)
    failure = read(tmp_path)["little.smoke.test_team: test_odd"].find("failure")
    assert failure is not None
    assert str(failure.get("message")).startswith("a\\x00\\x01\\x02")
    assert "without a verdict" not in " ".join(result.reasons)  # the verdict holds it, too


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_any_text_makes_a_file_that_can_be_read(one: str, other: str) -> None:
    """It says the same, but for characters that XML 1.0 does not have."""
    asked = Asked(id="a", expected="pass", answer="fail", evidence="", fingerprint="")
    test = Outcome.model_construct(nodeid=f"x.py::{one}", setup="passed", call="failed",
                                   teardown="passed", oddities=(), why=other, duration_s=0.0,
                                   asked=None)  # fmt: skip
    tests = [test, test.model_copy(update={"asked": asked})]
    data = junit.document("s", "smoke", tests, [other], 1.0, "2026-11-20T12:00:00.000000Z",
                          {one: other}, lambda text: text)  # fmt: skip
    first, second, gate = ET.fromstring(data).iter("testcase")
    assert second.get("name") == "a"
    if one.isprintable() and one:
        assert first.get("name") == one
    assert gate.find("failure") is not None


def test_the_gate_does_not_depend_on_the_file(little: Little, tmp_path: Path) -> None:
    """A forged one is replaced and believed by nobody; where none can be written it is the same."""
    forged = tmp_path / "junit" / "smoke.xml"
    plant = f"from pathlib import Path\nP = Path({str(forged)!r})\nP.parent.mkdir(exist_ok=True)\n"
    text = plant + 'def test_a(): P.write_text("<testsuites/>"); assert GREEN\n'
    for green in (False, True):
        little.team("verification/smoke/test_team.py", text.replace("GREEN", str(green)))
        assert little.run(leaves=tmp_path).open is green
        assert (read(tmp_path)["little.gate: smoke"].find("failure") is None) is green
    forged.unlink()
    forged.mkdir()
    (forged / "in the way").touch()
    little.pinned.clear()
    assert little.run(leaves=tmp_path).open
    assert (forged / "in the way").exists()
    assert little.run(leaves=tmp_path / "nowhere" / "at all").open
    little.state("well")
    (little.folder / "app/data/a.txt").unlink()
    assert not little.run(leaves=tmp_path).open


def test_nor_on_allures_results(little: Little, tmp_path: Path) -> None:
    """With something in their place, and with a folder that vanishes, the tests say what they say."""
    (tmp_path / "allure-results").write_text("no folder")
    assert little.run(leaves=tmp_path).open
    (tmp_path / "allure-results").unlink()
    place = tmp_path / "allure-results"
    little.team("verification/smoke/test_team.py",
                f"import shutil\ndef test_a(): shutil.rmtree({str(place)!r})\n")  # fmt: skip
    assert little.run(leaves=tmp_path).open


def test_verify_leaves_results_where_it_is_told_to(little: Little, tmp_path: Path) -> None:
    """Both kinds, in a folder that it makes; where that cannot be it says so, and asks nothing."""
    little.checks["functional"] = ["- files: {id: whole, exists: [data/a.txt]}"]
    little.declare()
    done = rollback(little.folder, "verify", "--results", "left/here")
    assert done.status == 0, done.err
    left = little.folder / "left" / "here"
    assert sorted(path.name for path in left.iterdir()) == ["allure-results", "junit"]
    assert [*read(left)] == ["little.smoke: there", "little.gate: smoke"]
    assert [*read(left, "functional")] == [
        "little.functional: whole",
        "little.gate: functional",
    ]
    (little.folder / "file").touch()
    refused = rollback(little.folder, "verify", "--results", "file/here")
    assert (refused.status, refused.out) == (2, "")
    assert "results cannot go to file/here" in refused.err
    assert "Traceback" not in refused.err


def test_what_viewers_of_ci_count_is_what_was_run(little: Little, tmp_path: Path) -> None:
    """An open gate adds no test to the suite's; it has a name of its own, the same in every run."""
    little.team("verification/smoke/test_team.py", "def test_fine(): pass\n")
    result = little.run(leaves=tmp_path)
    top = ET.parse(tmp_path / "junit/smoke.xml").getroot()
    suite, last = top
    assert int(str(suite.get("tests"))) == len(suite.findall("testcase")) == result.passed
    assert (last.get("name"), last.get("tests"), last.get("failures")) == ("little.gate", "1", "0")
    names = [(one.get("classname"), one.get("name")) for one in top.iter("testcase")]
    assert len(names) == len({*names})
    assert names[-1] == ("little.gate", "smoke")
    (tmp_path / "junit/smoke.xml").unlink()
    little.team("verification/smoke/test_team.py", "def test_fine(): assert 0\n")
    assert not little.run(leaves=tmp_path).open
    again = ET.parse(tmp_path / "junit/smoke.xml").getroot()
    assert [(one.get("classname"), one.get("name")) for one in again.iter("testcase")] == names
    types = [one.get("type") for one in again.iter("failure")]
    assert types == ["test", "closed"]
