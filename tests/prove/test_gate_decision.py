"""The decision alone: every kind of evidence that must close the gate closes it, with a reason.

What these cases are worth is asked in test_mutants.py: each condition changed, one at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollback.prove.expect import Expected
from rollback.prove.gate import Evidence, judge
from rollback.prove.verdict import Asked, Outcome, Verdict

SMOKE = "verification/smoke/test_declared.py"
PIN = {SMOKE: "a" * 64}


def told(check: str, answer: str = "pass", expected: str = "pass", **more: Any) -> Outcome:
    asked = Asked(id=check, expected=expected, answer=answer, evidence="seen", fingerprint="f0")
    passed: Any = {"setup": "passed", "call": "passed", "teardown": "passed"}
    return Outcome(nodeid=f"{SMOKE}::t[{check}]", asked=asked, **{**passed, **more})


def evidence(*tests: Outcome, **more: Any) -> Evidence:
    """An honest child that asked check `one` and got PASS, changed by `more`."""
    tests = tests or (told("one"),)
    ids = tuple(dict.fromkeys(test.nodeid for test in tests))
    verdict = Verdict(
        format=1, nonce="n", suite="smoke", declaration="d", exit_status=0, collected=ids,
        selected=ids, collect_problems=(), tests=tests, files=PIN, left_behind=(),
    )  # fmt: skip
    seen = {key: more.pop(key) for key in tuple(more) if key in Verdict.model_fields}
    return replace(
        Evidence("smoke", "n", "d", 0, False, 9.0, verdict.model_copy(update=seen), "",
                 {"one": Expected("one", "smoke", "pass")}, PIN, PIN, PIN),
        **more,
    )  # fmt: skip


WANTS = {name: {"one": Expected("one", "smoke", name)} for name in ("pass", "fail", "absent")}
RED = {"one": Expected("one", "smoke", "known-red", "f0")}
plain_team_test = Outcome(nodeid=f"{SMOKE}::team", setup="passed", call="passed", teardown="passed")

MORE = {**PIN, "verification/smoke/test_b.py": "c" * 64}
CONFTEST = {**PIN, "verification/conftest.py": "c" * 64}

OPEN: dict[str, Evidence] = {
    "honest": evidence(),
    "expected failure": evidence(told("one", "fail", "fail"), expected=WANTS["fail"]),
    "absent": evidence(plain_team_test, expected=WANTS["absent"]),
    "known failure": evidence(told("one", "fail", "known-red"), expected=RED),
    "known failure that is well again": evidence(told("one", "pass", "known-red"), expected=RED),
    "team tests alone": evidence(plain_team_test, expected={}),
    "no files to pin": evidence(pinned={}, before={}, after={}, files={}),
    "a conftest": evidence(pinned=CONFTEST, before=CONFTEST, after=CONFTEST, files=CONFTEST),
    "two files": evidence(
        told("one"),
        Outcome(
            nodeid="verification/smoke/test_b.py::team",
            setup="passed",
            call="passed",
            teardown="passed",
        ),
        pinned=MORE,
        before=MORE,
        after=MORE,
        files=MORE,
    ),
    "two tests": evidence(told("one"), plain_team_test),
}

DIED = {"verdict": None, "problem": "the suite ended without a verdict"}
CLOSED: dict[str, tuple[Evidence, str]] = {
    "status": (evidence(status=1), "status 1 (tests failed)"),
    "status beside reasons": (evidence(status=3, left_behind=("7 x",)), "status 3"),
    "signal": (evidence(status=-9), "signal 9"),
    "unknown status": (evidence(status=77), "status 77"),
    "late": (evidence(timed_out=True), "within 9 s"),
    "died": (evidence(**DIED), "without a verdict"),
    "died silently": (evidence(verdict=None), "without a verdict"),
    "nonce": (evidence(nonce="m"), "nonce"),
    "other suite": (evidence(suite="functional"), "about functional"),
    "other declaration": (evidence(declaration="e"), "another declaration"),
    "status inside": (evidence(exit_status=1), "exited 0, but the session ended with status 1"),
    "collect": (evidence(collect_problems=("x.py failed: no",)), "not collected: x.py"),
    "deselected": (evidence(collected=(f"{SMOKE}::t[one]", "z")), "z was collected and then"),
    "ignored file": (evidence(pinned=MORE, before=MORE, after=MORE, files=MORE),
                     "no test of the pinned file verification/smoke/test_b.py"),
    "daemon": (evidence(left_behind=("7 sleep",)), "left a process behind: 7 sleep"),
    "no tests": (evidence(tests=(), collected=(), selected=(), expected={}), "no test ran"),
    "twice": (evidence(told("one"), told("one")), "more than once"),
    "did not run": (evidence(selected=(f"{SMOKE}::t[one]", "z"), collected=("z", f"{SMOKE}::t[one]")),
                    "z was selected and did not run"),
    "stranger": (evidence(selected=(), collected=()), "ran without being selected"),
    "other files ran": (evidence(files={}), "suite that ran is not the pinned one"),
    "unpinned": (evidence(before={**PIN, "x.py": "b"}, after={**PIN, "x.py": "b"}), "x.py is not pinned"),
    "pinned and gone": (evidence(before={}, after={}), "is pinned and is not there"),
    "not the pinned": (evidence(before={SMOKE: "b"}, after={SMOKE: "b"}), "is not the pinned one"),
    "changed": (evidence(after={SMOKE: "b"}), "changed while the suite ran"),
    "vanished": (evidence(after={}), "changed while the suite ran"),
    "required missing": (evidence(plain_team_test), "required check one did not run"),
    "not built": (evidence(plain_team_test, expected={"one": Expected("one", "smoke", "pass",
                  missing="not built yet: x")}), "did not run: not built yet: x"),
    "failed": (evidence(told("one", "fail", call="failed", why="check one answered FAIL")),
               "check one answered FAIL, wanted pass: seen"),
    "failed, said passed": (evidence(told("one", "fail")), "answered FAIL, wanted pass"),
    "unknown": (evidence(told("one", "unknown")), "UNKNOWN, which proves nothing"),
    "unknown, fail wanted": (evidence(told("one", "unknown", "fail"), expected=WANTS["fail"]),
                             "UNKNOWN, which proves nothing"),
    "unknown, known red": (evidence(told("one", "unknown", "known-red"), expected=RED),
                           "UNKNOWN, which proves nothing"),
    "passed, fail wanted": (evidence(told("one", "pass", "fail"), expected=WANTS["fail"]),
                            "answered PASS, wanted fail"),
    "red in another way": (evidence(told("one", "fail", "known-red"),
                           expected={"one": Expected("one", "smoke", "known-red", "other")}),
                           "in another way than the known failure"),
    "absent and ran": (evidence(told("one"), expected=WANTS["absent"]), "ran, wanted absent"),
    "renamed": (evidence(told("uno")), "required check one did not run"),
    "not required": (evidence(told("one"), told("two")), "two ran and is not in the required"),
    **{
        f"{phase} {said}": (evidence(told("one", **{phase: said})), f"{phase} {shown}")
        for phase in ("setup", "call", "teardown")
        for said, shown in (("failed", "failed"), ("skipped", "skipped"), ("", "did not run"))
    },
    "odd": (evidence(told("one", oddities=("rerun after a failure",))), "rerun after a failure"),
    "why": (evidence(told("one", call="failed", why="boom")), "call failed: boom"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPEN)
def test_whole_evidence_opens(case: str) -> None:
    """With every proof there, nothing keeps the gate closed."""
    assert judge(OPEN[case]) == ()


@pytest.mark.requirement("MB-71")
@pytest.mark.parametrize("case", CLOSED)
def test_each_missing_proof_closes(case: str) -> None:
    """One proof missing or wrong: closed, with a line that says which."""
    given, reason = CLOSED[case]
    reasons = judge(given)
    assert any(reason in line for line in reasons), reasons
    assert all("\n" not in line for line in reasons)


WHY = "check one answered FAIL, wanted pass: seen"
ONCE = evidence(told("one", "fail", call="failed", why=WHY), status=1, exit_status=1)


def test_a_failed_check_is_said_once() -> None:
    """A person reads one line for one failed check, not one for each way in which it shows."""
    assert judge(ONCE) == (WHY,)
