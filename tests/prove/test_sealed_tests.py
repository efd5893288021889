"""A team's tests that passed when it was sealed: each is there at the gate, or is retired by somebody."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rollback.act.sealed import good
from rollback.prove import seal as seals
from rollback.prove.expect import expectations
from rollback.prove.seal import Seal
from rollback.prove.suite import SuiteResult
from tests.prove.conftest import Little

NOW = datetime(2026, 11, 20, tzinfo=UTC)
TEAM = "verification/smoke/test_team.py"
OTHER = "verification/smoke/test_other.py"
DEEP = "verification/functional/test_deep.py"
BOTH = "def test_one(): pass\n\ndef test_two(): pass\n"


@pytest.fixture
def sealed(little: Little) -> Seal:
    """Two files of the team, all green."""
    little.team(TEAM, BOTH)
    little.team(OTHER, "def test_more(): pass\n")
    little.team(DEEP, "def test_deep(): pass\n")
    system = little.load()
    results = [little.run(suite, system=system) for suite in ("smoke", "functional")]  # type: ignore[arg-type]
    assert all(one.open for one in results)
    tests = {one.suite: one.team for one in results}
    assert tests == {
        "smoke": {f"{OTHER}::test_more": "passed", f"{TEAM}::test_one": "passed",
                  f"{TEAM}::test_two": "passed"},
        "functional": {f"{DEEP}::test_deep": "passed"},
    }  # fmt: skip
    return seals.make({}, belongs_to={"checkpoint": "c"}, at="2026-11-19T00:00:00Z", tests=tests)  # type: ignore[arg-type]


def _at_the_gate(little: Little, seal: Seal) -> SuiteResult:
    system = little.load()
    return little.run(system=system, wanted=expectations(system, "back", seal, today=NOW))


@pytest.mark.requirement("MB-71")
def test_a_test_that_was_sealed_green_may_not_vanish(little: Little, sealed: Seal) -> None:
    """Renamed, or its file taken out of the pinned ones: closed, with its name and what to do."""
    assert _at_the_gate(little, sealed).open
    little.team(TEAM, BOTH.replace("test_two", "test_renamed"))
    renamed = _at_the_gate(little, sealed)
    assert not renamed.open
    assert renamed.reasons == (f"test {TEAM}::test_two passed when this was sealed and is not there any "
                               "more: put it back, or say so under verification: retired",)  # fmt: skip
    del little.pinned[TEAM]
    (little.folder / TEAM).unlink()
    assert len(_at_the_gate(little, sealed).reasons) == 2
    little.pinned.clear()
    none_left = _at_the_gate(little, sealed)
    assert not none_left.open
    assert any("test_more passed when this was sealed" in one for one in none_left.reasons)


def test_a_retired_test_may_go(little: Little, sealed: Seal) -> None:
    """Alone, or with its whole file, by somebody, for a reason."""
    del little.pinned[TEAM]
    one = "{{id: {}, by: operator, reason: it asked about what is gone}}"
    little.extra = f"  retired: [{one.format(repr(f'{TEAM}::test_one'))}]\n"
    assert [why.split()[1] for why in _at_the_gate(little, sealed).reasons] == [f"{TEAM}::test_two"]
    little.extra = f"  retired: [{one.format(TEAM)}]\n"
    assert _at_the_gate(little, sealed).open


def test_a_suite_that_the_level_does_not_ask_for_is_named(little: Little, sealed: Seal) -> None:
    """Its tests are not missed here; that they were sealed and are not asked is known."""
    system = little.load()
    wanted = expectations(system, "back", sealed, today=NOW)
    assert (wanted.not_asked, set(wanted.tests)) == (("functional",), {"smoke"})
    assert expectations(system, "back", None, today=NOW).not_asked == ()
    little.gate = "suites: [smoke, functional]"
    assert expectations(little.load(), "back", sealed, today=NOW).not_asked == ()


def test_what_varies_in_a_name_is_no_other_test(little: Little) -> None:
    """A parameter that is a moment or a made-up id is another one each time."""
    little.team(TEAM, "import pytest, uuid\n\n@pytest.mark.parametrize('order', [str(uuid.uuid4())])\n"
                "def test_one(order): pass\n")  # fmt: skip
    result = little.run()
    seal = seals.make({}, belongs_to={}, at="2026-11-19T00:00:00Z", tests={"smoke": result.team})
    assert _at_the_gate(little, seal).open


def test_a_red_test_of_the_team_makes_a_seal_red(little: Little) -> None:
    """However green the declared checks are."""
    little.team(TEAM, "def test_one(): assert False\n")
    result = little.run()
    seal = seals.make(result.sealed(), belongs_to={}, at="2026-11-19T00:00:00Z",
                      tests={"smoke": result.team})  # fmt: skip
    assert result.sealed()["there"].answer == "pass"
    assert not good(seal)
    assert good(seals.make(result.sealed(), belongs_to={}, at="2026-11-19T00:00:00Z"))
    assert not good(seals.make({}, belongs_to={}, at="2026-11-19T00:00:00Z"))
