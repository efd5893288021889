"""What is written down: every decision, every run in a place of its own, and whose words these are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback.act.afterwards import settle
from rollback.act.deciding import decide_now
from tests.requirements.stepping import stepped
from tests.systems import Shop, build


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a metric that a file tells, and a trigger on it."""
    made = build(tmp_path)
    (made.folder / "errors").write_text("3\n")
    made.edit("verification:", f"""metrics:
  errors: {{unit: count, source: {{command: {{argv: [/bin/cat, "{made.folder}/errors"], number: stdout}}}}}}
triggers:
  - {{id: many, when: {{metric: errors, above: 5}}, respond: {{roll_back: flag}}}}
verification:""")  # fmt: skip
    return made


@pytest.mark.requirement("QL-64")
def test_every_decision_is_one_entry_that_of_doing_nothing_too(shop: Shop) -> None:
    """With reasons and the values that led to it; earlier bytes of the journal stay as they are."""
    told = []
    with shop.site() as site:
        before = b""
        for value in ("3", "9", "nothing", "4"):
            (shop.folder / "errors").write_text(f"{value}\n")
            told.append(decide_now(site).respond)
            now = shop.journal.read_bytes()
            assert now.startswith(before.rstrip(b"\0"))
            before = now
        entries = [e for e in site.journal.events() if e.kind == "decision.taken"]
    assert told == ["hold", "roll-back", "escalate", "hold"]
    assert [entry.data["respond"] for entry in entries] == told
    assert all(entry.data["reasoning"] and entry.at for entry in entries)
    values = [entry.data["samples"][0]["value"] for entry in entries]  # type: ignore[index,call-overload]
    assert values == [3.0, 9.0, None, 4.0]


@pytest.mark.requirement("QL-66", "C-20")
def test_each_run_has_its_own_folder_and_backup_and_the_last_one_is_found_by_its_record(
    shop: Shop,
) -> None:
    """Not by sorting names: the newer folder may well look older."""
    with shop.site() as site:
        site.checkpoints.create("good")
        config = shop.tree / "config" / "app.yaml"
        runs = []
        for limit in (98, 99):
            config.write_text(f"party: true\nlimit: {limit}\n")
            runs.append(settle(site, stepped(site, shop.plan(site, "config"))))
        first, second = runs
        assert first.safety != second.safety
        site.run_folder("r9999")  # makes it
        last = site.run("last")
        assert (last.id, last.safety) == (second.id, second.safety)
        for run in runs:
            report = json.loads((site.run_folder(run.id) / "report.json").read_text())
            assert (report["run_id"], report["safety"]) == (run.id, run.safety)
        for run, limit in ((first, 98), (second, 99)):
            site.checkpoints.restore(run.safety, "config", step=f"look-{limit}")
            assert f"limit: {limit}" in config.read_text()
