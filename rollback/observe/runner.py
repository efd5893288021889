"""What another test runner reports: JUnit XML and TAP, as outcomes by name.

Hides: both formats, and the ways in which runners bend them.
Never: believes a total that the listed tests do not add up to, or a report that ends too early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from rollback.observe.expect import shown

REPORT_BYTES_MAX = 64 * 2**20
_TESTS_MAX = 1_000_000
_DEPTH_MAX = 64

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Reported:
    """Outcomes in the order of the report: (name, outcome). A name may come more than once."""

    tests: tuple[tuple[str, Outcome], ...]

    def count(self, outcome: Outcome) -> int:
        """How many ended like that."""
        return sum(one == outcome for _, one in self.tests)

    def named(self, outcome: Outcome) -> tuple[str, ...]:
        """The names of those that ended like that."""
        return tuple(name for name, one in self.tests if one == outcome)


def read_report(data: bytes) -> Reported:
    """What was reported, in either format. Raises: ValueError with a reason for people."""
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        raise ValueError("the report is empty")
    if start.startswith(b"<"):
        return Reported(tuple(_junit(data)))
    return Reported(tuple(_tap(data)))


# -- JUnit ---------------------------------------------------------------------------------

_FAILED = ("failure", "error")


def _junit(data: bytes) -> Iterator[tuple[str, Outcome]]:
    # An entity may stand for gigabytes, or for a file of this machine; no runner writes any. The
    # XML declaration may name an encoding in which the word is spelt otherwise: only UTF-8 is read.
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("the report is not UTF-8") from None
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("the report declares a document type, which no test runner writes")
    try:
        top = ET.fromstring(data)  # noqa: S314 - entities and document types were refused above
    except (ET.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"the report is not XML: {shown(str(error))}") from None
    if _tag(top) not in ("testsuites", "testsuite"):
        raise ValueError(f"the report begins with <{shown(_tag(top))}>, not with <testsuites>")
    yield from _suite(top, 0)


def _suite(suite: ET.Element, depth: int) -> Iterator[tuple[str, Outcome]]:
    if depth > _DEPTH_MAX:
        raise ValueError("suites are nested too deeply")
    found: list[tuple[str, Outcome]] = []
    for child in suite:
        if _tag(child) == "testcase":
            found.append(_case(child))
        elif _tag(child) == "testsuite":
            found += _suite(child, depth + 1)
        elif _tag(child) in _FAILED:  # some runners report a suite that could not begin like this
            found.append((suite.get("name") or "suite", "failed"))
    name = shown(suite.get("name") or _tag(suite))
    for what, (attributes, words) in _TOTALS.items():
        told, all_written = _total(suite, name, attributes)
        real = len(found) if what == "tests" else sum(one == what for _, one in found)
        # Of some runners one of two totals is left out: what is written has to be listed all the same.
        if told > real or (all_written and told < real):
            raise ValueError(f"{name} says {told} {words}, and lists {real}")
    yield from found


_TOTALS = {
    "tests": (("tests",), "tests"), "failed": (("failures", "errors"), "failures and errors"),
    "skipped": (("skipped",), "skipped tests"),
}  # fmt: skip


def _total(suite: ET.Element, name: str, attributes: tuple[str, ...]) -> tuple[int, bool]:
    """The sum of the totals that are written, and whether all of them are."""
    written = [one for attribute in attributes if (one := suite.get(attribute)) is not None]
    if not all(one.isascii() and one.isdecimal() for one in written):
        raise ValueError(f"{name} has a total that is no number")
    return sum(map(int, written)), len(written) == len(attributes)


def _case(case: ET.Element) -> tuple[str, Outcome]:
    name, group = case.get("name"), case.get("classname")
    if not name:
        raise ValueError("a test has no name")
    tags = {_tag(child) for child in case}
    outcome: Outcome = "passed"
    if tags & set(_FAILED):
        outcome = "failed"
    elif "skipped" in tags or case.get("status") in ("disabled", "notrun"):
        outcome = "skipped"
    return f"{group}.{name}" if group else name, outcome


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


# -- TAP -----------------------------------------------------------------------------------

_PLAN = re.compile(r"1\.\.(\d{1,7})\s*(?:#\s*(.*))?\Z")
_LINE = re.compile(r"(not )?ok\b(?:\s+(\d{1,7}))?(?:\s+(?:- ?)?(.*))?\Z")
_DIRECTIVE = re.compile(r"(?<!\\)#\s*(todo|skip)\S*", re.IGNORECASE)


def _tap(data: bytes) -> Iterator[tuple[str, Outcome]]:
    """Top-level lines of TAP 12 to 14: lines of subtests are indented and sum up in their own."""
    planned, count, begun = None, 0, False
    for line in data.decode("utf-8", "replace").splitlines():
        text = line.rstrip()
        if not text or text[0] in " \t#" or text.startswith("pragma "):
            continue
        if text.startswith("TAP version "):
            begun = True
        elif text.startswith("Bail out!"):
            raise ValueError(f"the runner gave up: {shown(text[9:].strip() or 'it says not why')}")
        elif plan := _PLAN.match(text):
            if planned is not None:
                raise ValueError("the report has two plans")
            planned, begun = int(plan[1]), True
        elif found := _LINE.match(text):
            count += 1
            yield _point(found, count)
        elif not begun and not count:
            raise ValueError(f"the report is neither JUnit XML nor TAP: {shown(text, limit=60)!r}")
    if planned is None:
        raise ValueError("the report has no plan (1..N): it may have ended too early")
    if planned != count:
        raise ValueError(f"{planned} tests were planned, and {count} are listed")


def _point(found: re.Match[str], count: int) -> tuple[str, Outcome]:
    refused, number, rest = found[1], found[2], found[3] or ""
    if number and int(number) != count:
        raise ValueError(f"test {number} is listed where test {count} was due")
    directive = _DIRECTIVE.search(rest)
    name = (rest[: directive.start()] if directive else rest).strip() or f"test {count}"
    word = directive[1].lower() if directive else ""
    # A "todo" test that passes or fails proves nothing yet, as its authors say.
    outcome: Outcome = "skipped" if word else "failed" if refused else "passed"
    return name, outcome
