"""What holds a run back: how often, how much room, which paths; at the very edge of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollback.judge.guardrails import Circumstances, refusals
from rollback.model.system import System
from tests.systems import build

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUIET = Circumstances(now=NOW, begun=(), need_bytes=0, free_bytes=2**40)


@pytest.fixture
def system(tmp_path: Path) -> System:
    """Three runs a day, five minutes apart; 1.5 times the room and 10 MiB."""
    return build(
        tmp_path,
        guardrails="guardrails:\n"
        "  rate_limit: {max: 3, per: 24h, min_gap: 300s}\n"
        "  disk: {factor: 1.5, reserve: 10 MiB}\n"
        "  protected_paths: [pages/kept]\n",
    ).system


def said(system: System, level: str = "config", **more: object) -> list[str]:
    """The names of the guardrails that refuse."""
    seen = replace(QUIET, **more)
    return [one.guardrail for one in refusals(system, system.levels[level], seen)]


@pytest.mark.requirement("QL-39")
def test_the_fourth_run_of_a_day_is_refused_until_the_day_is_over(system: System) -> None:
    """Three are allowed; at +24 h of the first there is room again."""
    begun = [NOW - timedelta(hours=h) for h in (23, 10, 5)]
    assert said(system, begun=begun[1:]) == []
    assert said(system, begun=begun) == ["rate-limit"]
    assert said(system, begun=begun, now=NOW + timedelta(minutes=59, seconds=59)) == ["rate-limit"]
    assert said(system, begun=begun, now=NOW + timedelta(hours=1)) == []


@pytest.mark.requirement("QL-40")
def test_two_runs_are_five_minutes_apart(system: System) -> None:
    """299 s: refused; 300 s: allowed."""
    assert said(system, begun=[NOW - timedelta(seconds=299)]) == ["rate-limit"]
    assert said(system, begun=[NOW - timedelta(seconds=300)]) == []


def test_a_clock_that_was_set_back_opens_nothing(system: System) -> None:
    """A run that began in the future was just now."""
    assert said(system, begun=[NOW + timedelta(hours=2)]) == ["rate-limit"]


def test_the_refusal_says_when_it_may_start(system: System) -> None:
    """And what to do meanwhile."""
    begun = [NOW - timedelta(hours=h) for h in (23, 10, 5)]
    (refused,) = refusals(system, system.levels["config"], replace(QUIET, begun=begun))
    assert "13:00" in refused.hint
    assert refused.exit_status == 4


def test_room_is_what_is_written_and_a_reserve(system: System) -> None:
    """One byte less is too little."""
    need = int(100 * 2**20 * 1.5) + 10 * 2**20
    assert said(system, need_bytes=100 * 2**20, free_bytes=need) == []
    assert said(system, need_bytes=100 * 2**20, free_bytes=need - 1) == ["disk"]


@pytest.mark.parametrize(
    ("touched", "refused"),
    [(["pages"], ["protected-paths"]), (["config"], []), ([], []),
     (["config", "pages"], ["protected-paths"])],
)  # fmt: skip
def test_a_component_that_holds_a_protected_path_is_not_touched(
    system: System, touched: list[str], refused: list[str]
) -> None:
    """Whatever else the run does."""
    assert said(system, touched=touched) == refused


def test_a_waiver_lifts_the_named_guardrail_and_no_other(tmp_path: Path) -> None:
    """Protected paths are never waived."""
    shop = build(tmp_path, guardrails="guardrails:\n  rate_limit: {max: 1, per: 24h}\n"
                 "  protected_paths: [config]\n")  # fmt: skip
    shop.edit("emergency: true", "emergency: true\n    waives: [rate-limit, disk]")
    seen = {"begun": [NOW], "free_bytes": 0, "touched": ["config"]}
    assert said(shop.system, "flag", **seen) == ["protected-paths"]
    assert said(shop.system, "config", **seen) == ["rate-limit", "disk", "protected-paths"]
