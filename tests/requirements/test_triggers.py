"""Which sign asks for which answer, by the declared systems and on small ones that really run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize
from rollback.act.deciding import decide_now
from rollback.act.engine import roll_back
from rollback.act.stopping import answer
from rollback.act.told import tell_event
from rollback.host import Host
from rollback.judge import guardrails
from rollback.judge.condition import Known, Told
from rollback.judge.decision import Decision, decide
from rollback.model.errors import Refused, UsageError
from rollback.model.finding import Answer, Sample
from rollback.model.lifecycle import State
from rollback.model.system import System
from rollback.observe.check import ask
from rollback.observe.view import View
from tests.judge.test_styles import CALM, WELL
from tests.systems import Shop, build

SYSTEMS = Path(__file__).parents[2] / "systems"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def system(name: str) -> System:
    """One of the declared systems."""
    return declare.load(SYSTEMS / f"{name}.yaml", environ={})


def decided(
    there: System, readings: dict[str, float], *events: str | Told, facts: dict[str, str] | None = None
) -> Decision:  # fmt: skip
    """What is called for when this is known, and everything else is quiet."""
    samples = {name: Sample(name, value, "", NOW, 60.0, 100) for name, value in readings.items()}
    told = [one if isinstance(one, Told) else Told(one, NOW) for one in events]
    return decide(there, Known(samples, facts or {}, told, now=NOW))


# -- five classes of failure -------------------------------------------------------------------

CLASSES = {
    "trivial": (1, "procedure", "note-and-continue"),
    "minor": (2, "procedure", "note-and-continue"),
    "major": (3, "procedure", "stop-and-fix"),
    "critical": (4, "roll-back", "rollback-retry"),
    "catastrophic": (5, "procedure", "emergency"),
}


def classed(found: Decision) -> tuple[str, str, str]:
    """The class of what decided, and what it calls for."""
    assert found.best is not None, found.reasoning
    return found.best.severity, found.respond, found.level or found.what


@pytest.mark.requirement("VR-01", "VR-02", "VR-03", "VR-04", "VR-05")
@pytest.mark.parametrize(
    ("name", "events", "slowdown"),
    [
        ("trivial", ["cosmetic", "warning", "small_test_failure", "typo"], ()),
        ("minor", ["feature_broken", "harmless_errors", "partial_loss"], (0.001, 0.199)),
        ("major", ["core_broken", "tests_failing", "api_broken", "data_at_risk"], (0.2, 3.0)),
        ("critical", ["wont_start", "corrupted", "vulnerability", "dependencies_broken"], ()),
        ("catastrophic", ["production_down", "losing_data", "breach", "revenue"], ()),
    ],
)  # fmt: skip
def test_every_symptom_has_its_class_and_the_class_its_answer(
    name: str, events: list[str], slowdown: tuple[float, ...]
) -> None:
    """Each alone; a fifth slower is not minor any more; a class that somebody says is as good."""
    there = system("vrooli")
    number, respond, what = CLASSES[name]
    assert (there.severity[name].order, len(events) + (name == "minor")) == (number, 4)
    said = [decided(there, {"slowdown": 0.0}, event) for event in events]
    said += [decided(there, {"slowdown": value}) for value in slowdown]
    said.append(decided(there, {"slowdown": 0.0}, facts={"severity": str(number)}))
    said.append(decided(there, {"slowdown": 0.0}, Told("failure", NOW, {"severity": number})))
    assert {classed(found) for found in said} == {(name, respond, what)}
    assert not any(match.trigger == "no-class" for found in said for match in found.matches)


@pytest.mark.requirement("VR-10")
@pytest.mark.parametrize("severity", ["0", "6", "-1", "4.5", "five", "", "4 or 5"])
def test_a_severity_that_is_none_of_the_five_calls_a_person(severity: str) -> None:
    """Said as a fact, or in a report of a failure; a symptom beside it still decides by its own class."""
    there = system("vrooli")
    found = decided(there, {"slowdown": 0.0}, facts={"severity": severity})
    assert (found.respond, found.level) == ("escalate", "")
    assert any("severity" in reason for reason in found.reasoning)
    try:
        field: dict[str, Any] = {"severity": float(severity)}
    except ValueError:
        field = {}  # it cannot be told; a failure without one has no class either
    told = Told("failure", NOW, field)
    found = decided(there, {"slowdown": 0.0}, told)
    assert (found.trigger, found.respond) == ("no-class", "escalate")
    worse = decided(there, {"slowdown": 0.0}, told, "wont_start")
    assert worse.level == "rollback-retry"
    assert "no-class" in {match.trigger for match in worse.matches}


@pytest.mark.requirement("VR-10")
def test_a_severity_in_words_is_refused_where_a_number_is_declared(tmp_path: Path) -> None:
    """With what to write; nothing is in the journal."""
    shop = build(tmp_path)
    shop.edit("levels:\n", "events: {failure: {title: F, fields: {severity: number}}}\nlevels:\n")
    with shop.site() as site:
        with pytest.raises(UsageError, match="severity=five is no number"):
            tell_event(site, "failure", {"severity": "five"}, by="ada")
        assert site.journal.events() == []


# -- use cases of levels -------------------------------------------------------------------------


def fails_below(there: System, name: str) -> str:
    """The level that is refused while no lower one has failed, and starts when the next lower has."""
    level = there.levels[name]
    assert guardrails.climb(there, name, level, guardrails.Climb()) is not None
    below = guardrails.next_lower(there, level.rank)
    failed = guardrails.Climb(failed=[there.levels[below].rank])
    assert guardrails.climb(there, name, level, failed) is None
    on_fail = there.levels[below].on_fail
    assert on_fail is not None
    return on_fail.climb


@pytest.mark.requirement("PM-06", "PM-08")
@pytest.mark.parametrize(
    ("level", "readings", "events"),
    [
        ("configuration", {}, ["bad_configuration"]),
        ("configuration", {"slowdown": 2.01}, ["configuration_deployed"]),
        ("code", {}, ["critical_bug"]),
        ("code", {}, ["vulnerability"]),
        ("code", {"slowdown": 2.01}, ["deployment"]),
        ("full", {}, ["compromise_suspected"]),
        ("full", {"critical_violations": 2.0}, []),
        ("full", {}, ["data_left"]),
    ],
)
def test_each_use_case_asks_for_its_level(
    level: str, readings: dict[str, float], events: list[str]
) -> None:
    """Alone; and the level below that was not enough leads to it."""
    there = system("party_mode")
    assert decided(there, {**CALM, **readings}, *events).level == level
    assert fails_below(there, level) == level
    assert len(there.levels[level].use_when) >= 3


@pytest.mark.requirement("PM-04")
@pytest.mark.parametrize(
    ("table", "answer"),
    [
        ("name,role\nrouter,lead\n", Answer.PASS),
        ("name\nrouter\n", Answer.FAIL),
        ("name,role\nrouter,lead,extra\n", Answer.FAIL),
        ("name,role\nrouter\n", Answer.FAIL),
        ("", Answer.FAIL),
    ],
)
def test_bad_settings_ask_for_the_second_level_and_a_broken_team_is_refused(
    table: str, answer: Answer, tmp_path: Path
) -> None:
    """Wrong limits, an invalid team; slow since a change of settings; the flag was not enough."""
    there = system("party_mode")
    for reason in ("wrong rate limits", "invalid team CSV"):
        told = Told("bad_configuration", NOW, {"reason": reason})
        assert decided(there, CALM, told).level == "configuration"
    slow = decided(there, {**CALM, "slowdown": 2.01}, "configuration_deployed")
    assert slow.level == "configuration"
    assert fails_below(there, "configuration") == "configuration"
    file = tmp_path / ".claude" / "teams" / "default.csv"
    file.parent.mkdir(parents=True)
    file.write_text(table)
    (tmp_path / "rollback.yaml").write_text((SYSTEMS / "party_mode.yaml").read_text())
    here = declare.load(tmp_path / "rollback.yaml", environ={})
    (check,) = [one for _, one in here.checks() if getattr(one, "id", "") == "teams-valid"]
    assert ask(check, View(here, Host())).answer is answer


# -- the order of questions ----------------------------------------------------------------------

QUESTIONS: list[tuple[str, dict[str, float], dict[str, str]]] = [
    ("down", {}, {"service_down": "yes"}),
    ("server-errors", {"server_errors": 0.5}, {}),
    ("authentication", {}, {"auth_broken": "yes"}),
    ("payment", {}, {"payment_broken": "yes"}),
    ("migration", {}, {"migration_failed": "yes"}),
    ("few-users", {"affected_users": 0.01}, {}),
    ("only-pages", {}, {"ui_only": "yes"}),
    ("hotfix", {}, {"hotfix_minutes": "10"}),
]
TREE = """decision:
  style: tree
  tree:
    - {id: first, question: Is it the first?, when: {fact: first, is: true}, yes: {roll_back: flag}}
    - {id: second, question: Is it the second?, when: {fact: second, is: true}, yes: {roll_back: full}}
