"""No condition of the gate's decision could be another one without some case noticing.

Each module that decides is changed condition by condition (`tests.prove.mutants`), and asked the cases
below; the module as it is answers all of them as it should.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rollback.host import Host
from rollback.model.finding import Measured
from rollback.model.system import System
from rollback.prove import expect, gate, verdict
from rollback.prove import seal as seals
from rollback.prove.expect import Expected, expectations
from rollback.prove.likeness import Likeness
from rollback.prove.seal import Beyond, Seal, Sealed
from rollback.prove.verdict import Outcome
from tests.prove.conftest import Little
from tests.prove.mutants import mutants, survivors
from tests.prove.test_gate_decision import CLOSED, ONCE, OPEN, WHY
from tests.prove.test_verdict import BYTES, WHOLE, WRONG

ALL = (gate, expect, verdict)
Holds = Callable[[ModuleType], bool]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@contextmanager
def held(module: ModuleType) -> Iterator[Holds]:
    """The question whether a module of this name decides every case as it should."""
    with tempfile.TemporaryDirectory() as folder:
        made = {gate: _Judge, expect: _Lists, verdict: _Reads}[module](Path(folder))
        yield made.holds


# -- judge, witness, unchanged -------------------------------------------------------------

SMOKE = [
    "- files: {id: well, contains: {data/a.txt: well}}",
    "- files: {id: limited, contains: {data/a.txt: limited}, levels: [other]}",
    "- files: {id: retired, contains: {data/a.txt: never}}",
    "- files: {id: old, contains: {data/a.txt: never}}",
    "- planned: {kind: telepathy, with: {id: mood}, missing: a way to read minds}",
    "- log: {id: trail-whole, file: trail.jsonl, append_only: trail}",
]
RETIRED = "  retired: [{id: retired, by: operator, reason: wrong}, {id: old, by: operator, reason: gone}]\n"
RED = "- files: {id: red, contains: {data/a.txt: red}}"


class _Judge:
    def __init__(self, folder: Path) -> None:
        self.little = Little(folder / "little")
        (self.little.folder / "app" / "trail.jsonl").write_text('{"n": 1}\n')
        self.little.checks, self.little.extra = {"smoke": SMOKE, "functional": [RED]}, RETIRED
        self.system = self.little.load()
        self.kept = {"trail": {"size_bytes": 9, "sha256": _sha('{"n": 1}\n')}}

    def holds(self, module: Any) -> bool:
        return (
            all(module.judge(given) == () for given in OPEN.values())
            and all(any(why in line for line in module.judge(given)) for given, why in CLOSED.values())
            and module.judge(ONCE) == (WHY,) and module._status(0) == "status 0"
            and self._witnesses(module) and self._unchanged(module) and self._vanished(module)
        )  # fmt: skip

    def _witnesses(self, module: Any) -> bool:
        def said(state: str, wanted: Any = None, held_: Any = None) -> list[str]:
            self.little.state(state)
            return [line.split(" answered ")[0].removeprefix("witness: check ") for line in
                    module.witness(self.system, Host(), wanted, None, held_)]  # fmt: skip

        system, kept = self.system, self.kept
        absent = expectations(system)
        absent.checks["well"] = Expected("well", "smoke", "absent")  # type: ignore[index]
        fails = expectations(system)
        fails.checks["well"] = Expected("well", "smoke", "fail")  # type: ignore[index]
        functional = expectations(system, suites=("functional",))
        return (
            said("well", held_=kept) == []
            and "no checkpoint holds trail" in str(module.witness(self.system, Host()))
            and said("well", held_={"trail": {**kept["trail"], "sha256": "0" * 64}}) == ["trail-whole"]
            and said("ill", held_=kept) == ["well"]
            and said("ill", absent, kept) == [] and said("ill", fails, kept) == []
            and said("well", fails, kept) == ["well"]
            and said("ill", functional, kept) == ["well"]
            and said("well", expectations(system, "other"), kept) == ["limited"]
            and said("limited", expectations(system, "other"), kept) == ["well"]
        )  # fmt: skip

    def _vanished(self, module: Any) -> bool:
        there = [Outcome(nodeid="a.py::one")]
        said = [*module.vanished(("a.py::one", "a.py::two"), there)]
        return len(said) == 1 and said[0].startswith("test a.py::two passed when this was sealed")

    def _unchanged(self, module: Any) -> bool:
        def said(changed: dict[str, list[str]]) -> tuple[str, ...]:
            found: tuple[str, ...] = module.unchanged(
                self.system, changed, lambda name: changed[name]
            )
            return found

        most = [f"data/{number}" for number in range(module.REASONS_MAX)]
        return (
            said({"data": ["a"], "scratch": ["s"], "trail": ["t"]})
            == ("data: a changed after it was restored",)
            and said({"data": []}) == ()
            and said({"data": most}) == tuple(f"data: {x} changed after it was restored" for x in most)
            and said({"data": [*most, "x", "y"]})[-1] == "and 2 more paths changed after they were restored"
            and len(said({"data": [*most, "x", "y"]})) == module.REASONS_MAX + 1
        )  # fmt: skip


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- the required list ---------------------------------------------------------------------

LISTED = {
    "smoke": ["- files: {id: s1, exists: [data]}", "- files: {id: s2, exists: [data], levels: [other]}",
              "- files: {id: s3, exists: [data], levels: [back]}",
              "- files: {id: gone, exists: [data]}"],
    "functional": ["- files: {id: f1, exists: [data]}",
                   "- planned: {kind: telepathy, with: {id: mood}, missing: a way to read minds}",
                   "- planned: {kind: telepathy, with: {}, missing: a way to read minds}"],
}  # fmt: skip
KNOWN = ("  retired: [{id: gone, by: operator, reason: x}, {id: 'a.py::old', by: operator, reason: x},\n"
         "            {id: b.py, by: operator, reason: x}]\n"
         "  tolerances: {s1: {ratio: 50%, floor: 3}}\n"
         "  known_red:\n"
         "    - {id: s1, owner: operator, expires: 2026-11-20, reason: x}\n"
         "    - {id: f1, owner: operator, expires: 2026-11-19, reason: x}\n"
         "    - {id: s3, owner: operator, expires: 2027-01-01, reason: x}\n")  # fmt: skip
MOOD = {"mood": "pass", "functional-3": "pass"}


@dataclass(frozen=True)
class _List:
    """A gate and what else is given; what is wanted of whom, in which suites, with which notes."""

    gate: str
    outcomes: dict[str, str]
    suites: tuple[str, ...]
    level: str | None = "back"
    sealed: str = ""
    today: datetime | None = NOW
    only: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ("no baseline: nothing is sealed for this target",)
    known: str = ""
    worse: tuple[float, float] = (0.5, 3.0)
    tests: tuple[str, ...] = ()
    not_asked: tuple[str, ...] = ()


BOTH, ONE = ("smoke", "functional"), ("smoke",)
S13 = {"s1": "pass", "s3": "pass"}
LISTS = [
    _List("suites: [smoke]", S13, ONE),
    _List("suites: [smoke, functional]", {**S13, "f1": "pass", **MOOD}, BOTH),
    _List("suites: [smoke, functional], expect: {f1: fail, s1: absent}",
          {"s1": "absent", "s3": "pass", "f1": "fail", **MOOD}, BOTH),
    _List("suites: [smoke], expect: {f1: absent}", S13, ONE),
    _List("suites: [smoke], expect: {f1: fail}", {**S13, "f1": "fail"}, BOTH),
    _List("suites: [smoke], expect: {f1: pass}", {**S13, "f1": "pass"}, BOTH),
    _List("suites: [smoke], checks: [f1]", {**S13, "f1": "pass"}, BOTH),
    _List("suites: [smoke], checks: [f1], expect: {f1: absent}", {**S13, "f1": "absent"}, BOTH),
    _List("suites: [functional]", {"f1": "pass", **MOOD}, ("functional",)),
    _List("suites: [integration]", {}, ("integration",)),
    _List("suites: [smoke]", {"s1": "pass", "s2": "pass"}, ONE, level="other"),
    _List("suites: [smoke]", {"s1": "pass", "f1": "pass", **MOOD},
          ("smoke", "functional", "integration", "performance"), level=None),
    _List("suites: [smoke]", {"s1": "pass", "f1": "pass", **MOOD},
          ("smoke", "functional", "integration", "performance"), level=""),
    _List("suites: [smoke], checks: [s1], expect: {f1: fail}", {"f1": "fail", **MOOD},
          ("functional",), only=("functional",)),
    _List("suites: [smoke], known_red: allowed", {"s1": "known-red", "s3": "pass"}, ONE, sealed="red",
          notes=("passed when sealed, no longer declared: vanished", "known failures allowed: s1"),
          known="f-s1"),
    _List("suites: [smoke], known_red: none", S13, ONE, sealed="red",
          notes=("passed when sealed, no longer declared: vanished",)),
    _List("suites: [smoke], known_red: allowed, expect: {s1: fail}", {"s1": "fail", "s3": "pass"}, ONE,
          sealed="red", notes=("passed when sealed, no longer declared: vanished",)),
    _List("suites: [smoke, functional], known_red: allowed", {**S13, "f1": "pass", **MOOD}, BOTH,
          sealed="red", today=None, notes=("passed when sealed, no longer declared: vanished",)),
    _List("suites: [functional], known_red: allowed", {"f1": "pass", **MOOD}, ("functional",),
          sealed="red", notes=("passed when sealed, no longer declared: vanished",),
          not_asked=("smoke",)),
    _List("suites: [smoke], known_red: allowed", {"s1": "pass", "s3": "known-red"}, ONE, sealed="bare",
          notes=("known failures allowed: s3",), known="f-s3", worse=(0.1, 0.0),
          tests=("a.py::one", "a.py::two"), not_asked=("functional", "performance")),
    _List("suites: [smoke], known_red: allowed", S13, ONE),
    _List("suites: [smoke], known_red: allowed", S13, ONE, sealed="green", notes=()),
]  # fmt: skip


class _Lists:
    def __init__(self, folder: Path) -> None:
        self.systems: dict[str, System] = {}
        self.without: System | None = None
        for number, text in enumerate(dict.fromkeys(one.gate for one in LISTS)):
            little = Little(folder / str(number), checks=LISTED, gate=text, extra=KNOWN)
            self.systems[text] = little.load()
        little = Little(folder / "without", checks=LISTED, extra=KNOWN + "procedures:\n  walk:\n"
                        "    title: Walk\n    steps: [{wait: {id: x, for: 1s}}]\n"
                        "    gate: {suites: [functional]}\n  stroll:\n    title: Stroll\n"
                        "    steps: [{wait: {id: x, for: 1s}}]\n")  # fmt: skip
        self.without = little.load()
        red, green = Sealed(suite="smoke", answer="fail"), Sealed(suite="smoke", answer="pass")
        self.seals = {
            "": None,
            "red": _sealed(s1=red.model_copy(update={"fingerprint": "f-s1"}), f1=red, s3=green,
                           vanished=green, gone=green, broken=red, s2=green),
            "bare": _sealed(
                s3=red.model_copy(update={"fingerprint": "f-s3", "beyond": (BEYOND,)}),
                f1=Sealed(suite="functional", answer="fail"),
            ).model_copy(update={"tests": {
                "smoke": {"a.py::one": "passed", "a.py::old": "passed", "b.py::x": "passed",
                          "a.py::bad": "failed", "a.py::two": "passed"},
                "performance": {"p.py::slow": "passed"},
            }}),
            "green": _sealed(s1=green, s3=Sealed(suite="smoke", answer="unknown")),
        }  # fmt: skip

    def holds(self, module: Any) -> bool:
        return (all(self._listed(module, one) for one in LISTS) and self._procedures(module)
                and self._shortfalls(module) and self._names(module))  # fmt: skip

    def _listed(self, module: Any, one: _List) -> bool:
        system = self.systems[one.gate]
        found = module.expectations(system, one.level, self.seals[one.sealed], today=one.today,
                                    suites=one.only)  # fmt: skip
        by_object = one.level and module.expectations(
            system,
            system.levels[one.level],
            self.seals[one.sealed],
            today=one.today,
            suites=one.only,
        )
        missing = {key: found.checks[key].missing for key in MOOD if key in found.checks}
        return bool(
            found.outcomes == one.outcomes and found.suites == one.suites and found.notes == one.notes
            and found.level == (one.level or "")
            and (not one.level or (by_object.outcomes, by_object.level) == (one.outcomes, one.level))
            and all(said == "not built yet: a way to read minds" for said in missing.values())
            and all(not c.missing for key, c in found.checks.items() if key not in MOOD)
            and {c.fingerprint for c in found.checks.values()} - {""} == {one.known} - {""}
            and all(set(found.of(s)) == {k for k, c in found.checks.items() if c.suite == s}
                    for s in BOTH)
            and {c.suite for c in found.checks.values()} <= set(found.suites)
            and all((c.share, c.floor) == one.worse and bool(c.measured) == (one.sealed == "bare")
                    for c in found.checks.values() if c.fingerprint)
            and found.tests == ({"smoke": one.tests} if one.tests else {})
            and found.not_asked == one.not_asked
        )  # fmt: skip

    def _procedures(self, module: Any) -> bool:
        system = self.without
        assert system is not None
        walk = module.expectations(system, system.procedures["walk"])
        stroll = module.expectations(system, system.procedures["stroll"])
        asked = module.expectations(system, system.procedures["stroll"], suites=("functional",))
        return bool(
            walk.outcomes == {"f1": "pass", **MOOD} and walk.level == "walk"
            and (stroll.suites, stroll.checks, stroll.level) == ((), {}, "stroll")
            and asked.outcomes == {"f1": "pass", **MOOD}
        )  # fmt: skip

    def _shortfalls(self, module: Any) -> bool:
        def said(wanted: Any, answer: str, mark: str = "f0", value: float = 6) -> str:
            known = Expected("c", "smoke", wanted, "f0", measured=(OVER,), share=0.5, floor=1)
            like = Likeness(mark, (replace(OVER, value=value),))
            found: str = module.shortfall(known, answer, like, "seen")
            return found

        proves = ", which proves nothing: seen"
        return all((
            *(said(one, "unknown") == f"check c answered UNKNOWN{proves}"
              for one in ("pass", "fail", "known-red", "absent")),
            said("pass", "pass") == said("fail", "fail") == said("known-red", "fail") == "",
            said("known-red", "pass") == said("known-red", "pass", "f1") == "",
            said("known-red", "fail", "f1")
            == "check c answered FAIL in another way than the known failure: seen",
            said("known-red", "fail", value=9) == "",
            "it was 6 and is 9.5" in said("known-red", "fail", value=9.5),
            said("pass", "fail") == "check c answered FAIL, wanted pass: seen",
            said("fail", "pass") == "check c answered PASS, wanted fail: seen",
        ))  # fmt: skip

    def _names(self, module: Any) -> bool:
        nameless = self.systems[LISTS[0].gate].verification.smoke[0].model_copy(update={"id": None})
        return bool(module._id(nameless, "smoke-1") == "smoke-1")


OVER = Measured("a below", 6, 5, "higher")
BEYOND = Beyond(what="a below", value=6, limit=5, worse="higher")


def _sealed(**findings: Sealed) -> Seal:
    return seals.make(findings, belongs_to={"checkpoint": "c"}, at="2026-11-19T00:00:00Z")


# -- the verdict file ----------------------------------------------------------------------


class _Reads:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds(self, module: Any) -> bool:
        file = self.folder / "verdict.json"
        file.unlink(missing_ok=True)
        if self._read(module, lambda: module.read(file, Host())) is not None:
            return False
        module.write(file, WHOLE, Host())
        whole = module.read(file, Host())
        phases = list(itertools.product(("passed", "failed", "skipped", ""), repeat=3))
        return (
            whole.model_dump() == WHOLE.model_dump()
            and module.parse(BYTES).model_dump() == WHOLE.model_dump()
            and all(self._read(module, lambda data=data: module.parse(data)) is None
                    for data in WRONG.values())
            and all(self._plain(module, *three) is (three == ("passed",) * 3) for three in phases)
            and not self._plain(module, "passed", "passed", "passed", oddities=("skipped",))
            and [self._known_red(module, *two) for two in itertools.product(
                ("known-red", "fail", "pass"), ("fail", "pass", "unknown"))] == [True] + 8 * [False]
            and not module.Outcome(nodeid="x").known_red
        )  # fmt: skip

    def _read(self, module: Any, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except module.NoVerdict:
            return None

    def _known_red(self, module: Any, expected: Any, answer: Any) -> bool:
        asked = module.Asked(
            id="c", expected=expected, answer=answer, evidence="x", fingerprint="f"
        )
        return bool(module.Outcome(nodeid="x", asked=asked).known_red)

    def _plain(self, module: Any, setup: str, call: str, teardown: str, **more: Any) -> bool:
        made: Outcome = module.Outcome(
            nodeid="x", setup=setup, call=call, teardown=teardown, **more
        )
        return made.plain


@pytest.mark.requirement("MB-71")
@pytest.mark.parametrize("module", ALL, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_condition_of_the_decision_is_needed(
    module: ModuleType, record_property: Callable[[str, object], None]
) -> None:
    """All mutants are noticed, and they are as many as conditions: none is left out by mistake."""
    with held(module) as holds:
        count, found = survivors(module, holds)
    record_property("mutants", count)
    assert found == []
    assert count >= {gate: 90, expect: 40, verdict: 3}[module]


def test_a_mutant_is_a_module_of_its_own_with_one_condition_changed() -> None:
    """The module that it was made of goes on deciding as before."""
    every = list(mutants(verdict))
    assert len({str(one) for one in every}) == len(every)
    assert all(one.module is not verdict and one.was != one.now for one in every)
    assert verdict.parse(BYTES) == WHOLE
