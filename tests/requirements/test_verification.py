"""After the steps: what must hold, item by item, and who hears of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.engine import roll_back
from rollback.act.stopping import answer, retry
from rollback.host import Host
from rollback.judge.condition import Known, evaluate
from rollback.model.finding import Answer, Sample
from rollback.model.lifecycle import Run, State
from rollback.model.registry import Kind
from rollback.model.system import System
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.systems import Shop, build

SYSTEMS = Path(__file__).parents[2] / "systems"
NOTIFY = """notify:
  channels: {box: {file: {path: outbox/team.jsonl}}}
  audiences: {team: [box]}
  messages:
    told: {audience: team, text: "{title}: party is off"}
    well: {audience: team, text: "{run} is proved", on: [complete]}
    help: {audience: team, text: "{run} needs somebody: {reason}", on: [needs-operator]}
verification:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and messages."""
    made = build(tmp_path)
    made.edit("verification:", NOTIFY)
    with made.site() as site:
        site.checkpoints.create("good")
    return made


def texts(shop: Shop) -> list[str]:
    """What the team got to read."""
    lines = (shop.folder / "outbox" / "team.jsonl").read_text().splitlines()
    return [str(json.loads(line)["text"]) for line in lines]


@pytest.mark.requirement("QL-25")
@pytest.mark.parametrize(
    ("wanted", "state", "said"),
    [
        ("limit", State.COMPLETE, "r0001 is proved"),
        ("gone", State.NEEDS_OPERATOR, "r0001 needs somebody: smoke: "),
    ],
)
def test_a_proof_that_holds_is_told_and_one_that_does_not_calls_somebody(
    wanted: str, state: State, said: str, shop: Shop
) -> None:
    """One of the two messages goes out, never both."""
    shop.edit("keys: [limit]", f"keys: [{wanted}]")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = settle(site, roll_back(site, run.id))
        assert run.state is state, run.verdict
    (text,) = texts(shop)
    assert text.startswith(said)


@pytest.mark.requirement("MB-66", "MB-71", "PM-31")
def test_an_item_that_is_open_keeps_the_run_incomplete_and_each_has_its_evidence(
    shop: Shop,
) -> None:
    """A check, a step and a message prove themselves; what a person must say is waited for."""
    shop.edit(
        "    steps: [{flag: {flag: party, set: false, within: 3s}}]\n    gate: {suites: [smoke]}\n",
        """    steps:
      - flag: {id: off, flag: party, set: false, within: 3s}
      - notify: {id: tell, message: told}
    gate: {suites: [smoke]}
    checklist:
      - {id: read-back, item: It parses, check: app-valid, gates: complete}
      - {id: set, item: The flag is off, step: off, gates: complete}
      - {id: users, item: Users were told, message: told, gates: complete}
      - {id: asked, item: Somebody looked at it, attest: op, gates: complete}
""")  # fmt: skip
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "flag"))
        authorize.approve(site, run, person="ada")
        run = settle(site, roll_back(site, run.id))
        assert run.state is State.NEEDS_OPERATOR
        assert "Somebody looked at it" in run.reason
        assert items(site, run) == {"read-back": True, "set": True, "users": True, "asked": False}
        answer(site, run, item="asked", text="yes, it is quiet", by="ada")
        done = settle(site, roll_back(site, retry(site, site.run(run.id), by="ada").id))
        assert done.state is State.COMPLETE, done.reason
        assert all(items(site, done).values())


def items(site: Any, run: Run) -> dict[str, bool]:
    """The checklist of the report; every item has its evidence."""
    report = json.loads((site.run_folder(run.id) / "report.json").read_text())
    assert all(item["evidence"] for item in report["checklist"])
    return {item["id"]: item["done"] for item in report["checklist"]}


@pytest.mark.requirement("PM-73")
@pytest.mark.parametrize(
    ("metric", "holds", "does_not"),
    [
        ("session_success", 0.951, 0.95), ("error_rate", 0.0099, 0.01), ("slowdown", 1.1, 1.11),
        ("violations", 0, 1),
    ],
)  # fmt: skip
def test_stable_is_four_limits_at_their_very_edges(
    metric: str, holds: float, does_not: float
) -> None:
    """As they are declared for the gate, and for the four hours after it."""
    system = declare.load(SYSTEMS / "party_mode.yaml", environ={})
    for value, wanted in ((holds, Answer.PASS), (does_not, Answer.FAIL)):
        assert _declared(system, metric, value) is wanted
        limit = next(one for one in system.monitor.stability.limits if one.metric == metric)
        sample = Sample(metric, value, "", datetime(2026, 11, 20, tzinfo=UTC), 60.0, 100)
        assert evaluate(limit, Known({metric: sample}))[0] is wanted


def _declared(system: System, metric: str, value: float) -> Answer:
    """The answer of the declared check on this metric, were this its value."""
    told = {"command": {"argv": ["/bin/echo", str(value)], "number": "stdout"}}
    made = type(system.metrics[metric]).model_validate({"unit": "count", "source": told})
    check: Kind = next(
        one
        for _, one in system.checks()
        if one.kind == "metric" and getattr(one, "name", "") == metric
    )
    return ask(check, View(system.having(metrics={**system.metrics, metric: made}), Host())).answer


@pytest.mark.requirement("PM-51", "PM-60")
@pytest.mark.parametrize(
    "left", ["", "partyMode: {enabled: false}", "# the Party is over", "PARTY"]
)
def test_after_the_baseline_no_word_of_the_feature_is_left_in_the_configuration(
    left: str, tmp_path: Path
) -> None:
    """In any of its spellings, comments included."""
    (tmp_path / "rollback.yaml").write_bytes((SYSTEMS / "party_mode.yaml").read_bytes())
    system = declare.load(tmp_path / "rollback.yaml", environ={})
    config = system.root_path / ".claude" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"features:\n  other: {{enabled: true}}\n{left}\n")
    check = next(one for _, one in system.checks() if getattr(one, "id", "") == "config-silent")
    wanted = Answer.FAIL if left else Answer.PASS
    assert ask(check, View(system, Host())).answer is wanted