levels:
"""


@pytest.mark.requirement("QL-15")
def test_of_two_questions_that_both_say_yes_the_earlier_one_decides() -> None:
    """All pairs of the eight; the journal's entry would name it."""
    there = system("quantum_lattice")
    assert [one.id for one in there.decision.tree] == [name for name, _, _ in QUESTIONS]
    only = there.having(decision=there.decision.model_copy(update={"style": "tree"}), triggers=())
    for (first, readings, facts), (_, more, others) in combinations(QUESTIONS, 2):
        found = decided(only, {**WELL, **readings, **more}, facts={**facts, **others})
        assert found.as_json()["trigger"] == first


@pytest.mark.requirement("QL-15")
def test_the_entry_in_the_journal_names_the_earlier_question(tmp_path: Path) -> None:
    """Although the later one asks for more."""
    shop = build(tmp_path)
    shop.edit("levels:\n", TREE)
    with shop.site() as site:
        decide_now(site, {"first": "yes", "second": "yes"})
        (entry,) = [e for e in site.journal.events() if e.kind == "decision.taken"]
    assert (entry.data["trigger"], entry.data["level"]) == ("first", "flag")
    assert "Is it the first?" in str(entry.data["reasoning"])


# -- causes that only a person sees ---------------------------------------------------------------

