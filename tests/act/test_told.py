"""What people and programs tell the journal: events, facts that end, and what rests on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act.deciding import decide_now
from rollback.act.told import events_of, facts_asked, facts_of, tell_event, tell_facts
from rollback.model.errors import PlanError, Refused, UsageError
from tests.cli.program import rollback
from tests.systems import Shop, build

RULES = """events:
  veto: {title: Somebody says no, fields: {reason: text, share: number, final: bool}}
  deployment: {title: A release went out, fields: {version: text}}
metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/cat, errors.txt], number: stdout}}}
triggers:
  - {id: vetoed, when: {event: veto, where: {final: true}, within: 1h, count: 2},
     respond: {roll_back: config}}
  - {id: wrong, when: {fact: wrong, is: true}, respond: {roll_back: flag}}
  - {id: lasting, when: {metric: errors, above: 10%, for: 5m}, respond: {roll_back: full}}
monitor: {interval: 60s}
verification:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system with events, a fact and a metric that a test can move."""
    made = build(tmp_path)
    made.edit("verification:", RULES)
    (made.tree / "errors.txt").write_text("0\n")
    return made


@pytest.mark.requirement("QL-67")
def test_events_are_counted_while_they_are_young(shop: Shop) -> None:
    """Two final ones within an hour; an hour later they count no more."""
    with shop.site() as site:
        tell_event(site, "veto", {"final": "true"}, by="ada")
        tell_event(site, "veto", {"final": "no", "share": "0.5"}, by="ada")
        assert decide_now(site).respond == "hold"
        tell_event(site, "veto", {"final": "true"}, by="bo")
        assert decide_now(site).level == "config"
        shop.clock.ahead_s += 3601
        assert decide_now(site).respond == "hold"
        assert [told.fields for told in events_of(site.journal.events())][1] == {
            "final": False,
            "share": 0.5,
        }


def test_what_is_told_twice_with_one_id_is_told_once(shop: Shop) -> None:
    """As a webhook that is repeated."""
    with shop.site() as site:
        assert tell_event(site, "veto", {}, by="ada", identity="k1") is not None
        assert tell_event(site, "veto", {}, by="ada", identity="k1") is None
        assert len(events_of(site.journal.events())) == 1


@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        ("vetoo", {}, PlanError), ("veto", {"raeson": "x"}, UsageError),
        ("veto", {"share": "many"}, UsageError), ("veto", {"share": "nan"}, UsageError),
        ("veto", {"share": "inf"}, UsageError), ("veto", {"final": "perhaps"}, UsageError),
    ],
)  # fmt: skip
def test_what_is_not_declared_is_not_told(
    shop: Shop, kind: str, fields: dict[str, str], error: type[Exception]
) -> None:
    """Nothing is written, and the nearest name or the type is said."""
    with shop.site() as site:
        before = len(site.journal.events())
        with pytest.raises(error):
            tell_event(site, kind, fields, by="ada")
        assert len(site.journal.events()) == before


def test_a_fact_holds_until_its_time_is_over_or_it_is_told_anew(shop: Shop) -> None:
    """The last word counts; a fact that ended is as if nobody had said it."""
    with shop.site() as site:
        tell_facts(site, {"wrong": "true"}, by="ada", for_s=600.0)
        assert decide_now(site).level == "flag"
        tell_facts(site, {"wrong": "false"}, by="ada", for_s=600.0)
        assert decide_now(site).respond == "hold"
        tell_facts(site, {"wrong": "true"}, by="ada", for_s=600.0)
        shop.clock.ahead_s += 601
        assert facts_of(site.journal.events(), shop.clock.now()) == {}
        found = decide_now(site)
        assert found.respond == "hold"
        assert any("nobody has told wrong" in reason for reason in found.reasoning)


def test_a_condition_that_has_to_last_rests_on_earlier_decisions(shop: Shop) -> None:
    """Six readings a minute apart; one that is better, or a gap, and it begins anew."""
    with shop.site() as site:

        def looked(value: float, after_s: float = 60.0) -> str:
            shop.clock.ahead_s += after_s
            (shop.tree / "errors.txt").write_text(f"{value}\n")
            return decide_now(site).level

        assert [looked(0.2) for _ in range(6)] == ["", "", "", "", "", "full"]
        assert looked(0.0) == ""
        assert [looked(0.2) for _ in range(5)] == ["", "", "", "", ""]
        assert looked(0.2, after_s=600.0) == "", "while nobody looked, nobody knows"


def test_a_deployment_is_refused_while_a_run_is_open(shop: Shop) -> None:
    """With the run that is in the way; afterwards it is told."""
    with shop.site() as site:
        kept = site.checkpoints.create("before-release")
        assert kept.state == "whole"
    (shop.tree / "pages" / "more.html").write_text("more\n")
    waiting = rollback(
        shop.folder, "run", "full", "--to", "checkpoint:before-release", "--as", "dee", "--yes"
    )
    assert waiting.status == 4
    refused = rollback(shop.folder, "event", "deployment", "version=2")
    assert refused.status == 4
    assert "r0001" in refused.err
    with shop.site() as site, pytest.raises(Refused):
        tell_event(site, "deployment", {}, by="ada")
    assert rollback(shop.folder, "abort", "r0001", "--as", "ada").status == 0
    assert rollback(shop.folder, "event", "deployment", "version=2").status == 0


def test_the_command_tells_and_decides(shop: Shop) -> None:
    """`event` and `decide --fact`: one line each, and the journal has them."""
    told = rollback(shop.folder, "--json", "event", "veto", "reason=too slow", "--as", "ada")
    assert told.json["told"] is True
    found = rollback(shop.folder, "--json", "decide", "--fact", "wrong=yes", "--for", "10m").json
    assert (found["respond"], found["level"], found["trigger"]) == ("roll-back", "flag", "wrong")
    kinds = [line["kind"] for line in shop.lines()]
    assert [kind for kind in kinds if kind.endswith((".told", ".taken"))] == [
        "event.told", "fact.told", "decision.taken",
    ]  # fmt: skip
    wrong = rollback(shop.folder, "event", "veto", "reason")
    assert (wrong.status, "name=value" in wrong.err) == (2, True)
    assert rollback(shop.folder, "decide", "--fact", "wrong=yes", "--for", "soon").status == 2
    assert found["unknown"] == []


def test_a_fact_that_nothing_asks_for_is_refused_with_the_nearest(shop: Shop) -> None:
    """A slip of the pen would be believed told; one line, and nothing is written, of several neither."""
    for typed in (("wrnog=yes",), ("wrong=yes", "wrnog=yes")):
        words = [word for one in typed for word in ("--fact", one)]
        done = rollback(shop.folder, "decide", *words)
        assert done.status == 2
        assert done.err.splitlines() == [
            "rollback: nothing asks for a fact wrnog", "  try: did you mean wrong?",
        ]  # fmt: skip
    assert not shop.journal.exists() or b"fact.told" not in shop.journal.read_bytes()
    assert rollback(shop.folder, "decide", "--fact", "wrong=yes").status == 0


def test_every_room_that_asks_for_a_fact_is_known(shop: Shop) -> None:
    """Conditions at any depth, prerequisites, guardrails, practices, and how a repair ended."""
    shop.edit("levels:\n", "follow_ups: {tasks: {mend: {title: Mend it}}}\n"
              "prevention: [{id: taught, title: T}]\nlevels:\n")  # fmt: skip
    shop.edit("{fact: wrong, is: true}", "{not: {any: [{fact: wrong, is: true}, {fact: deep}]}}")
    shop.edit("respond: {roll_back: flag}", "respond: {attempt: {task: mend, within: 5m, "
              "success: {hold: ok}, failure: {roll_back: flag}}}")  # fmt: skip
    assert facts_asked(shop.system) == ("deep", "mend", "practice_taught", "wrong")
