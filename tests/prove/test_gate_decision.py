"""The decision alone: every kind of evidence that must close the gate closes it, with a reason.

The last test flips each condition of the decision, one at a time, and sees a case notice.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rollback.prove import gate
from rollback.prove.expect import Expected, shortfall
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


def test_a_failed_check_is_said_once() -> None:
    """A person reads one line for one failed check, not one for each way in which it shows."""
    why = "check one answered FAIL, wanted pass: seen"
    given = evidence(told("one", "fail", call="failed", why=why), status=1, exit_status=1)
    assert judge(given) == (why,)


# -- flipping each condition -----------------------------------------------------------------

DECIDING = ("judge", "tampered", "_session", "_tests", "_not_plain", "_required", "_status")


class _Flip(ast.NodeTransformer):
    """Negates the n-th condition of what it visits."""

    def __init__(self, nth: int) -> None:
        self.nth = nth
        self.seen = 0
        self.flipped = ""

    def _negated(self, test: ast.expr) -> ast.expr:
        mine = self.seen == self.nth
        self.seen += 1
        if not mine:
            return test
        self.flipped = ast.unparse(test)
        return ast.UnaryOp(ast.Not(), test)

    def visit_If(self, node: ast.If) -> ast.AST:
        node.test = self._negated(node.test)
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self._negated(node.test)
        return self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        node.values = [self._negated(value) for value in node.values]
        return self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        node.ifs = [self._negated(test) for test in node.ifs]
        return self.generic_visit(node)

    def visit_For(self, node: ast.For) -> ast.AST:
        mine = self.seen == self.nth
        self.seen += 1
        if mine:
            self.flipped = f"for … in {ast.unparse(node.iter)}"
            node.iter = ast.Tuple([], ast.Load())
        return self.generic_visit(node)


def _mutant(functions: tuple[Callable[..., Any], ...], nth: int) -> tuple[dict[str, Any], str]:
    """The functions with one condition flipped, and which; "" when there are no more."""
    source = "\n\n".join(inspect.getsource(one) for one in functions)
    flip = _Flip(nth)
    tree = ast.fix_missing_locations(flip.visit(ast.parse(source)))
    names = {name: value for one in functions for name, value in one.__globals__.items()}
    if flip.flipped:
        exec(compile(tree, "mutant", "exec", flags=0x1000000), names)  # annotations stay text
    return names, flip.flipped


def _notices(mutant: dict[str, Any]) -> bool:
    try:
        whole = all(mutant["judge"](given) == () for given in OPEN.values())
        closed = all(
            any(reason in line for line in mutant["judge"](given))
            for given, reason in CLOSED.values()
        )
        once = mutant["judge"](ONCE) == judge(ONCE)
    except (AttributeError, KeyError, TypeError):
        return True  # the flipped decision does not even run
    return not (whole and closed and once)


ONCE = evidence(
    told("one", "fail", call="failed", why="check one answered FAIL, wanted pass: seen"),
    status=1, exit_status=1,
)  # fmt: skip


def _survivors(functions: tuple[Callable[..., Any], ...]) -> tuple[int, list[str]]:
    survivors, nth = [], 0
    while True:
        mutant, flipped = _mutant(functions, nth)
        if not flipped:
            return nth, survivors
        if not _notices(mutant):
            survivors.append(flipped)
        nth += 1


def test_every_condition_of_the_decision_is_needed() -> None:
    """Each condition flipped, each loop emptied, one at a time: some case above notices."""
    deciding = tuple(getattr(gate, name) for name in DECIDING)
    conditions, survivors = _survivors((*deciding, shortfall))
    assert conditions > 40
    assert survivors == []