CAUSES = ["unnoticed-bug", "integration-failed", "incompatible", "third-party", "compliance"]


@pytest.fixture
def asked(tmp_path: Path) -> Shop:
    """The shop with the declared causes of the larger system, and one trigger."""
    shop = build(tmp_path)
    there = system("ai_workflow")
    manual = [one for one in there.source["decision"]["filters"] if one.get("manual")]
    policy = {"style": "most-severe", "filters": manual}
    shop.edit("levels:\n", f"""events: {{broken: {{title: Broken}}}}
triggers: [{{id: broken, when: {{event: broken, within: 1h}}, respond: {{roll_back: config}}}}]
decision: {json.dumps(policy)}
levels:
""")  # fmt: skip
    with shop.site() as site:
        site.checkpoints.create("good")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return shop


@pytest.mark.requirement("AW-16")
@pytest.mark.parametrize("cause", CAUSES)
def test_a_start_by_hand_takes_one_of_the_declared_causes(cause: str, asked: Shop) -> None:
    """Without one it is refused, with all five named; with one the tech lead starts it alone."""
    there = system("ai_workflow")
    assert [one.id for one in there.decision.filters if one.manual] == CAUSES
    authority = there.levels["release"].authority
    assert (authority.roles[0], authority.alone) == ("tech-lead", True)
    (trigger,) = [one for one in there.triggers if one.id == cause]
    assert trigger.authority is not None
    assert trigger.authority.roles == ("tech-lead",)
    with asked.site() as site:
        for reason in ("", "it is broken", f"not {cause}"):
            with pytest.raises(Refused, match="names no declared cause") as said:
                authorize.create(site, asked.plan(site, "config", reason=reason))
            assert all(name in said.value.hint for name in CAUSES)
        said_so = f"{cause}: seen by hand"
        run = authorize.create(site, asked.plan(site, "config", reason=said_so))
        (planned,) = [e for e in site.journal.events() if e.kind == "run.planned"]
        assert planned.data["reason"] == said_so
        assert run.state is State.PLANNED


def test_what_a_decision_calls_for_and_an_emergency_need_no_cause(asked: Shop) -> None:
    """The trigger is the cause; a flag is flipped without asking why."""
    with asked.site() as site:
        authorize.create(site, asked.plan(site, "flag"))
        tell_event(site, "broken", {}, by="ada")
        assert decide_now(site).level == "config"
        assert authorize.create(site, asked.plan(site, "config")).state is State.PLANNED


# -- a task with a condition ---------------------------------------------------------------------


@pytest.mark.requirement("VR-21")
@pytest.mark.parametrize(
    ("complexity", "tasks"), [("8", []), ("9", ["split"]), ("8.1", ["split"]), ("nobody knows", [])]
)
def test_work_is_split_only_above_its_complexity(
    complexity: str, tasks: list[str], tmp_path: Path
) -> None:
    """As the larger system declares it; what is not known splits nothing, and why is said."""
    there = system("vrooli").source
    task, point = dict(there["follow_ups"]["tasks"]["split"]), there["decision"]["points"]["way"]
    assert task["when"]["above"] == 8
    (option,) = [one for one in point["options"] if one["id"] == "split"]
    assert option["respond"] == {"task": "split"}
    task = {name: task[name] for name in ("title", "when")}
    shop = build(tmp_path)
    (shop.tree / "complexity").write_text(f"{complexity}\n")
    other = {"id": "retry", "title": "Again", "respond": {"roll_back": "config"}}
    shop.edit("levels:\n", f"""metrics:
  complexity: {{unit: score, source: {{command: {{argv: [/bin/cat, complexity], number: stdout}}}}}}
follow_ups: {{tasks: {{split: {json.dumps(task)}}}}}
decision: {{style: asked, points: {{way: {{title: How, asks: op, options: {json.dumps([other, option])}}}}}}}
procedures:
  ask: {{title: Ask, authority: {{roles: [op], alone: true}}, steps: [{{choose: {{id: way, point: way}}}}]}}
levels:
""")  # fmt: skip
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "ask"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        answer(site, run, item="way", text="split", by="ada")
        run = roll_back(site, run.id)
        assert run.state is State.MITIGATED
        opened = [e.data["name"] for e in site.journal.events() if e.kind == "task.opened"]
    assert run.steps["1"].evidence["tasks"] == opened == tasks
    assert ("not called for" in str(run.steps["1"].evidence.get("because"))) == (not tasks)
