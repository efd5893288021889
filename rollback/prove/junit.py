"""JUnit XML of one tier, for whatever reads such: the tests one by one, and last the gate itself.

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
    hide: Callable[[str], str],
) -> bool:  # fmt: skip
    """`SUITE.xml` stands in the folder, whole, in place of an earlier one; False where it cannot.

    `reasons` say why the gate stays closed: with one of them the last test case, the gate of the
    suite, has failed, whatever the tests say. Units: `at` is when it began, ISO 8601.
    """
    data = document(system, suite, tests, reasons, duration_s, at, about, hide)
    with suppress(OSError, HostError):
        with host.tree(str(folder.parent)) as above:
            above.make_folder(folder.name, parents=True)
        with host.tree(str(folder)) as tree:
            tree.write(f"{suite}.xml", data, sync=False)
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
            said = _said(test)
            ET.SubElement(case, _kind(test), message=told(said)[:MESSAGE_CHARS_MAX]).text = told(
                said
            )
        elif test.asked is not None and test.known_red:
            said = told(
                f"known failure: {test.asked.evidence}"
            )  # XML has no word between green and red
            ET.SubElement(case, "skipped", message=said[:MESSAGE_CHARS_MAX]).text = said
        elif test.asked is not None:
            ET.SubElement(case, "system-out").text = told(test.asked.evidence)
    gate = ET.SubElement(one, "testcase", classname=told(f"{system}.{suite}"), name="the gate",
                         time="0.000")  # fmt: skip
    if reasons:
        why = told("\n".join(reasons))
        ET.SubElement(gate, "failure", message=told(reasons[0])[:MESSAGE_CHARS_MAX]).text = why
    for element in (top, one):
        element.set("tests", str(len(tests) + 1))
        for word, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            element.set(word, str(len(one.findall(f"testcase/{kind}"))))
        element.set("time", f"{duration_s:.3f}")
    ET.indent(top)
    whole: bytes = ET.tostring(top, encoding="utf-8", xml_declaration=True)
    return whole + b"\n"


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
