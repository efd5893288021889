"""Known failures: the same failure is known again, whatever varies; another or a worse one never is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.model.finding import Finding, Measured, failed
from rollback.prove import seal as seals
from rollback.prove.expect import expectations
from rollback.prove.gate import witness
from rollback.prove.likeness import another, likeness
from rollback.prove.seal import Seal, Sealed
from tests.prove.conftest import Little

NOW = datetime(2026, 11, 20, tzinfo=UTC)
FILE = "- config: {id: one, file: data/a.json, values: {load: {below: 5}}}"


def _why(was: Finding, now: Finding, **more: float) -> str:
    return another(likeness("c", was), likeness("c", now), **more)


OTHER = {
    "a status": ("GET /x: status 404, not 200", "GET /x: status 500, not 200"),
    "a count": ("3 of 17 are gone", "16 of 17 are gone"),
    "a version": ("version: 1.2.3 is not 1.2.5", "version: 1.2.4 is not 1.2.5"),
    "an exit": ("worker ended with 1, not 0: no", "worker ended with 139, not 0: no"),
    "what a program says": ("ended with 1: the lag is 5 s", "ended with 1: the lag is 9000 s"),
    "a port": ("port 8080: refused", "port 8081: refused"),
    "a declared port": ("GET http://127.0.0.1:40001/x: refused", "GET http://127.0.0.1:40002/x: refused"),
    "which limit": ("a: 6 is not below 5", "a: 6 is not below 4"),
    "of what": ("a: 6 is not below 5", "b: 6 is not below 5"),
    "one more": ("a: 6 is not below 5", "a: 6 is not below 5; b: 6 is not below 5"),
    "a day": ("release: 2026-11-19 is not 2026-11-20", "release: 2026-11-18 is not 2026-11-20"),
}  # fmt: skip

SAME = {
    "how long it took": ("GET /x: status 404 in 3 ms", "GET /x: status 404 in 1.2 s"),
    "a deadline's wait": ("no answer after 2.01 s", "no answer after 2.3 s"),
    "a moment": ("at 2026-11-20T10:00:00.5Z: no", "at 2026-11-21T11:30:02Z: no"),
    "a time of day": ("10:00:00 ERROR no", "23:59:59.123 ERROR no"),
    "a process": ("web (process 71) is stopped", "web (process 7012) is stopped"),
    "an id": ("order 0b0c1d6e-1111-4222-8333-444455556666 is lost",
              "order 9f0c1d6e-1111-4222-8333-4444555566aa is lost"),
    "an address": ("<object at 0x7f00aa>", "<object at 0x7fbbbb>"),
    "a folder for a while": ("/tmp/tmpabc1/x is gone", "/tmp/tmpzz9/x is gone"),
    "a port that was given out": ("from 127.0.0.1:40001: no", "from 127.0.0.1:50002: no"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHER)
def test_what_a_failure_says_is_part_of_it(case: str) -> None:
    """A status, a count, a limit or a name that differs makes it another failure."""
    was, now = OTHER[case]
    assert "another way" in _why(failed(was), failed(now))


@pytest.mark.parametrize("case", SAME)
def test_what_varies_by_nature_is_no_part_of_it(case: str) -> None:
    """Moments, durations of the asking, made-up ids and numbers of processes do not count."""
    was, now = SAME[case]
    assert _why(failed(was), failed(now)) == ""


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("a: 6 is not below 5", "a: 6.5 is not below 5", ""),
        ("a: 6 is not below 5", "a: 5.1 is not below 5", ""),
        ("a: 6 is not below 5", "a: 6.7 is not below 5", "worse"),
        ("a: 6 is not below 5", "a: 999999 is not below 5", "worse"),
        ("a: 6 is not at most 5", "a: 7 is not at most 5", "worse"),
        ("a: 60 is not above 90", "a: 58 is not above 90", ""),
        ("a: 60 is not above 90", "a: 53 is not above 90", "worse"),
        ("a: 60 is not at least 90", "a: 0 is not at least 90", "worse"),
        ("a: -10 is not at least 0", "a: -10.5 is not at least 0", ""),
        ("a: -10 is not at least 0", "a: -12 is not at least 0", "worse"),
        ("a: 0 is not above 0", "a: -1 is not above 0", "worse"),
    ],
)
def test_a_value_may_be_no_more_than_a_little_worse(was: str, now: str, why: str) -> None:
    """As it was, better, or a tenth worse: beyond that it is no longer what is known."""
    said = _why(failed(was), failed(now))
    assert why in said
    assert bool(why) == bool(said)


def test_what_was_measured_counts_more_than_how_it_is_told() -> None:
    """A finding that has its values beside their limits is compared by these, not by its words."""

    def measured(value: float, said: str, *besides: str) -> Finding:
        over = Measured("rate below", value, 0.05, "higher")
        return failed(said).beyond((over,), besides=besides)

    was = measured(0.10, "rate is 0.1 of 430 readings: 0.1 is not below 0.05")
    assert _why(was, measured(0.11, "rate is 0.11 of 512 readings")) == ""
    assert "was 0.1 and is 0.12" in _why(was, measured(0.12, "rate is 0.12"))
    assert _why(was, measured(0.12, "rate is 0.12"), share=0.25) == ""
    assert _why(was, measured(0.12, "rate is 0.12"), floor=0.03) == ""
    assert "another way" in _why(was, failed("rate is 0.1 of 430 readings: 0.1 is not below 0.05"))
    lost = measured(1, "x", "10:00:00 lost")
    assert _why(lost, measured(1, "y", "11:00:00 lost")) == ""
    assert "another way" in _why(lost, measured(1, "y", "10:00:00 burnt"))


# -- at a gate -----------------------------------------------------------------------------


def _red(little: Little, load: int, more: str = "") -> Little:
    (little.folder / "app" / "data" / "a.json").write_text(json.dumps({"load": load}))
    little.checks = {"smoke": [FILE, "- files: {id: two, exists: [data/a.txt]}"]}
    little.gate = "suites: [smoke], known_red: allowed"
    little.extra = (
        f"  known_red: [{{id: one, owner: operator, expires: 2026-12-31, reason: slow}}]\n{more}"
    )
    return little


def _sealed(little: Little, **findings: Sealed) -> Seal:
    system = little.load()
    found = findings or little.run(system=system, wanted=expectations(system)).sealed()
    return seals.make(found, belongs_to={"checkpoint": "c"}, at="2026-11-19T00:00:00Z")


@pytest.mark.requirement("MB-71")
def test_a_known_failure_that_became_worse_closes_the_gate(little: Little) -> None:
    """Sealed at 6 where 5 is the limit: 6 opens, 999999 does not, for the suite and the witness."""
    seal = _sealed(_red(little, 6))
    system = little.load()
    wanted = expectations(system, "back", seal, today=NOW)
    assert little.run(system=system, wanted=wanted).open
    assert witness(system, Host(), wanted) == ()
    _red(little, 999999)
    result = little.run(system=system, wanted=wanted)
    assert not result.open
    assert any("it was 6 and is 999999" in reason for reason in result.reasons)
    assert any("it was 6 and is 999999" in reason for reason in witness(system, Host(), wanted))


@pytest.mark.long
def test_a_declared_tolerance_says_how_much_worse(little: Little) -> None:
    """A ratio beside the id of the check replaces the tenth; nothing else is taken from it."""
    seal = _sealed(_red(little, 100, "  tolerances: {one: {ratio: 50%}}\n"))
    system = little.load()
    wanted = expectations(system, "back", seal, today=NOW)
    _red(little, 150)
    assert little.run(system=system, wanted=wanted).open
    _red(little, 151)
    assert not little.run(system=system, wanted=wanted).open


def test_a_known_failure_is_no_pass(little: Little, tmp_path: Path) -> None:
    """It is counted apart: among what passed in no number, and in JUnit it is no green case."""
    seal = _sealed(_red(little, 6))
    system = little.load()
    wanted = expectations(system, "back", seal, today=NOW)
    result = little.run(system=system, wanted=wanted, leaves=tmp_path)
    assert (result.open, result.passed, result.failed, result.known_red) == (True, 1, 0, ("one",))
    said = (tmp_path / "junit" / "smoke.xml").read_text()
    assert 'tests="3" failures="0" errors="0" skipped="1"' in said
    assert "known failure" in said
    assert "6 is not below 5" in said


def test_a_seal_keeps_its_id(little: Little) -> None:
    """What a seal from before there were values beside limits is called is still its name."""
    one = Sealed(suite="smoke", answer="pass", fingerprint="f", evidence="seen")
    assert set(one.model_dump()) == {"suite", "answer", "fingerprint", "evidence", "samples"}
    seal = _sealed(_red(little, 6))
    found = seal.findings["one"]
    assert [(one.value, one.limit) for one in found.measured] == [(6.0, 5.0)]
    assert seals.parse(json.dumps(seal.model_dump(mode="json")).encode()).id == seal.id
