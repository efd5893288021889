"""Reports of other test runners: what they prove, and that a report which is wrong proves nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollback.model.finding import Answer
from rollback.observe.check import ask
from rollback.observe.runner import read_report
from rollback.observe.view import View
from tests.observe.world import check

ViewOf = Callable[..., View]
JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="unit" tests="4" failures="1" errors="0">
  <testcase classname="shop" name="sells" time="0.1"/>
  <testcase classname="shop" name="counts"><failure message="3 is not 4">trace</failure></testcase>
  <testcase classname="shop" name="ships"><skipped/></testcase>
  <testcase name="alone"><system-out>ok</system-out></testcase>
</testsuite></testsuites>
"""
TAP = """TAP version 14
1..4
ok 1 - sells
not ok 2 - counts
  ---
  message: 3 is not 4
  ...
ok 3 - ships # SKIP no lorry
# Subtest: alone
    ok 1 - inside
    1..1
ok 4 - alone
"""


@pytest.mark.parametrize("report", [JUNIT, TAP], ids=["junit", "tap"])
def test_both_formats_say_the_same(report: str) -> None:
    """Passed, failed and skipped tests with their names; what is nested is summed up by its own."""
    found = read_report(report.encode())
    assert [name.removeprefix("shop.") for name, _ in found.tests] == [
        "sells", "counts", "ships", "alone",
    ]  # fmt: skip
    assert [outcome for _, outcome in found.tests] == ["passed", "failed", "skipped", "passed"]


def case(inner: str = "", name: str = 'name="a"') -> str:
    return f"<testcase {name}>{inner}</testcase>"


def suite(inner: str, **totals: object) -> str:
    written = "".join(f' {name}="{value}"' for name, value in totals.items())
    return f"<testsuite{written}>{inner}</testsuite>"


LAUGHS = '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;">]>' + suite(case("&m;"))
# Report, and a part of the reason. What cannot be read proves nothing.
UNREADABLE = [
    ("", "empty"), (" \n\t ", "empty"), ("\ufeff", "empty"),
    ("hello", "neither"), ("{}", "neither"), ("[1]", "neither"), ("PASS\nok", "neither"),
    ("<", "not XML"), ("<testsuite", "not XML"), (suite(case())[:-3], "not XML"),
    (suite(case()) + suite(case()), "not XML"), ("<testsuite>&gone;</testsuite>", "not XML"),
    ("<a/>", "begins with <a>"), ("<html><body>500</body></html>", "begins with <html>"),
    ("<testcase name='a'/>", "begins with <testcase>"),
    (LAUGHS, "document type"),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd">' + suite(case()), "document type"),
    (suite(case(), tests=2), "says 2 tests, and lists 1"),
    (suite(case(), tests=0), "says 0 tests, and lists 1"),
    (suite("", tests=12, failures=0, errors=0), "says 12 tests, and lists 0"),
    (suite(case(), tests=1, failures=1, errors=0), "says 1 failures and errors, and lists 0"),
    (suite(case("<failure/>"), tests=1, failures=0, errors=0), "says 0 failures"),
    (suite(case("<error/>"), failures=0, errors=0), "says 0 failures"),
    (suite(case(), tests="many"), "no number"), (suite(case(), tests="-1"), "no number"),
    (suite(case(), tests="1.0"), "no number"), (suite(case(), tests=""), "no number"),
    (suite(case(), tests="\u0661"), "no number"),
    (suite(case(), failures="nan", errors="0"), "no number"),
    (suite(case(name="")), "has no name"), (suite(case(name='name=""')), "has no name"),
    ("<testsuites tests='3'>" + suite(case()) + "</testsuites>", "says 3 tests, and lists 1"),
    ("<testsuite>" * 70 + "</testsuite>" * 70, "nested too deeply"),
    ("ok 1", "no plan"), ("ok 1\nok 2", "no plan"), ("TAP version 13\nok 1 - a", "no plan"),
    ("TAP version 13", "no plan"),
    ("1..2\nok 1", "2 tests were planned, and 1 are listed"),
    ("1..1\nok 1\nok 2", "1 tests were planned, and 2 are listed"),
    ("1..0\nok 1", "0 tests were planned"), ("ok 1\n1..3", "3 tests were planned"),
    ("1..2\nok 1\nok 1", "test 1 is listed where test 2 was due"),
    ("1..2\nok 2\nok 1", "test 2 is listed where test 1 was due"),
    ("1..1\n1..1\nok 1", "two plans"),
    ("1..3\nok 1\nBail out! no database", "gave up: no database"),
    ("Bail out!", "says not why"), ("1..2\nok 1\n    ok 2", "and 1 are listed"),
]  # fmt: skip
# Reports that can be read, and do not prove that all is well.
NOT_WELL = [
    (suite(""), "passed: 0 is not at least 1"), ("<testsuites/>", "passed: 0"),
    ("1..0 # SKIP nothing to do", "passed: 0"),
    (suite(case("<skipped/>")), "passed: 0"), ("1..1\nok 1 # SKIP", "passed: 0"),
    ("1..1\nok 1 - x # TODO later", "passed: 0"),
    (suite(case() + case("<failure/>", 'name="b"')), "failed: 1 is not 0: b"),
    (suite(case() + case("<error/>")), "failed: 1 is not 0: a"),
    (suite(case() + "<error message='no fixture'/>"), "failed: 1"),
    ("1..2\nok 1\nnot ok 2 - b", "failed: 1 is not 0: b"),
    ("1..2\nok\nnot ok", "failed: 1 is not 0: test 2"),
    ("1..2\nok 1\nnot ok 2 - b # TODO later", "skipped: 1 is not 0"),
    (suite(case() + case("<skipped/>", 'name="b"')), "skipped: 1 is not 0"),
    (suite(case() + case("", 'name="b" status="notrun"')), "skipped: 1"),
    (suite(case("<failure/><skipped/>") + case()), "failed: 1"),
    ('<j:testsuite xmlns:j="urn:x"><j:testcase name="a"><j:failure/></j:testcase></j:testsuite>',
     "failed: 1"),
]  # fmt: skip


