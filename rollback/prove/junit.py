"""JUnit XML of one tier, for whatever reads such: the tests one by one, and the gate in a suite of its own.

Hides: XML, and which characters it cannot hold.
Never: is read by a gate; stops one when it cannot be written.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from rollback.host import Host
from rollback.model.errors import HostError
from rollback.prove.verdict import Outcome

_FOREIGN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MESSAGE_CHARS_MAX = 300


def write(
    folder: Path, host: Host, *, system: str, suite: str, tests: Sequence[Outcome],
    reasons: Sequence[str], duration_s: float, at: str, about: Mapping[str, str],
    hide: Callable[[str], str], step: str = "",
) -> bool:  # fmt: skip
    """`SUITE.xml`, of a step `STEP.SUITE.xml`, stands in the folder, whole, in place of an earlier one.

    False where it cannot.

    `reasons` say why the gate stays closed: with one of them the last test case, SYSTEM.gate: SUITE,
    has failed, whatever the tests say. It is always there, so that its history has no holes, and in a
    suite of its own, so that the tests are as many as were run. Units: `at` is when it began, ISO 8601.
    """
    data = document(system, suite, tests, reasons, duration_s, at, about, hide)
    with suppress(OSError, HostError):
        with host.tree(str(folder.parent)) as above:
            above.make_folder(folder.name, parents=True)
        with host.tree(str(folder)) as tree:
            tree.write(f"{step}.{suite}.xml" if step else f"{suite}.xml", data, sync=False)
        return True
    return False


def document(
    system: str, suite: str, tests: Sequence[Outcome], reasons: Sequence[str], duration_s: float,
    at: str, about: Mapping[str, str], hide: Callable[[str], str],
) -> bytes:  # fmt: skip
    """The same as bytes: XML 1.0 whatever the texts hold; what it has no character for is spelt out."""

    def told(text: str) -> str:
        return _FOREIGN.sub(_spelt, hide(text))

    top = ET.Element("testsuites", name=told(system))
    one = ET.SubElement(top, "testsuite", name=told(f"{system}.{suite}"), timestamp=at[:19])
    known = ET.SubElement(one, "properties")
    for name, value in about.items():
        if value:
            ET.SubElement(known, "property", name=told(name), value=told(value))
    for test in tests:
        where, name = _names(system, suite, test)
        case = ET.SubElement(one, "testcase", classname=told(where), name=told(name),
                             time=f"{test.duration_s:.3f}")  # fmt: skip
        if not test.plain:
            _wrong(case, _kind(test), told(_said(test)), _answer(test))
        elif test.asked is not None and test.known_red:
            # XML has no word between green and red
            said = told(f"known failure: {test.asked.evidence}")
            ET.SubElement(case, "skipped", message=said[:MESSAGE_CHARS_MAX]).text = said
        elif test.asked is not None:
            ET.SubElement(case, "system-out").text = told(test.asked.evidence)
    last = ET.SubElement(top, "testsuite", name=told(f"{system}.gate"), timestamp=at[:19])
    gate = ET.SubElement(
        last, "testcase", classname=told(f"{system}.gate"), name=suite, time="0.000"
    )
    if reasons:
        _wrong(gate, "failure", told("\n".join(reasons)), "closed")
    for element, took_s in ((top, duration_s), (one, duration_s), (last, 0.0)):
        for word, kind in (
            ("tests", "testcase"), ("failures", "failure"), ("errors", "error"),
            ("skipped", "skipped"),
        ):  # fmt: skip
            element.set(word, str(sum(1 for _ in element.iter(kind))))
        element.set("time", f"{took_s:.3f}")
    ET.indent(top)
    whole: bytes = ET.tostring(top, encoding="utf-8", xml_declaration=True)
    return whole + b"\n"


def _wrong(case: ET.Element, kind: str, said: str, answer: str) -> None:
    """The first line in front, all of it behind; of which type, where there is one."""
    found = ET.SubElement(case, kind, message=said.strip().partition("\n")[0][:MESSAGE_CHARS_MAX])
    if kind != "skipped":
        found.set("type", answer)
    found.text = said


def _answer(test: Outcome) -> str:
    """What a viewer files it under: the answer of a declared check, else that a test did not pass."""
    return test.asked.answer if test.asked is not None else "test"


def _names(system: str, suite: str, test: Outcome) -> tuple[str, str]:
    """Where a test belongs, and what it is called: a declared check by its id."""
    if test.asked is not None:
        return f"{system}.{suite}", test.asked.id
    path, _, name = test.nodeid.partition("::")
    return f"{system}.{suite}.{PurePosixPath(path).stem}", name or path


def _kind(test: Outcome) -> str:
    if "skipped" in (test.setup, test.call, test.teardown):
        return "skipped"
    unknown = test.asked is not None and test.asked.answer == "unknown"
    broken = "failed" in (test.setup, test.teardown) or not test.call
    return "error" if unknown or broken else "failure"


def _said(test: Outcome) -> str:
    phases = {"setup": test.setup, "call": test.call, "teardown": test.teardown}
    wrong = [f"{name} {how or 'did not run'}" for name, how in phases.items() if how != "passed"]
    return test.why or "; ".join((*test.oddities, *wrong))


def _spelt(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
