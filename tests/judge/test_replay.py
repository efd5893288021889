"""What the present rules would have said to the past: labelled traces, the journal, tables that are wrong."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

import rollback.kinds
from rollback.act.deciding import decide_now
from rollback.act.replaying import from_journal, from_table
from rollback.declare import load
from rollback.model.system import System
from tests.cli.program import rollback
from tests.systems import Shop, build

TRACES = Path(__file__).parent / "traces"
STUDIO = Path(__file__).resolve().parents[2] / "systems" / "studio.yaml"
MINUTE_S = 60.0


@pytest.fixture(scope="module")
def system() -> System:
    """The studio: errors above 10 % go back at level code, here at the first look that sees them."""
    found = load(STUDIO, environ={})
    return found.having(monitor=found.monitor.model_copy(update={"threshold": 1}))


def rows(name: str) -> list[dict[str, str]]:
    """The trace, read by somebody else."""
    with (TRACES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def above(row: dict[str, str]) -> bool:
    """What the studio's trigger on errors says, spelled out."""
    return row["error_rate"] not in ("", "NaN", "n/a") and float(row["error_rate"]) > 0.1


def test_a_rising_error_rate_is_noticed_once_and_late_by_what_it_takes_to_rise(
    system: System,
) -> None:
    """One alert, true, from the first row above the limit; its delay is counted from the label."""
    trace = rows("errors_rising")
    began = next(place for place, row in enumerate(trace) if row["bad"] == "1")
    fired = next(place for place, row in enumerate(trace) if above(row))
    told = from_table(system, TRACES / "errors_rising.csv")
    assert (told.moments, told.episodes, told.detected, told.true_alerts) == (len(trace), 1, 1, 1)
    assert told.delays_s == ((fired - began) * MINUTE_S,)
    assert fired > began, "a trace that is noticed at once shows no delay"
    assert [(alert.level, alert.trigger) for alert in told.alerts] == [("code", "errors-high")]
    assert (told.precision, told.recall, told.false_a_month) == (1.0, 1.0, 0.0)


def test_a_burst_that_was_nothing_is_a_false_alert(system: System) -> None:
    """Flapping gives many alerts for one episode; two bursts outside of it are false."""
    trace = rows("flapping")
    alerts = sum(above(row) and not above(before) for before, row in itertools.pairwise(trace))
    false = sum(above(row) for row in trace if row["bad"] == "0")
    told = from_table(system, TRACES / "flapping.csv")
    assert (len(told.alerts), told.true_alerts) == (alerts, alerts - false)
    assert false == 2
    assert told.precision == pytest.approx((alerts - false) / alerts)
    assert told.recall == 1.0
    span_s = (len(trace) - 1) * MINUTE_S
    assert told.false_a_month == pytest.approx(false * 30 * 86400 / span_s)


def test_a_threshold_in_a_row_spares_the_bursts_and_costs_delay(system: System) -> None:
    """As the agent counts: two in a row."""
    monitor = system.monitor.model_copy(update={"threshold": 2})
    told = from_table(system.having(monitor=monitor), TRACES / "flapping.csv")
    assert told.precision == 1.0
    assert told.delays_s[0] > from_table(system, TRACES / "flapping.csv").delays_s[0]


def test_readings_that_are_gone_are_unknown_and_no_alert(system: System) -> None:
    """Absence is neither health nor a fault: the episode is missed, and said to be."""
    gone = [row for row in rows("readings_gone") if row["bad"] == "1"]
    told = from_table(system, TRACES / "readings_gone.csv")
    assert (told.unknown, told.alerts, told.recall, told.precision) == (len(gone), (), 0.0, None)


def test_a_quiet_day_is_quiet(system: System) -> None:
    """No alert; without a labelled episode there is no recall."""
    told = from_table(system, TRACES / "quiet.csv")
    assert (told.alerts, told.episodes, told.recall, told.false_a_month) == ((), 0, None, 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns at and metrics"), ("at,nothing\n", "no metric nothing"),
        ("error_rate\n1\n", "columns at"),
        ("at,error_rate,error_rate\n", "each once"), ("at,error_rate\nyesterday,1\n", "no UTC time"),
        ("at,error_rate\n2026-11-01T00:00:00Z\n", "2 cells"),
        ("at,error_rate\n2026-11-01T00:00:00Z,1,2\n", "2 cells"),
        ("at,error_rate\n2026-11-01T00:01:00Z,1\n2026-11-01T00:00:00Z,1\n", "not after"),
        ("at,error_rate\n2026-11-01T00:00:00,1\n", "no UTC time"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Exit status 2, one line, what to do."""
    file = tmp_path / "past.csv"
    file.write_text(text)
    ended = rollback(tmp_path, "--system", str(STUDIO), "what-if", str(file))
    assert ended.status == 2
    assert said in ended.err
    assert f"{file}:" in ended.err


def test_the_journal_is_replayed_through_rules_that_changed(tmp_path: Path) -> None:
    """What was held then would have fired under the limit of now; the journal gets no line of it."""
    shop: Shop = build(tmp_path)
    shop.edit("verification:", """metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/cat, errors.txt], number: stdout}}}
triggers:
  - {id: many, when: {metric: errors, above: 50%}, respond: {roll_back: config}}
verification:""")  # fmt: skip
    with shop.site() as site:
        for value in (0.1, 0.3, 0.3, 0.1):
            (shop.tree / "errors.txt").write_text(f"{value}\n")
            assert decide_now(site).respond == "hold"
            shop.clock.ahead_s += 60
        assert from_journal(site).alerts == ()
    shop.edit("above: 50%", "above: 20%")
    before = shop.journal.read_bytes()
    told = rollback(shop.folder, "--json", "what-if").json
    assert [alert["level"] for alert in told["alerts"]] == ["config"]
    assert told["moments"] == 4
    assert told["precision"] is None
    assert shop.journal.read_bytes() == before


def test_what_the_threshold_holds_back_is_said(tmp_path: Path) -> None:
    """Two bad looks of three that are wanted fire nothing, and are named; three fire and are not."""
    shop = build(tmp_path)
    shop.edit(
        "verification:",
        """metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/cat, errors.txt], number: stdout}}}
triggers: [{id: errors-high, when: {metric: errors, above: 10%}, respond: {roll_back: config}}]
monitor: {interval: 60s, threshold: 3}
verification:""",
    )
    table = tmp_path / "past.csv"

    def said(*values: float) -> tuple[str, dict[str, object]]:
        lines = [f"2026-11-20T12:{minute:02}:00Z,{one}" for minute, one in enumerate(values)]
        table.write_text("\n".join(["at,errors", *lines]) + "\n")
        told = rollback(shop.folder, "what-if", str(table), "--json").json
        return rollback(shop.folder, "what-if", str(table)).out, told

    text, told = said(0, 0.5, 0.5, 0, 0.5)
    assert "nothing would have fired" in text
    assert ("held back by monitor.threshold: errors-high, 2 of 3 in a row, from 2026-11-20 12:01:00, 2 times"
            in text)  # fmt: skip
    assert told["threshold"] == 3
    assert told["held_back"] == [
        {"since": "2026-11-20T12:01:00+00:00", "trigger": "errors-high", "row": 2},
        {"since": "2026-11-20T12:04:00+00:00", "trigger": "errors-high", "row": 1},
    ]
    text, told = said(0, 0.5, 0.5, 0.5, 0.5, 0)
    assert "held back" not in text
    assert (told["held_back"], len(told["alerts"])) == ([], 1)  # type: ignore[arg-type]
