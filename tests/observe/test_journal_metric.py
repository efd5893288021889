"""Metrics that read the journal and the machine: ages, shares, and what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from rollback.act.deciding import decide_now
from rollback.act.site import Site
from rollback.act.told import tell_event
from rollback.observe.metric import read
from rollback.observe.view import View
from tests.systems import Shop, build

RULES = """events:
  deployment: {title: A release went out}
metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/cat, errors.txt], number: stdout}}}
  m: {unit: seconds, source: {journal: SOURCE}}
triggers:
  - {id: many, when: {metric: errors, above: 10%}, respond: {roll_back: config}}
verification:"""


def shop_with(folder: Path, source: str) -> Shop:
    """A system with a metric that reads its journal."""
    made = build(folder)
    made.edit("verification:", RULES.replace("SOURCE", source))
    (made.tree / "errors.txt").write_text("0\n")
    return made


def value(site: Site) -> float | None:
    """The metric now."""
    return read("m", View(site.system, site.host)).value


@pytest.mark.requirement("QL-67")
def test_whether_something_was_told_within_a_time(tmp_path: Path) -> None:
    """1 for an hour, then 0; without a journal nobody knows."""
    shop = shop_with(tmp_path, "{event: deployment, within: 1h}")
    assert read("m", View(shop.system, shop.host)).value is None
    with shop.site() as site:
        site.tell("run.noted")
        assert value(site) == 0.0
        tell_event(site, "deployment", {}, by="ada")
        assert value(site) == 1.0
        shop.clock.ahead_s += 3599
        assert value(site) == 1.0
        shop.clock.ahead_s += 2
        assert value(site) == 0.0


@pytest.mark.requirement("PM-21")
def test_how_long_an_alert_has_been_left_alone(tmp_path: Path) -> None:
    """It counts from the first of a row; an act, or a reading that is well, ends it."""
    shop = shop_with(tmp_path, "{since: first-alert, without: answer}")

    def looked(errors: float) -> None:
        (shop.tree / "errors.txt").write_text(f"{errors}\n")
        with shop.site() as site:
            decide_now(site)

    looked(0.0)
    with shop.site() as site:
        assert value(site) == 0.0
    looked(0.5)
    shop.clock.ahead_s += 600
    looked(0.5)
    shop.clock.ahead_s += 299
    with shop.site() as site:
        assert value(site) == pytest.approx(899, abs=2)
        site.tell("answer.given", item="seen", by="ada", text="looking")
        assert value(site) == 0.0
    looked(0.5)
    shop.clock.ahead_s += 60
    looked(0.0)
    with shop.site() as site:
        assert value(site) == 0.0


@pytest.mark.requirement("MB-56", "MB-60")
def test_ages_and_shares(tmp_path: Path) -> None:
    """Of one kind of checkpoint; of drills that passed; a record's answers; nothing yet is UNKNOWN."""
    shop = shop_with(tmp_path, "{since: checkpoint.created, of: continuous}")
    told: list[tuple[str, dict[str, Any]]] = [
        ("checkpoint.created", {"type": "continuous"}), ("drill.passed", {}), ("drill.passed", {}),
        ("drill.failed", {}), ("record.filled", {"record": "review", "fields": {"right": True}}),
        ("record.filled", {"record": "review", "fields": {"right": False}}),
        ("record.filled", {"record": "other", "fields": {"right": True}}),
    ]  # fmt: skip
    with shop.site() as site:
        site.tell("checkpoint.created", type="manual")
        assert value(site) is None
        for kind, data in told:
            site.tell(kind, **data)
        shop.clock.ahead_s += 100
        assert value(site) == pytest.approx(100, abs=2)
    for source, wanted in (
        ("{share: drill.passed}", 2 / 3), ("{count: drill.passed}", 2.0),
        ("{record: review, field: right}", 0.5), ("{record: nothing, field: right}", None),
    ):  # fmt: skip
        shop.edit(
            shop.folder.joinpath("rollback.yaml").read_text().split("{journal: ")[1].split("}}")[0]
            + "}",
            source,
        )
        with shop.site() as site:
            assert value(site) == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize("uses", ["cpu", "memory", "disk", "disk-free", "memory-free", "load"])
def test_figures_of_the_machine(view_of: Any, uses: str) -> None:
    """Shares from 0 to 1; bytes that the system itself tells, too."""
    source = {"machine": {"uses": uses, "over": "0.1s"}}
    view = view_of(metrics={"m": {"unit": "fraction", "source": source}})
    found = read("m", view).value
    assert found is not None
    if uses == "disk-free":
        assert found == pytest.approx(psutil.disk_usage(str(view.root)).free, rel=0.05)
    elif uses == "memory-free":
        assert found == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    else:
        assert 0.0 <= found <= (1.0 if uses != "load" else 1000.0)


def test_a_disk_that_is_not_there_is_unknown(view_of: Any) -> None:
    """Absence is no room."""
    source = {"machine": {"uses": "disk-free", "path": "/no/such/place"}}
    found = read("m", view_of(metrics={"m": {"unit": "bytes", "source": source}}))
    assert (found.value, "no such file" in found.note) == (None, True)
