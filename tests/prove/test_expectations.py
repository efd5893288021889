"""The required list: from the declaration, the level, the seal; never from what was collected."""

from __future__ import annotations

from datetime import UTC, datetime

from rollback.host import Host
from rollback.prove import seal as seals
from rollback.prove.expect import expectations
from rollback.prove.seal import Sealed
from tests.prove.conftest import Little

NOW = datetime(2026, 11, 20, tzinfo=UTC)
FILES = "- files: {{id: {}, exists: [data/a.txt]{}}}"


def _little(little: Little) -> Little:
    little.checks = {
        "smoke": [FILES.format("one", ""), FILES.format("two", ", levels: [back]"),
                  FILES.format("three", ", levels: [other]")],
        "functional": [FILES.format("four", ""), FILES.format("five", "")],
    }  # fmt: skip
    return little


def test_without_a_level_every_unlimited_check_must_pass(little: Little) -> None:
    """`verify` by hand asks what belongs to no level in particular."""
    wanted = expectations(_little(little).load())
    assert wanted.outcomes == {"one": "pass", "four": "pass", "five": "pass"}


def test_a_level_asks_its_suites_and_the_checks_made_for_it(little: Little) -> None:
    """Checks limited to another level are neither wanted nor run."""
    wanted = expectations(_little(little).load(), "back")
    assert wanted.suites == ("smoke",)
    assert wanted.outcomes == {"one": "pass", "two": "pass"}


def test_the_gate_says_what_is_expected_of_whom(little: Little) -> None:
    """Fail and absent are answers too, after something was switched off."""
    little.gate = "suites: [smoke, functional], expect: {one: fail, five: absent}"
    wanted = expectations(_little(little).load(), "back")
    assert wanted.outcomes == {"one": "fail", "two": "pass", "four": "pass", "five": "absent"}


def test_a_single_check_of_another_suite_may_be_wanted(little: Little) -> None:
    """`checks:` names some without their whole suite."""
    little.gate = "suites: [smoke], checks: [four]"
    wanted = expectations(_little(little).load(), "back")
    assert wanted.suites == ("smoke", "functional")
    assert set(wanted.outcomes) == {"one", "two", "four"}


def test_a_retired_check_is_asked_no_more(little: Little) -> None:
    """Retired by somebody, for a reason, in the declaration."""
    _little(
        little
    ).extra = "  retired: [{id: one, by: operator, reason: the file is gone for good}]\n"
    assert "one" not in expectations(little.load(), "back").checks


def _red(little: Little, until: str = "2026-12-31", gate: str = "known_red: allowed") -> Little:
    little.state("ill")
    little.checks = {"smoke": ["- files: {id: one, contains: {data/a.txt: well}}",
                               "- files: {id: two, exists: [data/a.txt]}"]}  # fmt: skip
    little.gate = f"suites: [smoke], {gate}"
    little.extra = (
        f"  known_red: [{{id: one, owner: operator, expires: {until}, reason: being mended}}]\n"
    )
    return little


def test_a_known_failure_is_allowed_only_as_it_was_sealed(little: Little) -> None:
    """Red before, declared, not expired, in the same way: allowed; otherwise closed."""
    system = _red(little).load()
    before = little.run(system=system, wanted=expectations(system))
    assert not before.open
    seal = seals.make(before.sealed(), belongs_to={"checkpoint": "c"}, at="2026-11-19T00:00:00Z")
    wanted = expectations(system, "back", seal, today=NOW)
    assert wanted.outcomes == {"one": "known-red", "two": "pass"}
    allowed = little.run(system=system, wanted=wanted)
    assert (allowed.open, allowed.known_red) == (True, ("one",))
    # the same check, red in another way
    (little.folder / "app" / "data" / "a.txt").unlink()
    worse = little.run(system=system, wanted=wanted)
    assert any("in another way" in reason for reason in worse.reasons)
    # expired, forbidden by the level, or without a seal
    late = _red(little, until="2026-11-19").load()
    assert expectations(late, "back", seal, today=NOW).outcomes["one"] == "pass"
    strict = _red(little, gate="known_red: none").load()
    assert expectations(strict, "back", seal, today=NOW).outcomes["one"] == "pass"
    assert expectations(system, "back", None, today=NOW).outcomes["one"] == "pass"


def test_what_the_seal_passed_and_nobody_declares_is_named(little: Little) -> None:
    """A check that vanished without being retired is said; no seal is said too."""
    system = _little(little).load()
    seal = seals.make(
        {"gone": Sealed(suite="smoke", answer="pass")}, belongs_to={}, at="2026-11-19T00:00:00Z"
    )
    assert "no longer declared: gone" in expectations(system, "back", seal, today=NOW).notes[0]
    assert "no baseline" in expectations(system, "back").notes[0]


def test_an_unbuilt_check_closes_the_gate(little: Little) -> None:
    """What cannot be asked yet is required all the same."""
    little.checks["smoke"].append(
        "- planned: {kind: telepathy, with: {id: mood}, missing: a way to read minds}"
    )
    result = little.run()
    assert not result.open
    assert any("mood did not run: not built yet" in reason for reason in result.reasons)


def test_expected_outcomes_are_asked_of_real_checks(little: Little) -> None:
    """A check that must fail does, one that must be absent is not asked, UNKNOWN is neither."""
    little.checks = {
        "smoke": ["- files: {id: one, absent: [data/a.txt]}", "- files: {id: two, absent: [data]}",
                  "- files: {id: three, exists: [data]}"]
    }  # fmt: skip
    little.gate = "suites: [smoke], expect: {one: fail, two: absent}"
    result = little.run()
    assert (result.open, set(result.findings)) == (True, {"one", "three"})
    little.checks["smoke"][0] = "- http: {id: one, url: 'http://127.0.0.1:9/', status: 200}"
    (little.folder / "app" / "data" / "a.txt").unlink()
    little.gate = "suites: [smoke], expect: {three: fail, two: absent}"
    closed = little.run()
    assert any("three answered PASS, wanted fail" in reason for reason in closed.reasons)
    assert Host().clock.boot_s() > 0