def test_enough_reports_are_tried() -> None:
    """As many as are promised, and no two of them the same."""
    assert len({report for report, _ in UNREADABLE + NOT_WELL}) >= 60


@pytest.mark.parametrize(
    ("report", "reason", "answer"),
    [(*one, Answer.UNKNOWN) for one in UNREADABLE] + [(*one, Answer.FAIL) for one in NOT_WELL],
)
def test_what_cannot_be_believed_is_unknown_and_what_proves_too_little_fails(
    root: Path, view_of: ViewOf, report: str, reason: str, answer: Answer
) -> None:
    """Cut off, bent, hostile or not adding up; nothing passed, something failed or was left out: one line."""
    (root / "report").write_text(report)
    finding = ask(check("results", file="report"), view_of())
    assert finding.answer is answer
    assert reason in finding.evidence
    assert "\n" not in finding.evidence


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        pytest.param(b"\xff\xfe<\x00t\x00", Answer.UNKNOWN, id="utf-16"),
        pytest.param(b"\x00" * 100, Answer.UNKNOWN, id="zeros"),
        pytest.param("<?xml version='1.0' encoding='utf-16'?><testsuite/>".encode("utf-16"),
                     Answer.UNKNOWN, id="utf-16 with a declaration"),
        pytest.param(b"\xef\xbb\xbf<testsuite><testcase name='a'/></testsuite>", Answer.PASS,
                     id="byte order mark"),
        pytest.param(b"1..1\r\nok 1 - a\r\n", Answer.PASS, id="CRLF"),
        pytest.param(b"1..1\nok 1 - \xff\n", Answer.PASS, id="a name of bytes"),
    ],
)  # fmt: skip
def test_bytes_of_every_kind(root: Path, view_of: ViewOf, data: bytes, answer: Answer) -> None:
    """Encodings that hide words are not read; what only looks odd is."""
    (root / "report").write_bytes(data)
    assert ask(check("results", file="report"), view_of()).answer is answer


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"passed": 2, "failed": 1, "skipped": 1}, ""),
        ({"passed": {"at_least": 2}, "failed": {"at_most": 1}, "skipped": {"below": 2}}, ""),
        ({"passed": 3, "failed": 1, "skipped": 1}, "passed: 2 is not 3"),
        ({"failed": 1, "skipped": 1, "has": ["shop.*"], "gone": ["party*"]}, ""),
        ({"failed": 1, "skipped": 1, "has": ["shop.counts"]}, "no test 'shop.counts' passed"),
        ({"failed": 1, "skipped": 1, "gone": ["shop.s*"]}, "'shop.sells' is still there"),
        ({"failed": 1, "skipped": 1, "gone": ["shop.ships"]}, "'shop.ships' is still there"),
    ],
)  # fmt: skip
def test_numbers_and_names_are_as_declared(
    root: Path, view_of: ViewOf, wanted: dict[str, object], reason: str
) -> None:
    """Exactly, at least, a test that passed, and a test of what was removed."""
    (root / "report.xml").write_text(JUNIT)
    finding = ask(check("results", file="report.xml", **wanted), view_of())
    assert finding.answer is (Answer.FAIL if reason else Answer.PASS), finding.evidence
    assert reason in finding.evidence


def test_a_report_from_before_the_mitigation_proves_nothing(root: Path, view_of: ViewOf) -> None:
    """It is about the version that was gone back from."""
    (root / "report").write_text("1..1\nok 1\n")
    now = datetime.now(UTC)
    os.utime(root / "report", (now.timestamp() - 60, now.timestamp() - 60))
    old = ask(check("results", file="report"), view_of(since=now))
    assert old.answer is Answer.UNKNOWN
    assert "before the mitigation" in old.evidence
    fresh = view_of(since=now - timedelta(minutes=5))
    assert ask(check("results", file="report"), fresh).answer is Answer.PASS


def runner(root: Path, program: str) -> list[str]:
    (root / "runner.py").write_text(program)
    return [sys.executable, "-I", "runner.py"]


def test_a_runner_is_run_and_what_it_prints_is_read(root: Path, view_of: ViewOf) -> None:
    """Its exit status is a witness of its own: no failed test, and yet not 0, is no pass."""
    said = "print('1..1'); print('ok 1 - a')"
    good = check("results", argv=runner(root, said))
    assert ask(good, view_of()).answer is Answer.PASS
    bad = ask(check("results", argv=runner(root, said + "; raise SystemExit(3)")), view_of())
    assert bad.answer is Answer.FAIL
    assert "ended with 3 though no test failed" in bad.evidence


def test_a_runner_that_writes_no_report_does_not_pass_by_an_old_one(
    root: Path, view_of: ViewOf
) -> None:
    """The file that lay there before is not its answer."""
    (root / "report").write_text("1..1\nok 1\n")
    silent = ask(check("results", file="report", argv=runner(root, "")), view_of())
    assert silent.answer is Answer.UNKNOWN
    assert "lay there before" in silent.evidence
    writes = "open('report', 'w').write('1..2\\nok 1\\nok 2\\n')"
    assert ask(
        check("results", file="report", argv=runner(root, writes), passed=2), view_of()
    ).answer is Answer.PASS  # fmt: skip
