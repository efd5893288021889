"""What was watched stands in the journal reading by reading, and phases beside their budgets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.act.stopping import abort
from rollback.cli.timeline import result, result_lines
from rollback.model.lifecycle import Run, State
from rollback.tell import report
from tests.systems import Hands, Shop, build

STEPS = """    phases:
      [{id: look, title: Look first, within: 5m}, {id: back, within: 1m}, {id: never, within: 1s}]
    steps:
      - wait: {id: first, phase: look, for: 10m}
      - watch:
          {id: see, phase: look, expect: [{metric: size, below: 5}], checks: [app-valid], for: 1m, every: 20s}
      - restore: {component: config, phase: back}
    gate: {suites: [smoke]}
"""
OLD = "    steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}\n"
METRIC = """metrics:
  size: {unit: count, source: {command: {argv: [/bin/cat, pages/size], number: stdout}}}
"""


@dataclass
class Watched:
    shop: Shop
    clock: Hands
    run: Run

    def later(self, seconds: float, size: str = "") -> Run:
        """So much time has passed, the size is this, and somebody drives the run on."""
        self.clock.ahead_s += seconds
        if size:
            (self.shop.tree / "pages" / "size").write_text(size)
        with self.shop.site() as site:
            self.run = roll_back(site, self.run.id)
        return self.run

    def report(self) -> dict[str, Any]:
        with self.shop.site() as site:
            return report.build(site.system, site.run(self.run.id), site.journal.events())


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A run that has waited its ten minutes and begun to watch."""
    shop = build(tmp_path, guardrails=METRIC)
    shop.edit(OLD, STEPS)
    shop.clock = clock = Hands()
    (shop.tree / "pages" / "size").write_text("3\n")
    with shop.site() as site:
        site.checkpoints.create("good")
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
    found = Watched(shop, clock, run)
    assert found.later(601).waiting_for["what"] == "watch"
    return found


def test_every_reading_of_a_watch_is_in_the_journal_and_the_report(watched: Watched) -> None:
    """One event each, with every value; a run that ends well shows them all."""
    watched.later(20, "4\n")
    watched.later(20, "2\n")
    assert watched.later(21).state is State.COMPLETE
    body = watched.report()
    assert [one["values"]["size"]["value"] for one in body["watched"]] == [3, 4, 2, 2]
    assert [one["good"] for one in body["watched"]] == [True] * 4
    assert {one["values"]["app-valid"]["value"] for one in body["watched"]} == {"pass"}
    text = report.markdown(body)
    assert "## Watched" in text
    assert "size 4 count" in text


def test_a_reading_that_says_nothing_is_shown_as_such(watched: Watched) -> None:
    """UNKNOWN, with its reason, and it ends the watch."""
    assert watched.later(20, "nothing\n").state is State.UNDONE
    body = watched.report()
    assert [one["good"] for one in body["watched"]] == [True, False]
    assert body["watched"][1]["values"]["size"]["value"] == "UNKNOWN"
    assert "size UNKNOWN count (" in report.markdown(body)


@pytest.mark.requirement("PM-39")
@pytest.mark.parametrize("bad_at", [0, 9])
def test_a_quarter_of_an_hour_is_watched_minute_by_minute(bad_at: int, watched: Watched) -> None:
    """Fifteen minutes, every sixty seconds; a bad sample fails the run at once."""
    shop = watched.shop
    with shop.site() as site:
        watched.run = abort(site, site.run(watched.run.id), by="ada", reason="another watch")
    watched.later(0)
    shop.edit("- wait: {id: first, phase: look, for: 10m}\n      ", "")
    shop.edit("for: 1m, every: 20s", "for: 15m, every: 60s")
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        watched.run = roll_back(site, run.id)
    minutes = 0
    while watched.run.state is State.WAITING and minutes < 20:
        minutes += 1
        watched.later(60.001, "9\n" if minutes == bad_at else "")
    good = [one["good"] for one in watched.report()["watched"]]
    if bad_at:
        assert (watched.run.state, good) == (State.UNDONE, [True] * 9 + [False])
    else:
        assert (watched.run.state, good) == (State.COMPLETE, [True] * 16)


def test_a_long_watch_shows_its_ends_and_all_that_was_bad() -> None:
    """Four hours fit on a page; the count of the rest is said."""
    values = {"size": {"value": 1.0, "unit": "count", "said": ""}}
    read = [{"at": f"2026-11-20T00:{n // 60:02}:{n % 60:02}.000000Z", "step": "1", "good": n != 50,
             "values": values} for n in range(100)]  # fmt: skip
    lines = report._watch_lines({"watched": read})
    assert sum("| good |" in line for line in lines) == 40
    assert sum("| bad |" in line for line in lines) == 1
    assert "100 readings in all; 59 good ones are not shown." in lines


@pytest.mark.requirement("AW-24")
def test_phases_stand_beside_their_budgets(watched: Watched) -> None:
    """From the first step of a phase to its last, waiting in it; what was not begun has no time."""
    with watched.shop.site() as site:
        look = result(site, site.run(watched.run.id))["budgeted"][0]
    assert look["open"] is True
    watched.later(61)
    with watched.shop.site() as site:
        run = site.run(watched.run.id)
        look, back, never = result(site, run)["budgeted"]
        assert result(site, run)["phases"] == watched.report()["phases"] != []
        told = "\n".join(result_lines(site, run))
    assert 661 < look["took_s"] < 700
    assert (look["over"], look["open"], look["budget_s"]) == (True, False, 300)
    assert (back["over"], back["budget_s"]) == (False, 60)
    assert (never["took_s"], never["over"]) == (None, False)
    assert watched.report()["budgeted"] == [look, back, never]
    text = report.markdown(watched.report())
    assert re.search(r"^\| Look first \| 11 min( \d+ s)? \| 5 min \| over budget \|$", text, re.M)
    assert "| never | - | 1 s |  |" in text
    assert re.search(r"^ +look .* of 5 min  over budget$", told, re.MULTILINE)
